"""What risk judged, and on what: the log of its store, by which a replay judges the same again."""

from collections.abc import Mapping

import msgspec

from actors.settings import DeskLimits, RiskConfig
from actors.words import Mark
from desk.messages import IntentJudged
from desk.venue import Instrument
from runtime.effects import Effects
from runtime.store import Reader


class LimitsTold(msgspec.Struct, frozen=True, array_like=True, tag="limits"):
    """From here on these limits hold. With ``is_start`` a process began, which knew no price yet."""

    limits: dict[str, RiskConfig]
    desk: DeskLimits
    instruments: dict[str, Instrument]
    is_start: bool


class Judgement(msgspec.Struct, frozen=True, array_like=True, tag="judgement"):
    """Verdicts that were passed together, in order.

    ``journal`` is how far the journal was read. ``marks`` are the last prices that are others than at the verdicts
    before. ``halted``, ``gate`` and ``day`` say why nothing may be opened, "" where it may; ``away`` are the
    judged strategies that root had put away.
    """

    journal: int
    market_ns: int
    marks: tuple[Mark, ...]
    halted: str
    gate: str
    away: tuple[str, ...]
    verdicts: tuple[IntentJudged, ...]
    day: str = ""


def read_judgements(store: Reader) -> list[LimitsTold | Judgement]:
    """Give everything that risk's store says of what it judged, oldest first.

    Raises:
        StoreError: A record is damaged or missing.
        msgspec.DecodeError: A record is of another version of the desk.
    """
    decoder = msgspec.msgpack.Decoder(LimitsTold | Judgement)
    return [decoder.decode(data) for _, data in store.records()]


class Judgements:
    """Writes them; of prices only what is new."""

    def __init__(self, store: Reader) -> None:
        """Go on behind what is there."""
        self._head = store.head()
        self._marks: dict[str, Mark] = {}
        self._encoder = msgspec.msgpack.Encoder()

    def limits(
        self,
        limits: Mapping[str, RiskConfig],
        desk: DeskLimits,
        instruments: Mapping[str, Instrument],
        effects: Effects,
        *,
        is_start: bool = False,
    ) -> None:
        """Note the limits that hold from now on."""
        self._append(LimitsTold(dict(limits), desk, dict(instruments), is_start), effects)

    def judged(  # noqa: PLR0913, PLR0917 - all that verdicts rest on
        self,
        journal: int,
        market_ns: int,
        marks: Mapping[str, Mark],
        halted: str,
        gate: str,
        away: tuple[str, ...],
        verdicts: tuple[IntentJudged, ...],
        day: str,
        effects: Effects,
    ) -> None:
        """Note verdicts with what they rest on."""
        known = self._marks
        news = tuple(mark for symbol, mark in marks.items() if known.get(symbol) is not mark)
        known.update((mark.symbol, mark) for mark in news)
        self._append(Judgement(journal, market_ns, news, halted, gate, away, verdicts, day), effects)

    def _append(self, record: LimitsTold | Judgement, effects: Effects) -> None:
        self._head += 1
        effects.append(self._head, self._encoder.encode(record))
