"""Where the desk is killed: each scene is an act of the script, with points armed at it, and what the exchange does."""

from typing import NamedTuple

from tests.falls.rooms import VENUE

STRATEGY, RISK, EXECUTION, GATEWAY = "strategies/script", "risk", "execution", VENUE


class Point(NamedTuple):
    """One point of one process, at the pass behind ``skipped`` ones."""

    path: str
    name: str
    skipped: int = 0


class Deed(NamedTuple):
    """What the exchange does to the next request, fill or report of a kind."""

    call: str
    deed: str
    ms: int = 0
    parts: tuple[str, ...] = ()


class Scene(NamedTuple):
    """One fall. ``held`` is the tag under which something has to be held or to rest before; "" is nothing."""

    kill: str
    act: str
    points: tuple[Point, ...]
    held: str = ""
    deeds: tuple[Deed, ...] = ()
    demand: str = ""
    """The least quantity that the exchange takes during the act, where it refuses on that account."""

    def __str__(self) -> str:
        where = "+".join(f"{point.path.rpartition('/')[2]}.{point.name}" for point in self.points)
        deeds = "".join(f"+{deed.deed}" for deed in self.deeds)
        return f"{self.kill}:{self.act or 'minute'}:{where}{deeds}"


def _at(path: str, *names: str) -> tuple[Point, ...]:
    return tuple(Point(path, name) for name in names)


def _each(kill: str, act: str, path: str, names: str, held: str = "", *deeds: Deed) -> tuple[Scene, ...]:
    return tuple(Scene(kill, act, _at(path, name), held, deeds) for name in names.split())


def _weight(scene: Scene) -> tuple[bool, int, bool]:
    """Say how much a scene asks of the desk: several falls, an exchange that misbehaves, a call that was taken."""
    names = " ".join(point.name for point in scene.points)
    return "taken" in names or "behind" in names, len(scene.points) + len(scene.deeds), scene.act == "enter"


LATE, TOO_LATE = Deed("submit", "late", 250), Deed("submit", "late", 900)
RACE, LATE_FILL = Deed("cancel", "race"), Deed("cancel", "late_fill", 100)
TAKEN = "port.submit.before port.submit.half port.submit.sent port.submit.taken port.submit.behind"
CHANGED = ["before", "half", "sent", "taken", "behind"]

SCENES: tuple[Scene, ...] = (
    *_each("K1", "enter", STRATEGY, "kept.kept.before kept.kept.inside kept.kept.behind link.intent.before"),
    *_each("K2", "enter", STRATEGY, "link.intent.sent"),
    *_each("K2", "leave", STRATEGY, "link.intent.sent", "a"),
    *_each("K3", "enter", RISK, "kept.unbooked.before"),
    *_each("K4", "leave", RISK, "kept.unbooked.inside", "a"),
    *_each("K5", "enter", RISK, "kept.unbooked.behind link.intent.judged.before link.intent.judged.sent"),
    *_each("K5", "leave", RISK, "kept.unbooked.behind", "a"),
    *_each("K6", "enter", EXECUTION, "kept.ENTRY.PENDING.before kept.ENTRY.PENDING.inside"),
    *_each("K6", "leave", EXECUTION, "kept.EXIT.PENDING.before", "a"),
    *_each("K7", "enter", EXECUTION, "kept.ENTRY.PENDING.behind link.venue.submit.before link.venue.submit.sent"),
    *_each("K7", "leave", EXECUTION, "kept.EXIT.PENDING.behind", "a"),
    *_each("K7", "enter", GATEWAY, "port.submit.before"),
    *_each("K8", "enter", GATEWAY, "port.submit.half port.submit.sent"),
    *_each("K9", "rest", GATEWAY, "port.submit.taken"),
    *_each("K10", "enter", GATEWAY, "port.submit.taken"),
    *_each("K10", "leave", GATEWAY, "port.submit.taken", "a"),
    *_each("K11", "enter", GATEWAY, "port.submit.sent", "", LATE),
    *_each("K11", "enter", GATEWAY, "port.submit.sent", "", TOO_LATE),
    *_each("K12", "enter", GATEWAY, "port.submit.behind"),
    *_each("K12", "rest", EXECUTION, "kept.ENTRY.SUBMITTED.before"),
    *_each("K13", "rest", EXECUTION, "kept.ENTRY.SUBMITTED.behind"),
    Scene("K14", "enter", _at(EXECUTION, "kept.ENTRY.REJECTED.before"), demand="1000"),
    Scene("K14", "enter", _at(GATEWAY, "port.submit.behind"), demand="1000"),
    *_each("K15", "enter", EXECUTION, "kept.ENTRY.fill.before"),
    *_each("K15", "leave", EXECUTION, "kept.EXIT.fill.before", "a"),
    *_each("K15", "enter", GATEWAY, "link.venue.filled.before link.venue.filled.sent"),
    *_each("K16", "enter", EXECUTION, "kept.ENTRY.fill.inside"),
    *_each("K17", "enter", EXECUTION, "kept.ENTRY.fill.behind", "", Deed("fill", "partial", parts=("1", "1", "2"))),
    *_each("K17", "enter", GATEWAY, "link.venue.filled.before", "", Deed("fill", "partial", parts=("1", "3"))),
    *_each("K18", "leave", EXECUTION, "kept.STOP_LOSS.PENDING_CANCEL.behind", "a"),
    *_each("K18", "leave", GATEWAY, "port.cancel.before", "a"),
    *_each("K18", "", EXECUTION, "kept.ENTRY.PENDING_CANCEL.behind", "b"),
    *_each("K19", "leave", GATEWAY, "port.cancel.taken", "a", RACE),
    *_each("K19", "leave", GATEWAY, "port.cancel.taken", "a", LATE_FILL),
    *_each("K19", "", GATEWAY, "port.cancel.sent", "b", RACE),
    *_each("K19", "", EXECUTION, "kept.ENTRY.CANCELLED.before", "b"),
    *_each("K20", "add", EXECUTION, "kept.STOP_LOSS.PENDING_REPLACE.before kept.STOP_LOSS.PENDING_REPLACE.behind", "a"),
    *_each("K20", "levels", EXECUTION, "kept.STOP_LOSS.PENDING_REPLACE.behind", "a"),
    *_each("K20", "add", GATEWAY, " ".join(f"port.replace.{where}" for where in CHANGED), "a"),
    *_each("K21", "enter", EXECUTION, "kept.STOP_LOSS.PENDING.before kept.STOP_LOSS.PENDING.behind"),
    *(Scene("K21", "enter", (Point(GATEWAY, f"port.submit.{where}", 1),)) for where in CHANGED),
    Scene("K22", "enter", _at(GATEWAY, "port.submit.taken", "port.look.before")),
    Scene("K22", "enter", _at(EXECUTION, "kept.ENTRY.PENDING.behind", "kept.ENTRY.UNKNOWN.before")),
    Scene("K22", "enter", _at(EXECUTION, "kept.ENTRY.PENDING.behind", "kept.ENTRY.UNKNOWN.behind")),
    Scene("K22", "leave", _at(GATEWAY, "port.submit.sent", "port.look.behind"), "a"),
    Scene("K22", "enter", (*_at(EXECUTION, "kept.ENTRY.fill.before", "born"), *_at(GATEWAY, "port.look.behind"))),
)
#: The kinds of kill, in order.
KILLS = tuple(dict.fromkeys(scene.kill for scene in SCENES))
#: One scene of each kind: where the most is at stake.
TELLING = tuple(max((scene for scene in SCENES if scene.kill == kill), key=_weight) for kill in KILLS)
