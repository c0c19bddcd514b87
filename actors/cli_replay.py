"""The command that replays what a desk recorded: does the same code decide the same?"""

import importlib
from typing import Annotated, Literal

import typer

from actors.cli_parts import STATE_DEFAULT, Json, State, refuse_remote

replays = typer.Typer(rich_markup_mode=None)


@replays.command("replay")
def replay_command(
    until: Annotated[str, typer.Option("--until", help="Up to this record of the journal, or market time (UTC).")] = "",
    others: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="What if this had been so; may be repeated.")
    ] = None,
    code: Annotated[Literal["pinned", "today"], typer.Option("--code", help="The strategies' code.")] = "pinned",
    state: State = STATE_DEFAULT,
    as_json: Json = False,
) -> None:
    """Tell what a desk recorded to the same code again, and say whether it decides the same, byte for byte.

    Works on a copy, also while the desk runs; nothing in the state folder is changed. --set takes
    strategies.NAME.parameters.KEY, strategies.NAME.risk_config.KEY and global.risk.KEY. Exit code 0: all equal,
    1: something is different, 3: it cannot be replayed, 4: no desk ever ran here.
    """
    refuse_remote("replay")
    # It loads every room of the desk, which no other command and no desk's root has a use for.
    command = importlib.import_module("actors.replaying.command")
    raise typer.Exit(command.run_replay(state, until, others or [], is_today=code == "today", as_json=as_json))
