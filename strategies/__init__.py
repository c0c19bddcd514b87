"""Opinions: one file a strategy, each a function of its state and a market event."""
