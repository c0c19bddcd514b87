"""The rooms of the desk, each its own process, and the tree they stand in."""
