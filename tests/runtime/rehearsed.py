"""Rooms with which a test rehearses."""

import os

from runtime.child import Context, Made
from tests.runtime import bakery

_left: list[int] = []


def make_said(context: Context, arguments: bytes) -> Made:
    """Make a board, and say so."""
    os.write(1, b"a room was made\n")
    return bakery.make_board(context, arguments)


def make_lingering(context: Context, arguments: bytes) -> Made:
    """Make a board, and leave a descriptor open."""
    _left.append(os.eventfd(0))
    return bakery.make_board(context, arguments)
