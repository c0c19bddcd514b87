"""One day's script of the order path: everything that an order can be asked to do, once."""

from desk.messages import Effect, Side
from tests.falls.order_path import OrderPath

OPEN, CLOSE, MODIFY = Effect.OPEN, Effect.CLOSE, Effect.MODIFY


def live_a_day(path: OrderPath, *, is_patient: bool) -> None:
    """Enter, add, rest, run out of time, change levels, take part off, be stopped out, leave.

    Args:
        path: The order path to live it on.
        is_patient: The desk comes to rest between two acts; else only what was said is heard, and time stands still.
    """
    pause = path.rest if is_patient else path.talk
    acts = (
        lambda: path.price("AAA", "100"),
        lambda: path.wish(OPEN, "AAA", quantity=4, stop="90", tag="long"),
        lambda: path.wish(OPEN, "BBB", quantity=3, limit="95", stop="80", ttl_s=90),
        lambda: path.wish(OPEN, "CCC", quantity=5, stop="90", target="130"),
        lambda: path.price("AAA", "101"),
        lambda: path.wish(OPEN, "AAA", quantity=2, stop="91", tag="long"),
        lambda: path.wish(OPEN, "AAA", quantity=1, stop="92", tag="other"),
        lambda: path.price("BBB", "99"),  # the limit's time is over
        lambda: path.wish(OPEN, "BBB", quantity=3, limit="98", stop="80"),
        lambda: path.wish(MODIFY, "CCC", stop="95", target="120"),
        lambda: path.price("BBB", "97"),  # it trades
        lambda: path.wish(CLOSE, "AAA", Side.SELL, quantity=2, tag="long"),
        lambda: path.price("CCC", "94"),  # its stop
        lambda: path.wish(CLOSE, "BBB", Side.SELL),
        lambda: path.price("AAA", "102"),
    )
    for act in acts:
        act()
        pause()
    path.rest()
    path.reconcile()
    path.reconcile()
