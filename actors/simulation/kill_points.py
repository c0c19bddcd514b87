"""The places at which a process of the order path may die, by the names of docs/testing.md."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from desk.messages import (
    CancelOrder,
    FillBooked,
    Intent,
    IntentJudged,
    JournalRecord,
    OrderAccepted,
    OrderChanged,
    OrderFilled,
    OrderRejected,
    OrderState,
    OrderType,
    Purpose,
    ReplaceOrder,
    SubmitOrder,
)

if TYPE_CHECKING:
    from actors.simulation.shell import Shell

#: What each is, for the summary.
POINTS = {
    "K1": "strategy: state kept, intent not sent",
    "K2": "strategy: intent sent, no answer read",
    "K3": "risk: intent heard, not kept",
    "K4": "risk: within the commit of an intent",
    "K5": "risk: verdict kept, not sent",
    "K6": "execution: verdict heard, not journalled",
    "K7": "execution: order journalled, not sent",
    "K8": "venue's process: request on its way",
    "K9": "venue's process: accepted, answer not read",
    "K10": "venue's process: filled at once, answer not read",
    "K11": "venue's process: a call is carried out later than it was waited for",
    "K12": "execution: answer read, not journalled",
    "K13": "execution: acceptance journalled, not published",
    "K14": "execution: refusal read, not journalled",
    "K15": "execution: fill read, not journalled",
    "K17": "execution: between two partial fills",
    "K18": "execution: cancel journalled, not sent",
    "K19": "execution: cancel sent, and a fill is on its way",
    "K20": "execution: a replacement under way",
    "K21": "execution: entry filled, stop not sent",
    "K22": "execution: before its first look at the venue is over",
    "K23": "the supervisor",
    "K24": "the machine's power",
    "K25": "no room on the disk for the write-ahead",
    "K26": "market data, or the watchdog",
}
_NOT_KEPT = frozenset({"heard", "commit"})
_NOT_SENT = frozenset({"committed", "acknowledged"})
_SENT = frozenset({"sent", "said"})


def points(shell: "Shell", place: str) -> tuple[str, ...]:
    """Name the places at which a process dies that dies here; () where the place has no name of its own."""
    heard = shell.heard
    role = shell.path.partition("/")[0]
    said = [post.word for post in heard.effects.posts]
    match role:
        case "strategies":
            found = _of_strategy(place, said)
        case "risk":
            found = _of_risk(place, heard.words, said)
        case "execution":
            found = _of_execution(shell, place, heard.words, said)
        case "venues":
            found = _of_venue(place, heard.words, said)
        case "market_data" | "watchdog":
            found = iter(("K26",))
        case _:
            found = iter(())
    return tuple(found)


def _any(words: Sequence[object], *kinds: type) -> bool:
    return any(isinstance(word, kinds) for word in words)


def _of_strategy(place: str, said: Sequence[object]) -> Iterator[str]:
    if _any(said, Intent):
        if place in _NOT_SENT:
            yield "K1"
        if place in _SENT:
            yield "K2"


def _of_risk(place: str, words: Sequence[object], said: Sequence[object]) -> Iterator[str]:
    if _any(words, Intent):
        if place == "heard":
            yield "K3"
        if place == "commit":
            yield "K4"
    if place in _NOT_SENT and _any(said, IntentJudged):
        yield "K5"


def _of_execution(shell: "Shell", place: str, words: Sequence[object], said: Sequence[object]) -> Iterator[str]:  # noqa: C901, PLR0912 - one case a place
    room = shell.room if shell.is_up else None
    if room is None:
        yield "K22"
        return
    if not room.facts().get("verdict"):
        yield "K22"
    if place in _NOT_KEPT:
        if _any(words, IntentJudged):
            yield "K6"
        if _any(words, OrderAccepted):
            yield "K12"
        if _any(words, OrderRejected):
            yield "K14"
        if _any(words, OrderFilled):
            yield "K15"
    if place in _NOT_SENT:
        if _any(said, SubmitOrder):
            yield "K7"
        if _any(words, OrderAccepted):
            yield "K13"
        if _any(said, CancelOrder):
            yield "K18"
        if _any(said, SubmitOrder) and _has_entered(shell) and _rests_stop(said):
            yield "K21"
    if place in _SENT and _any(said, CancelOrder):
        yield "K19"
    if _any(said, ReplaceOrder):
        yield "K20"
    if _is_between_parts(shell):
        yield "K17"


def _has_entered(shell: "Shell") -> bool:
    bodies = (each.word.body for each in shell.heard.effects.published if isinstance(each.word, JournalRecord))
    return any(isinstance(body, FillBooked) and body.purpose is Purpose.ENTRY for body in bodies)


def _rests_stop(said: Sequence[object]) -> bool:
    return any(isinstance(word, SubmitOrder) and word.type is OrderType.STOP for word in said)


def _is_between_parts(shell: "Shell") -> bool:
    bodies = (each.word.body for each in shell.heard.effects.published if isinstance(each.word, JournalRecord))
    return any(isinstance(body, OrderChanged) and body.order.state is OrderState.PARTIALLY_FILLED for body in bodies)


def _of_venue(place: str, words: Sequence[object], said: Sequence[object]) -> Iterator[str]:
    if place == "call" or (place == "heard" and _any(words, SubmitOrder)):
        yield "K8"
    if place == "answer" or (place in _NOT_SENT and _any(said, OrderAccepted)):
        yield "K9"
    if (place in _NOT_SENT | {"heard"}) and _any(said, OrderFilled):
        yield "K10"
