"""What all commands of the command line share: their options, how they speak, how they end, whom they ask."""

import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Never

import msgspec
import typer

from actors.control_client import ASK_S, DeskDownError, Remote, VerbRefusedError, ask, ask_remote
from actors.control_keys import why_not
from runtime import log
from runtime.clock import Clock

State = Annotated[Path, typer.Option("--state", help="The desk's state folder.")]
Json = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is written down.")]
Config = Annotated[Path, typer.Option("--config", help="The configuration file.")]
_STDOUT = 1
STATE_DEFAULT = Path("var")
CONFIG_DEFAULT = Path("config/strategies.yaml")

#: What the options before a command's name say to the command: typer hands nothing down to one that does not ask.
_REMOTE: ContextVar[Remote | None] = ContextVar("remote", default=None)

#: Thirty years, for whoever writes inf: no clock can wait for that.
SECONDS_MAX = 10**9

EXIT_DEGRADED = 1
EXIT_HALTED = 2
EXIT_REFUSED = 3
EXIT_DOWN = 4


def say(text: str) -> None:
    """Print a text at once; where it cannot be written, as on a full disk, end with a sentence."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read along has seen enough
        raise
    except OSError as error:
        _fall_silent()
        fail(f"what was asked for was done, but its answer cannot be written: {error.strerror}", EXIT_REFUSED)


def _fall_silent() -> None:
    """Let nothing more of the standard output fail, not even at the very end. Source: Python's note on SIGPIPE."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def offer(text: str) -> None:
    """Print a text where that is possible at once, for a desk that goes on whoever reads it."""
    log.offer(_STDOUT, f"{text}\n")


def fail(text: str, code: int) -> Never:
    """Say on standard error why nothing came of it, and end with this exit code."""
    sys.stderr.write(f"{text}\n")
    raise typer.Exit(code)


def refusal_words(error: OSError) -> str:
    """Say what the system refused, and of which file."""
    if isinstance(error, PermissionError):
        return f"{error.filename} is not for this user to read or write; do it as the desk's own user"
    return why_not(error)


def show(value: Any, text: str, *, as_json: bool) -> None:
    """Print an answer, for people or for programs."""
    say(msgspec.json.encode(value, order="deterministic").decode() if as_json else text)


def remote() -> Remote | None:
    """Give the desk that ``--key`` names, before the command's own words; None where it is the one on ``--state``."""
    return _REMOTE.get()


def connect_to(there: Remote) -> None:
    """Ask this desk from now on, and none on a state folder."""
    _REMOTE.set(there)


def ask_desk(state: Path, verb: str, arguments: dict[str, Any], patience_s: float = ASK_S) -> dict[str, Any]:
    """Send a verb to the desk on ``state``, or to the one that ``--key`` names.

    Raises:
        DeskDownError: It cannot be reached.
        VerbRefusedError: It said no.
    """
    there = remote()
    if there is None:
        return ask(state, verb, arguments, Clock(), patience_s)
    return ask_remote(there, verb, arguments, Clock(), patience_s)


def ask_or_fail(state: Path, verb: str, arguments: dict[str, Any], patience_s: float = ASK_S) -> dict[str, Any]:
    """Do the same; where it comes to nothing, end with a sentence and an exit code."""
    try:
        return ask_desk(state, verb, arguments, patience_s)
    except DeskDownError as error:
        fail(str(error), EXIT_DOWN)
    except VerbRefusedError as error:
        fail(str(error), EXIT_REFUSED)


def refuse_remote(what: str) -> None:
    """End where ``--key`` was given for something that only a state folder can tell."""
    if remote() is not None:
        fail(
            f"{what} reads the state folder, so it works on the desk's own machine alone; leave --key out", EXIT_REFUSED
        )


@contextmanager
def until_interrupted() -> Generator[None]:
    """End the block quietly at Ctrl-C, also where whoever started us ignores it, as shells do for their jobs."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        yield
