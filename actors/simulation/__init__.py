"""The whole desk in one process: its own rooms on a virtual clock, with chance and faults from one seed."""
