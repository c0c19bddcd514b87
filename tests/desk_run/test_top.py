"""The live screen on a real desk: what it shows, what its keys do, and what it says when nobody answers."""

import asyncio
import html
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Awaitable, Callable, Iterator
from fcntl import ioctl
from pathlib import Path

import pytest
from textual.pilot import Pilot

from actors.top import Details, Top
from actors.top_source import DeskSource
from runtime.clock import NS_PER_S, Clock
from tests.desk_run.command_line import bulkhead
from tests.desk_run.harness import BULKHEAD, PATIENCE_S, Desk
from tests.desk_run.publisher import Publisher, obedient, with_obedient

SIZE = (80, 24)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give a desk with one strategy that holds a position, on a market that is silent from then on."""
    with Publisher() as publisher:
        text = f"strategies:\n{obedient('holder', 'HHH')}{obedient('idle', 'III')}global:\n  zmq_market_url: {publisher.url}\n"
        with Desk(with_obedient(tmp_path_factory.mktemp("top") / "desk"), text) as desk:
            desk.start().until_up()
            publisher.until_subscribed(["HHH", "III"])
            seconds = iter(range(0, 100_000, 5))
            desk.until(lambda _: publisher.tick("HHH", next(seconds), 101) or desk.positions())
            yield desk


#: Width of a character in the drawing that the library makes of a screen.
CHARACTER = 12.2


def screen(app: Top) -> list[str]:
    """Give the lines that the screen shows, without colours."""
    found = re.findall(
        r'<text class="[^"]*-r\d+" x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>', app.export_screenshot()
    )
    lines: dict[float, list[str]] = {}
    for x, y, text in found:
        line = lines.setdefault(float(y), [" "] * SIZE[0])
        for place, character in enumerate(html.unescape(text).replace("\xa0", " "), round(float(x) / CHARACTER)):
            if character != "\n":
                line[place] = character
    return ["".join(lines[y]).rstrip() for y in sorted(lines)]


async def until(pilot: Pilot[int], app: Top, claim: Callable[[str], object]) -> str:
    """Let the screen work until it is as claimed; give it."""
    clock = Clock()
    deadline_ns = clock.monotonic_ns() + int(PATIENCE_S * NS_PER_S)
    while clock.monotonic_ns() < deadline_ns:
        await pilot.pause(0.05)
        text = "\n".join(screen(app))
        if claim(text):
            return text
    raise AssertionError("\n".join(["the screen never came to that:", *screen(app)]))


def play(desk: Desk, scene: Callable[[Pilot[int], Top], Awaitable[None]]) -> None:
    """Open the screen on a desk, and let a scene be played on it."""

    async def run() -> None:
        app = Top(DeskSource(desk.state, Clock()))
        async with app.run_test(size=SIZE, notifications=True) as pilot:
            await until(pilot, app, lambda text: "holder RUNNING" in text)
            await scene(pilot, app)

    asyncio.run(run())


async def select_path(pilot: Pilot[int], app: Top, path: str) -> None:
    """Move the cursor down to a path."""
    for _ in range(20):
        if app.selected == path:
            return
        await pilot.press("down")
        await pilot.pause()
    raise AssertionError(app.selected)


def test_one_screen_of_80_by_24_shows_tree_books_gauges_events_and_keys(desk: Desk) -> None:
    async def scene(pilot: Pilot[int], app: Top) -> None:
        text = await until(
            pilot, app, lambda text: "1 positions, 0 open orders" in text and "ready" in text and "of 10,000" in text
        )
        lines = text.splitlines()

        assert lines[0].startswith("PAPER desk RUNNING  up ")
        assert re.search(r"holder +holds 1 HHH at 101\.\d\d", text)
        assert re.search(r"invested +\[#*\.+\] 101\.\d\d of 10,000", text)
        assert re.search(r"\d\d:\d\d:\d\d INFO +\S+ ready", text)
        assert all(key in lines[-1] for key in ("Restart", "Disable", "Enable", "Halt", "Quit"))
        assert len(lines) <= SIZE[1]

    play(desk, scene)


def test_enter_opens_everything_that_is_known_of_the_path_under_the_cursor(desk: Desk) -> None:
    async def scene(pilot: Pilot[int], app: Top) -> None:
        await select_path(pilot, app, "risk")
        await pilot.press("enter")
        text = await until(pilot, app, lambda text: "patience" in text)

        assert isinstance(app.screen, Details)
        assert re.search(r"risk  RUNNING for .* pid \d+", text)
        await pilot.press("escape")
        await until(pilot, app, lambda text: "positions" in text)

    play(desk, scene)


@pytest.mark.slow
def test_a_restart_is_confirmed_first_and_then_replaces_that_process(desk: Desk) -> None:
    before = desk.pids()

    async def scene(pilot: Pilot[int], app: Top) -> None:
        await select_path(pilot, app, "strategies/idle")
        await pilot.press("r", *"no", "enter")
        await pilot.pause()
        assert await asyncio.to_thread(desk.pids) == before
        await pilot.press("r", *"yes", "enter")
        await until(pilot, app, lambda text: "restart: accepted" in text)

    play(desk, scene)
    after = desk.until(lambda _: desk.pids().get("strategies/idle") not in {None, before["strategies/idle"]})

    assert {row["path"] for row in after["tree"] if row["pid"] and row["pid"] != before[row["path"]]} == {
        "strategies/idle"
    }


def test_only_a_strategy_can_be_disabled(desk: Desk) -> None:
    async def scene(pilot: Pilot[int], app: Top) -> None:
        await select_path(pilot, app, "execution")
        await pilot.press("d")
        await until(pilot, app, lambda text: "execution is no strategy" in text)

    play(desk, scene)


def test_a_halt_wants_its_word_typed_and_then_stands_on_the_screen(desk: Desk) -> None:
    async def scene(pilot: Pilot[int], app: Top) -> None:
        await pilot.press("h", *"yes", "enter")
        await pilot.pause()
        assert not (desk.state / "HALT").exists()
        await pilot.press("h", *"halt", "enter")
        await until(pilot, app, lambda text: "desk HALTED" in text and "HALTED: halt from the live screen" in text)

    play(desk, scene)
    assert desk.ask("resume")["was_halted"] == "halt from the live screen"


@pytest.mark.slow
def test_events_below_the_chosen_level_are_left_out(desk: Desk) -> None:
    async def scene(pilot: Pilot[int], app: Top) -> None:
        await until(pilot, app, lambda text: " ready" in text)
        await pilot.press("l")
        text = await until(pilot, app, lambda text: "events of level warning and worse" in text)
        assert " INFO " not in text

    play(desk, scene)


@pytest.mark.slow
def test_a_console_that_does_not_answer_leaves_the_last_picture_with_its_age(desk: Desk) -> None:
    async def scene(pilot: Pilot[int], app: Top) -> None:
        pid = await asyncio.to_thread(desk.kill, "console", signal.SIGSTOP)
        try:
            text = await until(pilot, app, lambda text: re.search(r"PICTURE \d+ s OLD", text))
        finally:
            os.kill(pid, signal.SIGCONT)
        assert "holder RUNNING" in text
        await until(pilot, app, lambda text: "PICTURE" not in text)

    play(desk, scene)


@pytest.mark.slow
def test_it_runs_in_a_terminal_and_leaves_it_as_it_was(desk: Desk) -> None:
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(theirs)
    command = [BULKHEAD, "top", "--state", desk.state]
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as showing:
        said = _read_until(ours, rb"holder")
        os.write(ours, b"q")
        said += _read_until(ours, rb"\x1b\[\?1049l")
        assert showing.wait(PATIENCE_S) == 0

    assert termios.tcgetattr(theirs) == before
    colours = re.findall(rb"[34]8;2;(\d+);(\d+);(\d+)", said)
    assert all(red == green == blue for red, green, blue in colours)  # NO_COLOR leaves greys
    os.close(ours)
    os.close(theirs)


def _read_until(descriptor: int, pattern: bytes) -> bytes:
    said = b""
    while not re.search(pattern, said):
        assert select.select([descriptor], [], [], PATIENCE_S)[0], said
        said += os.read(descriptor, 65536)
    return said


def test_without_a_terminal_it_says_what_to_use_instead(tmp_path: Path) -> None:
    command = [BULKHEAD, "top", "--state", tmp_path]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )

    assert (done.returncode, done.stderr) == (
        3,
        "top needs a terminal; for programs there is: bulkhead status --json\n",
    )


def test_no_other_command_loads_the_screen_s_library() -> None:
    program = "import actors.cli, sys; print('textual' in sys.modules)"
    said = subprocess.run([BULKHEAD.with_name("python"), "-c", program], capture_output=True, text=True, check=True)

    assert said.stdout == "False\n"


def test_a_key_for_a_desk_elsewhere_does_not_open_the_screen_of_the_one_here(tmp_path: Path) -> None:
    said = bulkhead("--key", tmp_path / "ann.key", "top", state=tmp_path)

    assert (said.code, said.err[:35]) == (3, "top reads the state folder, so it w")
