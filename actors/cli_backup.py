"""The commands around backups: made while the desk runs, restored while it does not."""

import signal
from pathlib import Path
from shlex import quote
from typing import Annotated

import msgspec
import typer

from actors.backup import BackupError, back_up, restore
from actors.cli_journal import code_of, fail_damaged
from actors.cli_parts import EXIT_REFUSED, STATE_DEFAULT, Json, State, fail, refuse_remote, show
from actors.screen_words import time_words
from actors.throwaway import Died, in_child
from runtime.clock import Clock
from runtime.errors import LockHeldError, StoreError

#: How long all writers together may be waited for: each commits within milliseconds, or it hangs.
MOMENT_S = 10.0

backups = typer.Typer(rich_markup_mode=None)


@backups.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="A new folder for the backup.")],
    state: State = STATE_DEFAULT,
    as_json: Json = False,
) -> None:
    """Copy all stores as they are at one moment, also while the desk runs; it is not stopped or slowed.

    Keys and logs are not in it.
    """
    refuse_remote("backup")

    def work() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, MOMENT_S)  # it kills us where a writer hangs, and so lets the others go
        try:
            made = back_up(state, folder, Clock(), lambda: signal.setitimer(signal.ITIMER_REAL, 0))
        except BackupError as error:
            fail(str(error), EXIT_REFUSED)
        again = f"bulkhead restore {quote(str(folder))} --state {quote(str(state))}"
        text = f"{folder}: {len(made.stores)} stores, journal up to record {made.journal}"
        show(msgspec.to_builtins(made), f"{text}\nrestore it with: {again}", as_json=as_json)

    ended = in_child(lambda: code_of(work))
    if isinstance(ended, Died) and ended.signal == "SIGALRM":
        why = f"a process of the desk hangs: its store was not free within {MOMENT_S:g} s"
        fail(f"{why}; there is no backup", EXIT_REFUSED)
    if isinstance(ended, Died):
        fail_damaged(f"{state}: reading its stores killed the reader ({ended.signal})")
    raise typer.Exit(ended)


@backups.command("restore")
def restore_backup(
    folder: Annotated[Path, typer.Argument(help="The backup.")],
    replace: Annotated[bool, typer.Option("--replace", help="Put aside the stores that are there.")] = False,
    state: State = STATE_DEFAULT,
    as_json: Json = False,
) -> None:
    """Put a backup in the place of a state folder's stores. The desk must not run.

    The whole backup is checked first. Logs, keys and a halt stay as they are.
    """
    refuse_remote("restore")

    def work() -> None:
        try:
            manifest, aside = restore(folder, state, Clock(), is_replaced=replace)
        except LockHeldError:
            stop = f"bulkhead stop --state {quote(str(state))}"
            fail(f"a desk runs on {state}; nothing was changed. Stop it with: {stop}", EXIT_REFUSED)
        except (BackupError, StoreError) as error:
            fail(f"{error}\nnothing was restored", EXIT_REFUSED)
        made = f"{time_words(manifest.created_ns)} UTC"
        text = f"{state} is as it was at {made}, journal up to record {manifest.journal}"
        text += f"\nwhat was there is in {aside}" if aside is not None else ""
        answer = {"state": str(state), "journal": manifest.journal, "created_ns": manifest.created_ns}
        show({**answer, "aside": str(aside or "")}, text, as_json=as_json)

    ended = in_child(lambda: code_of(work))
    if isinstance(ended, Died):
        fail(f"{folder}: reading it killed the reader ({ended.signal}); the backup is damaged", EXIT_REFUSED)
    raise typer.Exit(ended)
