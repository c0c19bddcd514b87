"""The commands around the read model: bring it up to date, and ask it in SQL."""

import select
import sqlite3
from pathlib import Path
from typing import Annotated

import typer

from actors.arguments import store_path
from actors.cli_journal import FOLLOW_S, ledger, reading
from actors.cli_parts import EXIT_REFUSED, STATE_DEFAULT, Json, State, fail, show, until_interrupted
from actors.journal_screens import rows_text
from actors.read_model import NAME, ReadModel, open_read_model
from actors.words import desk_codec
from runtime.store import Reader

ROWS_MAX_DEFAULT = 1000

questions = typer.Typer(rich_markup_mode=None)


@questions.command()
def sql(
    query: Annotated[str, typer.Argument(help="One SELECT.")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows that are shown at most.")] = ROWS_MAX_DEFAULT,
    state: State = STATE_DEFAULT,
    as_json: Json = False,
) -> None:
    """Ask the books in SQL: orders, order_transitions, fills, positions, trades, capital_events, desk_notes and more.

    The read model is brought up to date first. Money and quantities are text, to the last digit: write CAST(pnl AS
    REAL) to count with them. Times are nanoseconds, UTC.
    """

    def work() -> None:
        with ledger(state) as reader:
            _brought_up(state, reader)
        connection = open_read_model(state / NAME)
        try:
            found = connection.execute(query)
            names, rows = [column[0] for column in found.description or ()], found.fetchmany(limit + 1)
        except sqlite3.Error as error:
            words = "only SELECT is allowed here" if "not auth" in str(error) or "denied" in str(error) else str(error)
            fail(f"{words}; nothing was changed", EXIT_REFUSED)
        finally:
            connection.close()
        left_out = f"\nthere are more; --limit shows more than {limit}" if len(rows) > limit else ""
        listed = [dict(zip(names, row, strict=True)) for row in rows[:limit]]
        show(listed, f"{rows_text(names, rows[:limit])}{left_out}", as_json=as_json)

    reading(store_path(state, "execution"), work)


@questions.command("read-model")
def read_model(
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make it anew from the first record.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep it up to date, until Ctrl-C.")] = False,
    state: State = STATE_DEFAULT,
    as_json: Json = False,
) -> None:
    """Bring the read model up to date: the journal as tables of SQLite, for programs of your own.

    It lies in the state folder and can be deleted at any time. The desk does not need it.
    """

    def work() -> None:
        with ledger(state) as reader, until_interrupted():
            sequence = _brought_up(state, reader, is_anew=rebuild)
            answer = {"file": str(state / NAME), "sequence": sequence}
            show(answer, f"{state / NAME} has the journal up to record {sequence}", as_json=as_json)
            while follow:
                select.select([], [], [], FOLLOW_S)
                if reader.head() > sequence:
                    sequence = _brought_up(state, reader)

    reading(store_path(state, "execution"), work)


def _brought_up(state: Path, reader: Reader, *, is_anew: bool = False) -> int:
    """Bring the model up to date; one that is damaged is made anew, for it is derived."""
    path = state / NAME
    try:
        return _update(path, reader, is_anew=is_anew)
    except sqlite3.OperationalError as error:
        fail(f"{path} cannot be brought up to date: {error}", EXIT_REFUSED)
    except sqlite3.DatabaseError:
        path.unlink(missing_ok=True)
        return _update(path, reader, is_anew=True)


def _update(path: Path, reader: Reader, *, is_anew: bool) -> int:
    model = ReadModel(path)
    try:
        return model.update(reader, desk_codec(), is_anew=is_anew)
    finally:
        model.close()
