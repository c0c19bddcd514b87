"""The live screen: the tree, the books, the gauges and the events of a desk, twice a second, by the control socket.

It is a client like any other: no process of the desk waits for it, and it sends no verb that nobody confirmed.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.css.query import NoMatches
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, RichLog, Sparkline, Static, Tree
from typing_extensions import override

from actors.control_client import DeskDownError, VerbRefusedError
from actors.log_view import LEVELS, Entry
from actors.screen_node import node_text
from actors.screen_words import plain_text
from actors.top_source import Source
from actors.top_view import books_text, detail_text, event_text, gauges_text, head_text, row_text
from actors.topics import strategy_at

if TYPE_CHECKING:
    from textual.widgets.tree import TreeNode

Json = Mapping[str, Any]
REFRESH_S = 0.5
#: Looks that the sparkline of a mailbox goes back, and events that the log keeps.
LOOKS_KEPT = 120
EVENTS_KEPT = 500


class Confirm(ModalScreen[str]):
    """Asks for a word typed back; gives what was typed behind it as the reason, or "" where it was not confirmed."""

    CSS = """
    Confirm { align: center middle; }
    Confirm > Vertical { width: 70; height: auto; border: solid; padding: 0 1; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss('')", "No")]

    def __init__(self, question: str, word: str) -> None:
        """Ask ``question``; only ``word`` confirms."""
        super().__init__()
        self._question, self._word = question, word

    @override
    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(Text(f"{self._question}\nType {self._word} and enter; escape changes nothing."))
            yield Input(placeholder=self._word)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Compare what was typed; anything but the word changes nothing."""
        self.dismiss(self._word if event.value.strip() == self._word else "")


class Details(ModalScreen[None]):
    """Everything that is known of one path, until a key closes it."""

    CSS = """
    Details { align: center middle; }
    Details > VerticalScroll { width: 84; max-width: 100%; height: 90%; border: solid; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss(None)", "Close"),
        ("enter", "dismiss(None)", "Close"),
        ("q", "dismiss(None)", "Close"),
    ]

    def __init__(self, text: str) -> None:
        """Show a text."""
        super().__init__()
        self._text = text

    @override
    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(Text(self._text), id="details")
        yield Footer()


class Top(App[int]):
    """The screen. All that takes time happens in threads; the screen's own never waits."""

    CSS = """
    #head { height: 1; }
    #alarms { height: auto; max-height: 3; color: red; text-style: bold; }
    #left { width: 42%; }
    #tree { height: 1fr; scrollbar-size: 1 1; }
    #right { width: 58%; padding: 0 1; }
    #detail { height: auto; max-height: 6; }
    #mailbox { height: 1; }
    #gauges { height: auto; max-height: 4; }
    #books { height: 1fr; border-top: solid; }
    #events { height: 6; border-top: solid; }
    """
    TITLE = "bulkhead"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        ("r", "ask('restart')", "Restart"),
        ("d", "ask('disable')", "Disable"),
        ("e", "ask('enable')", "Enable"),
        ("h", "ask('halt')", "Halt"),
        ("p", "ask('halt')", "Halt"),
        ("l", "level", "Level"),
        ("q", "quit", "Quit"),
    ]

    def __init__(self, source: Source) -> None:
        """Show what ``source`` gives."""
        super().__init__()
        self._source = source
        self._status: Json = {}
        self._rows: dict[str, Json] = {}
        self._places: dict[str, TreeNode[str]] = {}
        self._positions: Sequence[Json] = ()
        self._mailboxes: dict[str, deque[float]] = {}
        self._events: deque[Entry] = deque(maxlen=EVENTS_KEPT)
        self._level = "INFO"
        self._failures = 0
        self._is_looking = False
        self.selected = ""

    @override
    def compose(self) -> ComposeResult:
        yield Static("looking for the desk …", id="head")
        yield Static("", id="alarms", markup=False)
        with Horizontal():
            with Vertical(id="left"):
                tree: Tree[str] = Tree("desk", data="", id="tree")
                tree.show_root = False
                tree.guide_depth = 2
                yield tree
            with Vertical(id="right"):
                yield Static("", id="detail", markup=False)
                yield Sparkline([], id="mailbox")
                yield Static("", id="gauges", markup=False)
                with VerticalScroll(id="books"):
                    yield Static("", id="positions", markup=False)
        yield RichLog(id="events", max_lines=EVENTS_KEPT, wrap=False, markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one("#tree", Tree).focus()
        self.set_interval(REFRESH_S, self._look_if_idle)
        self._look_if_idle()

    # --- looking ------------------------------------------------------------------------------

    def _look_if_idle(self) -> None:
        """Look again, unless the last look still waits for its answer: then the picture grows old and says so."""
        if self._is_looking:
            self._failures += 1
            with suppress(NoMatches):  # as in ``_show``
                self._draw_head("")
            return
        self._is_looking = True
        self._look()

    @work(thread=True)
    def _look(self) -> None:
        problem, status = "", None
        books: tuple[Sequence[Json], Sequence[Json]] = ((), ())
        news: Sequence[Entry] = ()
        try:
            status = self._source.status()
            books = self._source.books()
        except (DeskDownError, VerbRefusedError) as error:
            problem = str(error)
        news = self._source.news()
        self.call_from_thread(self._show, status, books, news, problem)

    def _show(
        self,
        status: Json | None,
        books: tuple[Sequence[Json], Sequence[Json]],
        news: Sequence[Entry],
        problem: str,
    ) -> None:
        """Draw what a look brought. It may come while the screen is being taken down: then there is nothing to draw."""
        self._is_looking = False
        with suppress(NoMatches):
            self._draw(status, books, news, problem)

    def _draw(
        self,
        status: Json | None,
        books: tuple[Sequence[Json], Sequence[Json]],
        news: Sequence[Entry],
        problem: str,
    ) -> None:
        self._add_events(news)
        if status is None:
            self._failures += 1
            self._draw_head(problem)
            return
        self._status, self._failures = status, 0
        self._positions = books[0]
        self._rows = {str(row["path"]): row for row in status.get("tree") or ()}
        for path, row in self._rows.items():
            self._mailboxes.setdefault(path, deque(maxlen=LOOKS_KEPT)).append(float(row.get("mailbox") or 0))
        self._draw_head("")
        self._draw_tree()
        self._draw_selected()
        self.query_one("#positions", Static).update(books_text(*books))

    # --- drawing ------------------------------------------------------------------------------

    def _draw_head(self, problem: str) -> None:
        self.query_one("#head", Static).update(head_text(self._status, self._failures * REFRESH_S))
        alarms = [problem] if problem else [plain_text(alarm) for alarm in self._status.get("alarms") or ()]
        more = f"  (+{len(alarms) - 3} more)" if len(alarms) > 3 else ""  # noqa: PLR2004 - the lines that there are
        self.query_one("#alarms", Static).update("\n".join(alarms[:3]) + more)

    def _draw_tree(self) -> None:
        tree: Tree[str] = self.query_one("#tree", Tree)
        known = [path for path in self._rows if path != "desk"]
        if list(self._places) != known:
            tree.clear()
            self._places = {}
            for path in known:
                above = self._places.get(path.rpartition("/")[0], tree.root)
                is_node = self._rows[path].get("kind") == "node"
                self._places[path] = above.add("", data=path, expand=True, allow_expand=is_node)
            self.selected = self.selected if self.selected in self._places else next(iter(known), "")
            if self.selected:
                tree.move_cursor(self._places[self.selected])
        for path, node in self._places.items():
            node.set_label(row_text(self._rows[path]))

    def _draw_selected(self) -> None:
        row = self._rows.get(self.selected, {})
        self.query_one("#detail", Static).update(detail_text(row))
        self.query_one("#mailbox", Sparkline).data = list(self._mailboxes.get(self.selected, ()))
        self.query_one("#gauges", Static).update(gauges_text(self._status, self._positions, row))

    def _add_events(self, news: Sequence[Entry]) -> None:
        self._events.extend(news)
        log = self.query_one("#events", RichLog)
        for entry in news:
            if self._is_shown(entry):
                log.write(event_text(entry))

    def _is_shown(self, entry: Entry) -> bool:
        return entry.level not in LEVELS or LEVELS.index(entry.level) >= LEVELS.index(self._level)

    # --- keys ---------------------------------------------------------------------------------

    def on_tree_node_highlighted(self, event: Tree.NodeHighlighted[str]) -> None:
        """Follow the cursor."""
        if event.node.data:
            self.selected = event.node.data
            self._draw_selected()

    def on_tree_node_selected(self, event: Tree.NodeSelected[str]) -> None:
        """Open everything that is known of the path under the cursor."""
        if event.node.data:
            self._open(event.node.data)

    @work(thread=True)
    def _open(self, path: str) -> None:
        try:
            text = node_text(self._source.status(path))
        except (DeskDownError, VerbRefusedError) as error:
            text = str(error)
        self.call_from_thread(self.push_screen, Details(text))

    def action_level(self) -> None:
        """Show the next higher level of events, and after the highest all again."""
        self._level = LEVELS[(LEVELS.index(self._level) + 1) % len(LEVELS)]
        log = self.query_one("#events", RichLog)
        log.clear()
        log.write(Text(f"events of level {self._level.lower()} and worse", style="dim"))
        for entry in self._events:
            if self._is_shown(entry):
                log.write(event_text(entry))

    def action_ask(self, verb: str) -> None:
        """Ask before anything is changed."""
        path = self.selected
        name = strategy_at(path)
        if verb in {"enable", "disable"} and (not name or "/" in name):
            self.notify(f"{path} is no strategy; only strategies are enabled and disabled", severity="warning")
            return
        arguments: dict[str, str] = {"reason": f"{verb} from the live screen"}
        if verb == "halt":
            question = (
                "Halt the desk? No entries any more, working ones are cancelled; exits, stops and positions stay."
            )
        elif verb == "restart":
            question, arguments["path"] = f"Restart {path}? It comes back with its state.", path
        else:
            tail = "Its position stays, its recorded stop is placed." if verb == "disable" else "It may trade at once."
            question, arguments["name"] = f"{verb.capitalize()} {name}? {tail}", name
        word = "halt" if verb == "halt" else "yes"

        def answered(said: str | None) -> None:
            if said:
                self._act(verb, arguments)

        self.push_screen(Confirm(question, word), answered)

    @work(thread=True)
    def _act(self, verb: str, arguments: Json) -> None:
        problem = self._source.act(verb, arguments)
        words, severity = (problem, "error") if problem else (f"{verb}: accepted", "information")
        self.call_from_thread(self.notify, words, severity=severity, markup=False)


def run_top(source: Source) -> None:
    """Show the screen until its user leaves it."""
    Top(source).run()
