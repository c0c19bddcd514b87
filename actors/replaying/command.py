"""What ``bulkhead replay`` does: reads its options, replays a copy in a process that may die of it, shows what came."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from actors.cli_journal import code_of, fail_damaged
from actors.cli_parts import EXIT_DOWN, EXIT_REFUSED, fail, show
from actors.replaying.parts import Asked, ReplayError
from actors.replaying.recorded import consistent_copy
from actors.replaying.run import replay
from actors.replaying.screen import replay_text
from actors.throwaway import Died, in_child
from runtime.clock import NS_PER_S, Clock
from runtime.errors import OperatingError, StoreError

#: Exit code where something came out otherwise.
EXIT_DIFFERENT = 1
#: Sets and dictionaries of the strategies' own go through their elements as in the desk's processes.
_SEED = ("PYTHONHASHSEED", "0")


def run_replay(state: Path, until: str, others: list[str], *, is_today: bool, as_json: bool) -> int:
    """Replay what the desk on ``state`` recorded, and show it; give the exit code."""
    asked = _asked(until, others, is_today=is_today)
    if os.environ.get(_SEED[0]) != _SEED[1]:
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, _SEED[0]: _SEED[1]})  # noqa: S606 - ourselves

    different = 0

    def work() -> None:
        nonlocal different
        try:
            with consistent_copy(state, Clock()) as copy:
                found = replay(copy, asked)
        except ReplayError as error:
            fail(str(error), EXIT_DOWN if "has a desk ever run" in str(error) else EXIT_REFUSED)
        except StoreError:
            raise
        except OperatingError as error:
            fail(str(error), EXIT_REFUSED)
        answer = {**msgspec.to_builtins(found), "first": msgspec.to_builtins(found.first)}
        show(answer, replay_text(found, asked), as_json=as_json)
        different = EXIT_DIFFERENT if found.changed else 0

    ended = in_child(lambda: code_of(work) or different)
    if isinstance(ended, Died):
        fail_damaged(f"{state}: reading its stores killed the reader ({ended.signal})")
    return ended


def _asked(until: str, others: list[str], *, is_today: bool) -> Asked:
    """Read the options; what they say wrongly ends the command."""
    parameters: dict[str, dict[str, Any]] = {}
    limits: dict[str, dict[str, Any]] = {}
    for each in others:
        name, equals, text = each.partition("=")
        match name.split(".") if equals else ():
            case ["strategies", strategy, "parameters", key]:
                parameters.setdefault(strategy, {})[key] = _value(text)
            case ["strategies", strategy, "risk_config", key]:
                limits.setdefault(strategy, {})[key] = _value(text)
            case ["global", "risk", key]:
                limits.setdefault("", {})[key] = _value(text)
            case _:
                keys = "strategies.NAME.parameters.KEY=V, strategies.NAME.risk_config.KEY=V or global.risk.KEY=V"
                fail(f"--set {each}: write {keys}. Nothing was replayed", EXIT_REFUSED)
    sequence, until_ns = None, None
    if until.isdecimal():
        sequence = int(until)
    elif until:
        until_ns = _time_ns(until)
    return Asked(until=sequence, until_ns=until_ns, parameters=parameters, limits=limits, is_today=is_today)


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text.encode())
    except msgspec.DecodeError:
        return text


def _time_ns(text: str) -> int:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        wanted = "the number of a record, or a time such as 2024-01-08T15:30:00"
        fail(f"--until {text}: write {wanted}. Nothing was replayed", EXIT_REFUSED)
    aware = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return int(aware.timestamp()) * NS_PER_S + aware.microsecond * 1000
