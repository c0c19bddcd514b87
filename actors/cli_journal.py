"""The commands that read the books: each in a process of its own, which a damaged store may end."""

import select
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal, Never, get_args

import typer

from actors import screens, views
from actors.arguments import store_path
from actors.cli_orders import resolve_order
from actors.cli_parts import (
    EXIT_DOWN,
    EXIT_REFUSED,
    STATE_DEFAULT,
    Json,
    Reason,
    State,
    fail,
    refusal_words,
    refuse_remote,
    show,
    until_interrupted,
)
from actors.journal import read_journal, strategy_of
from actors.journal_screens import order_text
from actors.order_view import NoSuchOrderError, order_view
from actors.throwaway import Died, in_child
from actors.words import desk_codec
from desk.messages import JournalBody, JournalRecord
from runtime.errors import OperatingError, StoreError, StoreVersionError, WireError
from runtime.store import Reader

#: Seconds between two looks for new records.
FOLLOW_S = 0.25
#: What a record may be about, as ``journal --kind`` takes it.
KINDS: tuple[str, ...] = tuple(str(kind.__struct_config__.tag) for kind in get_args(JournalBody))

books = typer.Typer(rich_markup_mode=None)


def reading(store: Path, work: Callable[[], None]) -> Never:
    """Do what reads a store in a process that may die of it, then end with its exit code.

    Raises:
        PermissionError: It is another user's; that is no damage.
    """
    refuse_remote("this command")
    with suppress(FileNotFoundError, NotADirectoryError):
        (store / "data.mdb").open("rb").close()
    ended = in_child(lambda: code_of(work))
    if isinstance(ended, Died):
        fail_damaged(f"{store}: reading it killed the reader ({ended.signal})")
    raise typer.Exit(ended)


def code_of(work: Callable[[], None]) -> int:
    """Do it, and give the exit code with which it ended; damage has been said then."""
    try:
        try:
            work()
        except StoreVersionError as error:
            fail(str(error), EXIT_REFUSED)
        except (StoreError, WireError) as error:
            fail_damaged(str(error))
        except BrokenPipeError:  # whoever read along has seen enough
            raise
        except OSError as error:
            fail(refusal_words(error), EXIT_REFUSED)
    except typer.Exit as leaving:
        return leaving.exit_code
    return 0


def fail_damaged(what: str) -> Never:
    """Say that a store is damaged and what to do, and end."""
    fail(
        f"a store is damaged: {what}\n  A desk that runs may go on for now, on what it has in memory, and will not"
        " start again on this folder.\n  Resting stops at venues stay. Stop the desk with: bulkhead stop --state"
        " FOLDER,\n  keep a copy of the folder, then: bulkhead restore BACKUP --replace --state FOLDER",
        EXIT_REFUSED,
    )


@contextmanager
def ledger(state: Path) -> Generator[Reader]:
    """Open the ledger for reading; where there is none, end with a sentence."""
    folder = store_path(state, "execution")
    if not (folder / "data.mdb").exists():
        fail(f"{folder}: there is no store here; has a desk ever run on {state}?", EXIT_DOWN)
    reader = Reader.open(folder)
    try:
        yield reader
    finally:
        reader.close()


def _records(state: Path) -> list[JournalRecord]:
    with ledger(state) as reader:
        return list(read_journal(reader, desk_codec()))


def _list(
    state: Path,
    view: Callable[[Iterable[JournalRecord]], list[views.Row]],
    text: Callable[[Sequence[screens.Json]], str],
    *,
    as_json: bool,
) -> Never:
    """Show what a view makes of the whole journal, and end."""

    def work() -> None:
        rows = view(_records(state))
        show(rows, text(rows), as_json=as_json)

    reading(store_path(state, "execution"), work)


@books.command()
def orders(state: State = STATE_DEFAULT, as_json: Json = False) -> None:
    """List all orders; also of a stopped desk."""
    _list(state, views.orders_view, screens.orders_text, as_json=as_json)


@books.command()
def order(  # noqa: PLR0913, PLR0917 - a command has its options
    name: Annotated[str, typer.Argument(metavar="ID", help="Its id at the desk or at the venue; a beginning will do.")],
    action: Annotated[Literal["show", "resolve"], typer.Argument(help="Look at it, or settle it.")] = "show",
    outcome: Annotated[str, typer.Option("--outcome", help="resolve: never, cancelled or filled.")] = "",
    quantity: Annotated[str, typer.Option("--quantity", help="resolve: how much more of it filled.")] = "",
    price: Annotated[str, typer.Option("--price", help="resolve: at which price.")] = "",
    fee: Annotated[str, typer.Option("--fee", help="resolve: and for which fee.")] = "",
    reason: Reason = "",
    state: State = STATE_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show one order's whole life: every step with its times, who took it, each attempt, each execution.

    With `resolve` an order that is UNKNOWN is settled by your word, where the venue can never tell: `--outcome never`,
    `cancelled`, or `filled` with its figures. Look at the venue yourself before: the books will say what you say.
    """
    if action == "resolve":
        if not outcome:
            fail("say --outcome never, cancelled or filled; nothing was changed", EXIT_REFUSED)
        resolve_order(state, name, outcome, quantity=quantity, price=price, fee=fee, reason=reason, as_json=as_json)
        return

    def work() -> None:
        try:
            with ledger(state) as reader:
                found = order_view(read_journal(reader, desk_codec()), name)
        except NoSuchOrderError as error:
            fail(str(error), EXIT_REFUSED)
        show(found, order_text(found), as_json=as_json)

    reading(store_path(state, "execution"), work)


@books.command()
def positions(state: State = STATE_DEFAULT, as_json: Json = False) -> None:
    """List open positions; also of a stopped desk."""
    _list(state, views.positions_view, screens.positions_text, as_json=as_json)


@books.command()
def trades(state: State = STATE_DEFAULT, as_json: Json = False) -> None:
    """List closed trades; also of a stopped desk."""
    _list(state, views.trades_view, screens.trades_text, as_json=as_json)


@books.command()
def journal(  # noqa: PLR0913 - each option is one
    *,
    state: State = STATE_DEFAULT,
    tail: Annotated[int, typer.Option("--tail", min=0, help="Only the last so many records; 0: all.")] = 0,
    after: Annotated[int, typer.Option("--after", min=0, help="Only records behind this sequence.")] = 0,
    kind: Annotated[str, typer.Option("--kind", help=f"Only these: {', '.join(KINDS)}, or how they begin.")] = "",
    strategy: Annotated[str, typer.Option("--strategy", help="Only records of this strategy.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show the journal, record by record; also of a stopped desk.

    With --json one list, with --follow and --json one object a line.
    """
    if not any(known.startswith(kind) for known in KINDS):
        fail(f"no record is about {kind!r}; there are {', '.join(KINDS)}", EXIT_REFUSED)

    def is_wanted(record: JournalRecord) -> bool:
        is_kind = str(record.body.__struct_config__.tag).startswith(kind)
        return is_kind and (not strategy or strategy_of(record.body) == strategy)

    def work() -> None:
        with ledger(state) as reader, until_interrupted():
            codec, head = desk_codec(), reader.head()
            rows = views.journal_view(filter(is_wanted, read_journal(reader, codec, after)), tail or None)
            if not follow:
                show(rows, screens.journal_text(rows), as_json=as_json)
                return
            while True:
                for row in rows:
                    head = max(head, row["sequence"])
                    show(row, screens.journal_text([row]), as_json=as_json)
                select.select([], [], [], FOLLOW_S)
                seen, head = head, reader.head()
                rows = views.journal_view(filter(is_wanted, read_journal(reader, codec, seen)))

    reading(store_path(state, "execution"), work)


def whole_journal(state: Path) -> list[JournalRecord]:
    """Give the whole journal; where that cannot be read, end with a sentence.

    It is read in this process: for the desk's own last words, right after its stores were walked and closed.
    """
    try:
        return _records(state)
    except OperatingError as error:
        fail_damaged(str(error))
