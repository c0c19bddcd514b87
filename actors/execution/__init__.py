"""Execution: orders, the journal, positions and cash, time limits, resting stops, reconciliation.

The order is in the journal before it is on the wire. Everything that must still be said to a venue follows from
the journal alone: an order that never left leaves, one that may have left is asked for, a position that wants a resting
stop and has none gets one. So every start, after whatever end, is the same code.

Read ``orders`` (how one order changes and leaves), ``resolving`` (what nobody knows), ``protection`` (what stands
around a position), ``reconciling`` (are the books the venue's), and ``room``, which hears the words and hands them on.
"""
