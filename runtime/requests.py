"""What rooms ask of root: each request is carried out once, and one that is repeated gets the same answer."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from runtime.clock import Clock
from runtime.errors import SpecError, StoreError
from runtime.keeper import Keeper
from runtime.log import Log
from runtime.spec import NodeSpec
from runtime.supervision import Supervision
from runtime.supervision_places import check_root
from runtime.supervision_words import Action
from runtime.words import RestartWanted, RootAnswered, RootAsked

#: So many answers are kept: repeats come within seconds.
ANSWERS_MAX = 1000


class Powers(NamedTuple):
    """What root does for whoever carries a request out."""

    do: Callable[[list[Action]], None]
    """Carry out what supervision wants."""
    stop: Callable[[str], None]
    """Begin the orderly end, for this reason."""
    status: Callable[[str], dict[str, Any]]
    """Give all that is known of a path and what is below it, "" for the whole tree."""
    take_specs: Callable[[], None]
    """Watch the children by what they are to be in the tree as it is now."""
    prepare: Callable[[NodeSpec], None]
    """Make what the workers of another tree find at their first start; it may refuse with an OSError or StoreError."""


class _Applied(msgspec.Struct, frozen=True):
    """The arguments of the verb ``apply``."""

    tree: bytes
    desired: dict[str, bool]
    restart: tuple[str, ...]
    reason: str
    wishes: dict[str, bool] = {}


class Requests:
    """Carries out what is asked, and remembers what it answered. Whoever may ask is decided outside."""

    def __init__(
        self, tree_id: str, supervision: Supervision, keeper: Keeper, clock: Clock, log: Log, powers: Powers
    ) -> None:
        """Begin without any request."""
        self._tree_id, self._supervision, self._keeper = tree_id, supervision, keeper
        self._clock, self._log, self._powers = clock, log, powers
        self._answers: dict[str, RootAnswered] = {}
        self._granted: dict[str, bytes] = {}

    def answer(self, peer: str, asked: RootAsked, *, may_ask: bool) -> RootAnswered:
        """Carry out a request once; a repeated one gets the same answer, but for the status, which is as it is now."""
        if not may_ask:
            return RootAnswered(asked.request, f"{peer} may not ask that", {})
        known = self._answers.get(asked.request)
        if known is not None:
            return known
        result: dict[str, object] = {}
        error = ""
        try:
            result = self._carry_out(asked)
        except (ValueError, LookupError, OSError, StoreError) as failure:
            error = str(failure)
        answer = RootAnswered(asked.request, error, result)
        if asked.verb != "status":
            self._answers[asked.request] = answer
        if len(self._answers) > ANSWERS_MAX:
            del self._answers[next(iter(self._answers))]
        return answer

    def restart(self, path: str, arguments: bytes | None, wanted: RestartWanted) -> None:
        """Restart a child that asks for it, once for the arguments of its spec, so that none can ask without end.

        ``arguments`` is None where the incarnation that asks is none that lives.
        """
        if arguments is None or self._granted.get(path) == arguments:
            self._log.warning("restart.refused", path=path, reason="it had its restart for these arguments")
            return
        self._granted[path] = arguments
        self._log.info("restart.wanted", path=path, reason=wanted.reason)
        self._powers.do(self._supervision.restart(path, self._clock.monotonic_ns()))

    def _carry_out(self, asked: RootAsked) -> dict[str, object]:
        """Do what a verb says.

        Raises:
            ValueError, LookupError, OSError, StoreError: It cannot be done, and nothing was; the text says why.
        """
        path, now_ns, do = str(asked.arguments.get("path", "")), self._clock.monotonic_ns(), self._powers.do
        match asked.verb:
            case "status":
                return self._powers.status(path)
            case "enable" | "disable":
                self._carry_out_wish(asked, path, now_ns)
            case "restart":
                do(self._supervision.restart(path, now_ns))
            case "release":
                self._keeper.drop_quarantine(*self._supervision.in_quarantine(path))  # or nobody is let out
                do(self._supervision.release(path, now_ns))
            case "apply":
                self._apply(asked.arguments, now_ns)
            case "stop" | "finish":
                self._powers.stop(str(asked.arguments.get("reason", asked.verb)))
            case _:
                msg = f"root knows no verb {asked.verb!r}"
                raise LookupError(msg)
        return {}

    def _carry_out_wish(self, asked: RootAsked, path: str, now_ns: int) -> None:
        """Enable or disable, once the operator's wish is kept."""
        is_enabled = asked.verb == "enable"
        if all(row.path != path for row in self._supervision.tree(now_ns)):
            msg = f"there is no {path} in the tree"
            raise LookupError(msg)
        self._keeper.keep_desired(path, is_enabled=is_enabled)
        if is_enabled:
            self._powers.do(self._supervision.enable(path, now_ns))
        else:
            self._powers.do(self._supervision.disable(path, now_ns, str(asked.arguments.get("reason", ""))))

    def _apply(self, arguments: Mapping[str, object], now_ns: int) -> None:
        """Let the tree become another one; a tree or wishes that do not hold change nothing.

        ``tree`` is a NodeSpec as MessagePack, ``desired`` what the configuration says of each path, ``restart`` the
        paths that take their new spec by a restart, ``reason`` why what is disabled is. ``wishes`` are those of
        operators that are younger than what the configuration says, so that its edit does not end them.
        """
        told = msgspec.convert(dict(arguments), type=_Applied)
        tree = msgspec.msgpack.decode(told.tree, type=NodeSpec)
        check_root(tree)
        if tree.id != self._tree_id:
            msg = f"the root of a running tree keeps its id: {self._tree_id}, not {tree.id}"
            raise SpecError(msg)
        self._powers.prepare(tree)
        self._keeper.configure(told.desired, told.wishes)
        actions = self._supervision.become(
            tree, now_ns, restart=frozenset(told.restart), desired=self._keeper.desired(), reason=told.reason
        )
        self._powers.take_specs()
        self._log.info("tree.changed", reason=told.reason, restarts=list(told.restart))
        self._powers.do(actions)
