"""The command line: one verb a command; every answer as text for people or, with ``--json``, for programs."""

import importlib
import os
import select
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import msgspec
import typer

from actors import log_view, screens, views
from actors.arguments import store_path
from actors.cli_backup import backups
from actors.cli_books import hands
from actors.cli_control import audit, keys
from actors.cli_journal import books, reading, whole_journal
from actors.cli_orders import commands as order_commands
from actors.cli_parts import (
    CONFIG_DEFAULT,
    EXIT_DEGRADED,
    EXIT_DOWN,
    EXIT_HALTED,
    EXIT_REFUSED,
    SECONDS_MAX,
    STATE_DEFAULT,
    Config,
    Json,
    Reason,
    State,
    ask_desk,
    connect_to,
    refusal_words,
    refuse_remote,
    remote,
    until_interrupted,
)
from actors.cli_parts import ask_or_fail as _ask
from actors.cli_parts import fail as _fail
from actors.cli_parts import offer as _offer
from actors.cli_parts import show as _show
from actors.cli_replay import replays
from actors.cli_simulate import simulations
from actors.cli_sql import questions
from actors.console.protocol import Code
from actors.control_client import DeskDownError, Remote, VerbRefusedError
from actors.desk import run_desk
from actors.foreground import Foreground
from actors.last_good import TEXT_FILE, read_last_good
from actors.pinned_code import CodeShelf
from actors.problem import render
from actors.screen_node import node_text, processes_text
from actors.screen_words import plain_text, time_words
from actors.settings import Settings
from actors.settings_apart import read_apart
from actors.top_source import DeskSource
from runtime.clock import Clock
from runtime.errors import OperatingError, StoreError
from runtime.folder import Sentinel
from runtime.store import Reader

app = typer.Typer(
    name="bulkhead", help="A supervised trading desk on paper.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip

#: A strategy's module that hangs when it is imported is waited for, and left aside, before the answer comes.
RELOAD_S = 60.0
#: States of a process or node that are as they should be; every other is degraded.
EXIT_OF_NODE = {"RUNNING": 0, "DISABLED": 0}
#: Entries of its log that the status of a path ends with.
LOG_LINES_SHOWN = 10
#: Seconds between two looks for what was appended to a log.
FOLLOW_S = 0.25


app.add_typer(keys, name="keys")
app.command()(audit)
app.add_typer(books)
app.add_typer(order_commands)
app.add_typer(backups)
app.add_typer(hands)
app.add_typer(questions)
app.add_typer(replays)
app.add_typer(simulations)


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line, or the command that ``words`` are.

    What the system refuses, as a file of another user's, is no defect of ours, and so no traceback. Wrong words are
    refused like what the desk refuses: the code that the library has for them says of a desk that it is halted.
    """
    try:
        app(words)
    except SystemExit as leaving:
        if isinstance(leaving.__context__, typer.TyperException):
            sys.exit(EXIT_REFUSED)
        raise
    except OSError as error:
        _warn(refusal_words(error))
        sys.exit(EXIT_REFUSED)


@app.callback()
def connected(
    key: Annotated[
        Path | None, typer.Option("--key", envvar="BULKHEAD_KEY", help="Ask a desk through its guarded door.")
    ] = None,
    connect: Annotated[str, typer.Option("--connect", help="Where that door is; left out: as the key file says.")] = "",
) -> None:
    """A supervised trading desk on paper."""
    if connect and key is None:
        _fail("--connect needs --key FILE; make one with: bulkhead keys new NAME --role read", EXIT_REFUSED)
    if key is not None:
        connect_to(Remote(key, connect))


@app.command()
def run(
    config: Config = CONFIG_DEFAULT,
    state: State = STATE_DEFAULT,
    duration: Annotated[
        float, typer.Option("--duration", max=SECONDS_MAX, help="Stop after so many seconds; 0: never.")
    ] = 0.0,
) -> None:
    """Run the desk in the foreground.

    It ends with Ctrl-C, `bulkhead stop`, or the end of a replay.
    """
    file = config if config.exists() or config != CONFIG_DEFAULT else Path(__file__).parents[1] / CONFIG_DEFAULT
    clock = Clock()
    _check_folder(state)
    _check_names(state.resolve(), file.absolute())
    settings = _settings(file, state, clock)
    for entry in settings.strategies:
        if entry.refusal:
            _offer(f"strategy {entry.name} is refused, the others run: {plain_text(entry.refusal)}")
    feed = settings.feed
    pace = "as fast as it can" if feed.speed is None else f"at {feed.speed:g} times real time"
    pace = f"from {feed.url}" if feed.url else pace
    _offer(f"bulkhead: paper desk on {state}, feed {feed.kind.value} {pace}, configuration {file}")
    foreground = Foreground(settings, Sentinel(state), clock, _offer, _own_status(state))
    try:
        code = run_desk(
            settings,
            file=file,
            state=state,
            duration_s=max(0.0, duration),
            clock=clock,
            on_round=foreground.look,
        )
    except OperatingError as error:
        _fail(str(error), EXIT_REFUSED)
    except OSError as error:
        _fail(f"{refusal_words(error)}; nothing was started. Or choose a folder with --state", EXIT_REFUSED)
    try:
        summary = _summary(state)
    except StoreError as error:
        _fail(f"the desk has ended, and its books cannot be read: {error}", code or EXIT_REFUSED)
    _offer(f"stopped in good order; orders, positions and trades are in {state}" if code == 0 else "the desk gave up")
    _offer(screens.summary_text(summary))
    raise typer.Exit(code)


def _own_status(state: Path) -> str:
    """Give the command that shows the desk as it can be pasted where this one was called."""
    own = Path(sys.argv[0])
    command = quote(own.name if shutil.which(own.name) else os.path.relpath(own))
    return f"{command} status" if state == STATE_DEFAULT else f"{command} status --state {quote(str(state))}"


@app.command()
def status(
    path: Annotated[str, typer.Argument(help="One process or node, such as strategies/spy_vwap.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    every: Annotated[
        float, typer.Option("--every", min=0.2, max=SECONDS_MAX, help="Seconds between two looks with --watch.")
    ] = 2.0,
    state: State = STATE_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show the supervisor tree, or one path with all that is known of it.

    Exit code 0: all runs, 1: degraded, 2: halted, 4: no desk. With --watch: as it was at the end.
    """
    arguments = {"path": path} if path else {}
    code = _show_status(_ask(state, "status", arguments), state, path, as_json=as_json, is_redrawn=watch)
    fault = ""
    with until_interrupted():
        while watch:
            select.select([], [], [], every)
            try:
                answer = ask_desk(state, "status", arguments)
            except (DeskDownError, VerbRefusedError) as error:  # a desk or a path may come back
                code = EXIT_DOWN if isinstance(error, DeskDownError) else EXIT_REFUSED
                if str(error) != fault:
                    _warn(fault := str(error))
                continue
            fault = ""
            code = _show_status(answer, state, path, as_json=as_json, is_redrawn=True)
    raise typer.Exit(code)


def _show_status(answer: dict[str, Any], state: Path, path: str, *, as_json: bool, is_redrawn: bool) -> int:
    """Show a status; give the exit code that goes with it."""
    if path:
        log = (
            []
            if as_json or remote() is not None
            else log_view.LogReader([log_view.log_path(state, path)]).last(LOG_LINES_SHOWN)
        )
        text = node_text(answer, [entry.words().splitlines()[0] for entry in log])
        code = EXIT_OF_NODE.get(answer["node"]["state"], EXIT_DEGRADED)
        code = EXIT_DEGRADED if answer["node"]["is_late"] else code
    else:
        text = screens.status_text(answer)
        code = {"RUNNING": 0, "HALTED": EXIT_HALTED}.get(answer["desk"]["state"], EXIT_DEGRADED)
    if is_redrawn and not as_json and sys.stdout.isatty():
        text = f"\x1b[H\x1b[2J{text}"
    _show(answer, text, as_json=as_json)
    return code


@app.command()
def top(state: State = STATE_DEFAULT) -> None:
    """Show the desk live, with keys to act on it; needs a terminal of at least 80 by 24."""
    refuse_remote("top")
    if not sys.stdout.isatty() or not sys.stdin.isatty():
        _fail("top needs a terminal; for programs there is: bulkhead status --json", EXIT_REFUSED)
    _ask(state, "ping", {})
    # Its library takes longer to load than every other command takes to run, so only this one loads it.
    importlib.import_module("actors.top").run_top(DeskSource(state, Clock()))


@app.command()
def ps(state: State = STATE_DEFAULT, as_json: Json = False) -> None:
    """List the processes: falls, processor, memory, mailbox, lag."""
    tree = _ask(state, "status", {})["tree"]
    _show([row for row in tree if row["kind"] != "node"], processes_text(tree), as_json=as_json)


@app.command()
def logs(
    path: Annotated[str, typer.Argument(help="A process, or root; all together where none is named.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    level: Annotated[str, typer.Option("--level", help="Least level: debug, info, warning, error.")] = "debug",
    count: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last entries.")] = 20,
    state: State = STATE_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show the log of one process, or of all; also of a stopped desk."""
    if level.upper() not in log_view.LEVELS:
        _fail(f"there is no level {plain_text(level)!r}; there are {', '.join(log_view.LEVELS).lower()}", EXIT_REFUSED)
    refuse_remote("logs")
    there = log_view.log_paths(state)
    if not there:
        _fail(f"there are no logs in {state / 'log'}; has a desk ever run on {state}?", EXIT_DOWN)
    files = [log_view.log_path(state, path)] if path else there
    if files[0] not in there:
        names = ", ".join(file.stem for file in there)
        _fail(f"{plain_text(path)!r} has no log; there are {names}", EXIT_REFUSED)
    reader = log_view.LogReader(files)
    _show_entries(reader.last(count, level.upper()), as_json=as_json)
    with until_interrupted():
        while follow:
            select.select([], [], [], FOLLOW_S)
            _show_entries(reader.news(level.upper()), as_json=as_json)


def _show_entries(entries: Iterable[log_view.Entry], *, as_json: bool) -> None:
    for entry in entries:
        _show(entry._asdict(), entry.words(), as_json=as_json)


@app.command()
def strategies(state: State = STATE_DEFAULT, as_json: Json = False) -> None:
    """List the strategies: state, signals, orders, profit."""
    rows = _ask(state, "status", {})["strategies"]
    _show(rows, screens.strategies_text(rows), as_json=as_json)


@app.command()
def why(name: str, state: State = STATE_DEFAULT, as_json: Json = False) -> None:
    """Say why a strategy did not trade: its reasons, counted."""
    rows = _ask(state, "status", {})["strategies"]
    found = next((row for row in rows if row["name"] == name), None)
    if found is None:
        _fail(f"there is no strategy {name!r}; there are {', '.join(row['name'] for row in rows)}", EXIT_REFUSED)
    if remote() is not None:
        _show(found, screens.why_text(found), as_json=as_json)
        return

    def work() -> None:
        whole = {**found, "orders_refused": views.refusals_view(whole_journal(state), name)}
        _show(whole, screens.why_text(whole), as_json=as_json)

    reading(store_path(state, "execution"), work)


@app.command()
def enable(name: str, reason: Reason = "", state: State = STATE_DEFAULT, as_json: Json = False) -> None:
    """Start a strategy; lasts until its `enabled` is edited."""
    _verb(state, "enable", {"name": name, "reason": reason}, f"{name} is enabled", as_json=as_json)


@app.command()
def disable(
    name: str,
    hold: Annotated[bool, typer.Option("--hold", help="Keep its position; its recorded stop rests.")] = False,
    flatten: Annotated[bool, typer.Option("--flatten", help="Close its position at the market.")] = False,
    reason: Reason = "",
    state: State = STATE_DEFAULT,
    as_json: Json = False,
) -> None:
    """Stop a strategy; lasts until its `enabled` is edited.

    Without --hold or --flatten its `on_disable` says what becomes of its position.
    """
    if hold and flatten:
        _fail("write --hold or --flatten, not both; nothing was changed", EXIT_REFUSED)
    position = "hold" if hold else "flatten" if flatten else ""
    answer = _ask(state, "disable", {"name": name, "position": position, "reason": reason})
    _show(answer, f"{name} is disabled, and {answer['position']}", as_json=as_json)


@app.command()
def swap(
    name: str,
    bars: Annotated[int, typer.Option("--bars", min=1, max=1000, help="Bars that the new code is tried for.")] = 1,
    reason: Reason = "",
    state: State = STATE_DEFAULT,
    as_json: Json = False,
) -> None:
    """Try a strategy's edited file beside it, and take it between two bars if it does well.

    It evaluates bars and sends nothing while it is tried. If it falls within a minute of being taken, the strategy goes
    back to the code that it had. What comes of it shows in `status`.
    """
    answer = _ask(state, "swap", {"name": name, "bars": bars, "reason": reason})
    text = f"{answer['new']} is being tried beside {answer['old']}; what comes of it shows in: bulkhead status"
    _show(answer, text, as_json=as_json)


@app.command()
def reload(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    reason: Reason = "",
    state: State = STATE_DEFAULT,
    as_json: Json = False,
) -> None:
    """Read the configuration now, check all of it, and apply what changed.

    A running desk does so by itself when the file is edited. A mistake changes nothing.
    """
    answer = _ask(state, "reload", {"dry_run": dry_run, "reason": reason}, patience_s=RELOAD_S)
    _show(answer, screens.reload_text(answer), as_json=as_json)


@app.command()
def release(name: str, reason: Reason = "", state: State = STATE_DEFAULT, as_json: Json = False) -> None:
    """Let a strategy out of quarantine."""
    _verb(state, "release", {"name": name, "reason": reason}, f"{name} is released", as_json=as_json)


@app.command()
def restart(path: str, reason: Reason = "", state: State = STATE_DEFAULT, as_json: Json = False) -> None:
    """Restart one process by its path in `status`.

    Such as strategies/spy_vwap. It does not count as a fall.
    """
    _verb(state, "restart", {"path": path, "reason": reason}, f"{path} is restarted", as_json=as_json)


@app.command()
def halt(reason: Reason = "halted by an operator", state: State = STATE_DEFAULT, as_json: Json = False) -> None:
    """No entries any more, until `resume`.

    Working entry orders are cancelled; exits, stops and positions are not touched.
    """
    if remote() is not None:
        _show(answer := _ask(state, "halt", {"reason": reason}), f"halted: {answer['halted']}", as_json=as_json)
        return
    sentinel = Sentinel(state)
    try:
        if not state.is_dir():
            _fail(f"there is no state folder {state}; nothing was halted", EXIT_DOWN)
        sentinel.write(plain_text(reason or "halted by an operator"))  # at once, whether or not anybody answers below
    except OSError as error:
        words = f"{state / 'HALT'} cannot be made: {error.strerror}; do it as the desk's own user"
        _fail(f"NOTHING WAS HALTED: {words}", EXIT_REFUSED)
    note = ""
    try:
        ask_desk(state, "halt", {"reason": reason})
    except DeskDownError:
        if not (state / "lock").exists():
            words = f"none has ever run on {state}; name its folder with --state. One that starts here is halted"
            _fail(f"NO DESK WAS HALTED: {words}", EXIT_DOWN)
        note = "no desk answers: one that runs sends no entry from now on, one that starts is halted"
    except VerbRefusedError as error:
        if error.code == Code.REFUSED.value:  # it could not make its own file: it looks for one elsewhere
            _fail(str(error), EXIT_REFUSED)
        note = str(error)
    answer = {"halted": sentinel.reason() or "", "note": note}
    _show(answer, "\n".join(filter(None, (f"halted: {answer['halted']}", note))), as_json=as_json)


@app.command()
def resume(reason: Reason = "", state: State = STATE_DEFAULT, as_json: Json = False) -> None:
    """Lift a halt."""
    answer = _resume_here(state, reason) if remote() is None else _ask(state, "resume", {"reason": reason})
    text = f"resumed; it was halted: {answer['was_halted']}" if answer["was_halted"] else "it was not halted"
    _show(answer, text, as_json=as_json)


@app.command()
def cancel(
    name: Annotated[str, typer.Argument(help="The strategy; all where none is named.")] = "",
    reason: Reason = "",
    state: State = STATE_DEFAULT,
    as_json: Json = False,
) -> None:
    """Cancel working entries, of one strategy or of all.

    Stops and exits stay.
    """
    _verb(state, "cancel", {"name": name, "reason": reason}, "working entries are being cancelled", as_json=as_json)


@app.command()
def stop(reason: Reason = "stopped by an operator", state: State = STATE_DEFAULT, as_json: Json = False) -> None:
    """Stop the desk in good order.

    Positions and stops resting at venues stay.
    """
    _verb(state, "stop", {"reason": reason}, "the desk is stopping", as_json=as_json)


# --- the parts ------------------------------------------------------------------------------------


def _warn(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _settings(file: Path, state: Path, clock: Clock) -> Settings:
    """Read the file; where it has mistakes, a desk that ran before runs on what it last applied, and says so."""
    loaded = read_apart(file, clock, CodeShelf(state).folders())
    if loaded.settings is not None:
        return loaded.settings
    good = read_last_good(state)
    if good is None or not file.exists():
        _fail(render(loaded.problems), EXIT_REFUSED)
    _warn("\n".join(problem.words for problem in loaded.problems))
    applied = f"{time_words(good.applied_ns)} UTC"
    _warn(
        f"THE DESK STARTS ON ITS LAST GOOD CONFIGURATION, applied {applied}, and not on {file}.\n"
        f"It is {state / TEXT_FILE}. Mend the file, and the running desk takes it over; or stop the desk."
    )
    return good.settings


def _check_folder(state: Path) -> None:
    """Refuse a state folder that cannot be one."""
    nearest = next(folder for folder in (state, *state.absolute().parents) if folder.exists())
    if not nearest.is_dir():
        _fail(f"{nearest} is not a folder; nothing was started. Choose a folder with --state", EXIT_REFUSED)


def _check_names(*paths: Path) -> None:
    """Refuse paths that are no text: processes tell each other of them in messages."""
    for path in paths:
        if str(path).encode(errors="ignore").decode() != str(path):
            _fail(f"{plain_text(path)} is not named in UTF-8; nothing was started", EXIT_REFUSED)


def _resume_here(state: Path, reason: str) -> dict[str, Any]:
    """Lift the halt of a desk on this machine, also where none runs."""
    if not state.is_dir():
        _fail(f"there is no state folder {state}; nothing was resumed", EXIT_DOWN)
    was = Sentinel(state).reason()
    try:
        return ask_desk(state, "resume", {"reason": reason})
    except DeskDownError:
        try:
            Sentinel(state).remove()
        except OSError as error:
            _fail(f"the halt holds: {error.strerror}: remove {error.filename} by hand", EXIT_REFUSED)
        return {"was_halted": was or ""}
    except VerbRefusedError as error:
        _fail(str(error), EXIT_REFUSED)


def _verb(state: Path, verb: str, arguments: dict[str, Any], text: str, *, as_json: bool) -> None:
    answer = _ask(state, verb, arguments)
    note = answer.get("note")
    _show(answer or {"done": text}, f"{text}; {note}" if note else text, as_json=as_json)


def _summary(state: Path) -> dict[str, Any]:
    """Sum up the run from the stores; the desk is down."""
    market = Reader.open(store_path(state, "market_data"))
    bars, refused = market.head(), _refused(market)
    market.close()
    return views.summary_view(whole_journal(state), bars, refused)


def _refused(market: Reader) -> dict[str, int]:
    data = market.get("step", b"refused")
    return msgspec.json.decode(data) if data is not None else {}
