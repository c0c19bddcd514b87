"""Replay: what a desk recorded is told to the same rooms again, and their decisions are held against the recorded."""
