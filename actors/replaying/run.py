"""A whole replay: the strategies, then risk, then execution; what was compared, and what differs."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from actors.arguments import ExecutionArguments
from actors.execution.remembering import Started
from actors.replaying import orders, strategies, told, verdicts
from actors.replaying.code import CodeRoom
from actors.replaying.parts import Asked, Difference, ReplayError
from actors.replaying.recorded import Recorded, stamp_ns
from actors.views import decimal_words, order_row, position_row
from desk.portfolio import Ledger

#: Which of two differences at the same place came first.
_ORDER = ("intent", "verdict", "order")


class Strategy(msgspec.Struct, frozen=True):
    """What was compared of one strategy; ``left_out`` says why nothing was, "" where it was."""

    name: str
    bars: int
    missed: int
    words: int
    intents: int
    differences: int
    left_out: str
    code: str


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay came to.

    ``journal`` is the last record that counted, ``at_ns`` the market time by then. ``taken`` are records whose cause
    lies outside of all that is recorded. ``left_out`` says of risk and of execution why they were not compared,
    ``stopped`` behind which record execution was not. ``changed`` are all differences, in order. ``state`` is what
    was held and worked at ``journal``.
    """

    journal: int
    at_ns: int
    strategies: tuple[Strategy, ...]
    bars: int
    intents: int
    verdicts: int
    orders: int
    records: int
    taken: int
    left_out: dict[str, str]
    stopped: str
    changed: tuple[Difference, ...]
    state: dict[str, Any]

    @property
    def first(self) -> Difference | None:
        """The first difference, None where all is equal."""
        return self.changed[0] if self.changed else None


def replay(copy: Path, asked: Asked) -> Replayed:
    """Replay what a copy of a state folder has recorded.

    Raises:
        ReplayError: It cannot be, or not as asked; the text says why.
        StoreError: A store is damaged; the text says where.
    """
    recorded = Recorded(copy, asked)
    names = recorded.strategies()
    for name in asked.parameters:
        if name not in names:
            msg = f"there is no strategy {name}; there are {', '.join(names)}. Nothing was replayed"
            raise ReplayError(msg)
    with tempfile.TemporaryDirectory(prefix="bulkhead-replay-") as folder:
        scratch = Path(folder)
        code = CodeRoom(copy, is_today=asked.is_today)
        try:
            each = [_strategy(name, recorded, asked, code, scratch) for name in names]
        finally:
            code.close()
        judged = verdicts.VerdictReplay(recorded, asked, scratch / "risk", is_stepped=_is_stepped(recorded)).run()
        changed = _sorted([*(found for one in each for found in one.differences), *judged.differences])
        upto, stopped = recorded.head, ""
        if asked.is_what_if and changed:
            upto = min(recorded.head, changed[0].journal)
            stopped = f"execution was compared up to record {upto}: behind it the desk would have gone another way"
        booked = orders.OrderReplay(recorded, scratch / "ledger", upto).run()
    if booked.difference is not None:
        changed = _sorted([*changed, booked.difference])
        if not stopped:
            stopped = (
                f"execution was compared up to record {booked.records}: what follows would follow from another one"
            )
    left_out = {"risk": judged.left_out, "execution": booked.left_out}
    last = recorded.records[recorded.head - 1] if recorded.head else None
    return Replayed(
        journal=recorded.head,
        at_ns=max((stamp_ns(record) for record in recorded.records[: recorded.head]), default=0) if last else 0,
        strategies=tuple(
            Strategy(
                one.name,
                one.bars,
                one.missed,
                one.words,
                one.intents,
                len(one.differences),
                one.left_out,
                code.news.get(one.name, ""),
            )
            for one in each
        ),
        bars=sum(one.bars + one.missed for one in each),
        intents=sum(one.intents for one in each),
        verdicts=judged.verdicts,
        orders=booked.orders,
        records=booked.records,
        taken=booked.taken,
        left_out={part: why for part, why in left_out.items() if why},
        stopped=stopped,
        changed=tuple(changed),
        state=_state(recorded, judged.limits),
    )


def _strategy(name: str, recorded: Recorded, asked: Asked, code: CodeRoom, scratch: Path) -> strategies.Outcome:
    """Replay one strategy from its bars, or from its record where bars do not tell what it decided on."""
    found = strategies.StrategyReplay(name, recorded, asked, code, scratch / f"strategy-{name}").run()
    if not found.left_out or not recorded.is_recorded(name):
        return found
    return told.ToldReplay(name, recorded.state, asked, code, scratch / f"told-{name}").run()


def _sorted(found: Iterable[Difference]) -> list[Difference]:
    return sorted(found, key=lambda each: (each.journal, _ORDER.index(each.what)))


def _is_stepped(recorded: Recorded) -> bool:
    """Say whether the desk ran in simulated time."""
    for _, word in recorded.told:
        if isinstance(word, Started):
            return msgspec.msgpack.decode(word.arguments, type=ExecutionArguments).is_stepped
    return True


def _state(recorded: Recorded, limits: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Give what was held, what worked, the cash, and the limits that held, at the last record that counts."""
    ledger = Ledger(keep_trades=False)
    for record in recorded.records[: recorded.head]:
        ledger.apply(record.body)
    return {
        "positions": [position_row(held) for held in ledger.positions.values()],
        "working": [order_row(order) for order in ledger.working.values()],
        "cash": decimal_words(ledger.cash),
        "capital": decimal_words(ledger.capital),
        "realised": decimal_words(ledger.realised),
        "limits": limits,
    }
