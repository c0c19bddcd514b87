"""The console alone: whose answer is whose, and a file that is being written to while it is looked at."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.console.audit import Audit, entries
from actors.console.desired import COMING_UP_NS_MAX, FLAT_AGAIN_NS, Desired
from actors.console.gate import LOCAL_WHO
from actors.console.room import ROOT_NS_MAX, Console
from actors.console.wishes import Written
from actors.pinned_code import CodeShelf
from actors.settings import FeedSettings, Settings
from actors.settings_file import load
from actors.strategy_arguments import read_arguments
from desk.messages import AwayWished, AwayWishKept, HoldersGiven, HoldersWanted, OperatorAnswered, ResolutionWished
from runtime.clock import NS_PER_S
from runtime.effects import Effects
from runtime.folder import SPARE, Sentinel
from runtime.log import Log
from runtime.room import ControlRequest
from runtime.spec import NodeSpec, WorkerSpec
from runtime.store import Store
from runtime.words import Peer, RootAnswered, RootAsked
from tests.runtime.fakes import HandClock

ROOT = Path(__file__).parents[2]
TWO = """\
strategies:
  - {name: one, symbol: AAA, strategy: vwap_micro_mean_reversion}
  - {name: two, symbol: AAA, strategy: vwap_micro_mean_reversion, on_disable: flatten}
"""
#: What somebody who writes the same with another limit in two goes has written after the first.
HALF, WHOLE = TWO[: TWO.index("  - {name: two")], TWO + "global: {risk: {max_positions: 2}}\n"


def read(file: Path, text: str) -> Settings:
    file.write_text(text, encoding="utf-8")
    settings = load(file).settings
    assert settings is not None
    return settings


# --- answers ----------------------------------------------------------------------------------------


class LoneConsole:
    """A console whose peers are played by the test."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(folder / "audit")
        self.clock = clock = HandClock()
        settings, log = read(folder / "s.yaml", TWO), Log("console")
        desired = Desired(settings, folder / "s.yaml", folder, clock, log)
        self.room = Console(desired, Sentinel(folder), Audit(self.store, "1-1"), folder, clock, log)
        self.room.recover()

    def ask(self, request_id: str, verb: str, **arguments: Any) -> tuple[list[Any], dict[str, dict[str, Any]]]:
        """Send a request; give the words for the peers, and the answers for the clients by their ids."""
        document = {"v": 1, "id": request_id, "verb": verb, "arguments": arguments}
        request = ControlRequest(b"\x00" + request_id.encode(), [json.dumps(document).encode()], "local", "", "")
        return self._told(self.room.hear_control(request))

    def hear(self, peer: str, word: Any) -> tuple[list[Any], dict[str, dict[str, Any]]]:
        """Let a peer answer; give the same."""
        return self._told(self.room.hear(peer, 1, word))

    def look_again(self) -> list[Any]:
        """Let some seconds pass without an answer; give the words for the peers."""
        self.clock.advance_ns(ROOT_NS_MAX + 1)
        return self._told(self.room.timer("watch"))[0]

    @staticmethod
    def _told(effects: Effects) -> tuple[list[Any], dict[str, dict[str, Any]]]:
        replies = [json.loads(data) for _, data in effects.answers]
        return [post.word for post in effects.posts], {reply["id"]: reply for reply in replies}


@pytest.fixture
def console(tmp_path: Path) -> Iterator[LoneConsole]:
    console = LoneConsole(tmp_path)
    yield console
    console.store.close()


def test_no_refused_request_is_lost_where_the_desk_is_stopped_behind_a_flood(console: LoneConsole) -> None:
    for number in range(90):
        console.ask(str(number), "explode")
    console.room.stopping()

    counted = [entry.left_out for _, entry in entries(console.store)]
    assert (len(counted), sum(counted)) == (41, 50)


def test_an_id_that_was_forgotten_and_comes_again_for_something_else_is_another_request(console: LoneConsole) -> None:
    names: list[str] = []
    for verb in ("flatten", "flatten", "reconcile"):
        ((wish,), _) = console.ask("a", verb)
        names.append(wish.request)
        console.hear("execution", OperatorAnswered(wish.request, "", ""))
        console.room._doorkeeper._memory.forget(LOCAL_WHO, "a")  # as behind many others

    assert names[0] == names[1] != names[2]


def test_what_root_does_not_answer_is_asked_again_under_its_name_until_it_does(console: LoneConsole) -> None:
    (asked,), _ = console.ask("a", "restart", path="execution")
    again = console.look_again()
    _, replies = console.hear("root", RootAnswered(asked.request, "", {}))

    assert [word for word in again if word == asked] == [asked]
    assert replies["a"]["code"] == "ok"
    assert asked not in console.look_again()
    console.room.stopping()


def test_two_operators_who_disable_one_strategy_at_once_each_hear_what_becomes_of_its_position(
    console: LoneConsole,
) -> None:
    wishes, _ = console.ask("a", "disable", name="one", position="hold")
    wishes += console.ask("b", "disable", name="one", position="flatten")[0]
    replies: dict[str, dict[str, Any]] = {}

    for wish in wishes:
        assert isinstance(wish, AwayWished)
        words, _ = console.hear("execution", AwayWishKept(wish.strategy, wish.on_disable, wish.request))
        assert [type(word) for word in words] == [RootAsked]
        replies |= console.hear("root", RootAnswered(words[0].request, "", {}))[1]

    assert {name: reply["result"]["position"].split(":")[0] for name, reply in replies.items()} == {
        "a": "its position is held",
        "b": "its position is closed at the market",
    }


def test_what_was_wanted_of_the_position_ends_with_a_disable_that_comes_to_nothing(console: LoneConsole) -> None:
    console.room.peers((Peer("strategies/one", 1, "RUNNING"),))
    (wish,), _ = console.ask("a", "disable", name="one", position="flatten")

    words, replies = console.ask("b", "enable", name="one")

    assert replies["a"]["error"] == "one was enabled by a request that came after this one"
    assert [(word.strategy, word.on_disable) for word in words if isinstance(word, AwayWished)] == [("one", "")]
    assert console.hear("execution", AwayWishKept("one", "flatten", wish.request)) == ([], {})


def test_a_strategy_that_is_away_keeps_what_was_wanted_of_its_position(console: LoneConsole) -> None:
    console.room.peers((Peer("strategies/one", 1, "DISABLED"),))
    console.ask("a", "disable", name="one", position="hold")

    words, _ = console.ask("b", "enable", name="one")

    assert [type(word) for word in words] == [RootAsked]


def test_what_was_wanted_of_the_position_ends_where_a_strategy_is_enabled_before_it_was_gone(
    console: LoneConsole,
) -> None:
    def see(epoch: int, state: str) -> list[Any]:
        return [post.word for post in console.room.peers((Peer("strategies/one", epoch, state),)).posts]

    see(1, "RUNNING")
    (wish,), _ = console.ask("a", "disable", name="one", position="flatten")
    (disabled,), _ = console.hear("execution", AwayWishKept("one", "flatten", wish.request))
    seen = see(1, "RUNNING")
    console.hear("root", RootAnswered(disabled.request, "", {}))
    seen += see(1, "RUNNING") + see(1, "STOPPING")
    (enabled,), _ = console.ask("b", "enable", name="one")
    console.hear("root", RootAnswered(enabled.request, "", {}))
    seen += see(2, "STARTING")

    assert (seen, see(2, "RUNNING"), see(3, "RUNNING")) == ([], [AwayWished("one", "")], [])


def test_what_was_wanted_of_the_position_ends_with_a_console_that_falls_before_root_hears_of_it(
    console: LoneConsole, tmp_path: Path
) -> None:
    console.ask("a", "disable", name="one", position="flatten")
    console.ask("b", "disable", name="two")
    console.store.close()
    successor = LoneConsole(tmp_path)

    running = tuple(Peer(f"strategies/{name}", 1, "RUNNING") for name in ("one", "two"))
    words = [post.word for post in successor.room.peers(running).posts]
    repeated, _ = successor.ask("a", "disable", name="one", position="flatten")
    successor.store.close()

    assert (words, [word.on_disable for word in repeated]) == ([AwayWished("one", "")], ["flatten"])


def test_what_was_wanted_of_the_position_ends_with_a_disable_that_root_refuses(console: LoneConsole) -> None:
    console.room.peers((Peer("strategies/one", 1, "RUNNING"),))
    (wish,), _ = console.ask("a", "disable", name="one", position="hold")
    (disabled,), _ = console.hear("execution", AwayWishKept("one", "hold", wish.request))

    words, replies = console.hear("root", RootAnswered(disabled.request, "the disk is full", {}))

    assert (words, replies["a"]["error"]) == ([AwayWished("one", "")], "the disk is full")


def test_a_strategy_whose_symbol_the_feed_does_not_give_is_not_enabled(console: LoneConsole) -> None:
    settings = console.room._desired.settings
    console.room._desired.settings = msgspec.structs.replace(settings, feed=FeedSettings(symbols=("BBB",)))

    words, replies = console.ask("a", "enable", name="one")
    wishes, _ = console.ask("b", "disable", name="one")

    assert replies["a"]["error"].startswith("one would have no market: the running feed does not give AAA; ")
    assert (words, [type(word) for word in wishes]) == ([], [AwayWished])


def test_a_request_that_is_repeated_to_the_next_console_does_not_undo_what_came_behind_it(
    console: LoneConsole, tmp_path: Path
) -> None:
    console.ask("a", "disable", name="one")
    console.store.close()
    successor = LoneConsole(tmp_path)
    (enabled,), _ = successor.ask("b", "enable", name="one")
    successor.hear("root", RootAnswered(enabled.request, "", {}))

    words, replies = successor.ask("a", "disable", name="one")
    successor.store.close()

    assert (words, replies["a"]["code"]) == ([], "refused")
    assert replies["a"]["error"] == "one was enabled by a request that came after this one"


def test_a_word_that_came_behind_an_edit_holds_against_it_though_the_console_falls_before_it_is_applied(
    console: LoneConsole, tmp_path: Path
) -> None:
    (enabled,), _ = console.ask("a", "enable", name="one")
    console.hear("root", RootAnswered(enabled.request, "", {}))
    console.ask("b", "enable", name="two")
    console.store.close()
    successor = LoneConsole(tmp_path)

    found = successor.room._desired.wishes.behind(Written(wall_ns=-NS_PER_S, after_ns=0, before_ns=1))
    successor.store.close()

    assert found == {"one": True}


def test_a_halt_that_cannot_be_lifted_holds_and_the_answer_says_what_to_do(
    console: LoneConsole, tmp_path: Path
) -> None:
    (tmp_path / "HALT").mkdir()

    _, replies = console.ask("a", "resume")

    assert replies["a"]["error"] == f"the halt holds: Is a directory: remove {tmp_path / 'HALT'} by hand"


def test_a_halt_that_cannot_be_written_is_refused_aloud(console: LoneConsole, tmp_path: Path) -> None:
    tmp_path.rename(tmp_path.with_name("elsewhere"))

    _, replies = console.ask("a", "halt")

    assert replies["a"]["error"] == f"NOTHING WAS HALTED: {tmp_path / 'HALT'} cannot be made: No such file or directory"


def test_a_halt_that_took_the_spare_sentinel_leaves_another_behind(console: LoneConsole, tmp_path: Path) -> None:
    Sentinel(tmp_path).prepare()
    (tmp_path / SPARE).rename(tmp_path / "HALT")  # as on a disk without room for a new file

    console.ask("a", "resume")

    assert (tmp_path / SPARE).exists()


@pytest.mark.parametrize("verb", ["status", "restart"])
def test_who_names_a_strategy_where_a_path_is_wanted_is_told_its_path(console: LoneConsole, verb: str) -> None:
    for request_id, name in (("a", "one"), ("b", "nobody")):
        (asked,), _ = console.ask(request_id, verb, path=name)
        _, replies = console.hear("root", RootAnswered(asked.request, f"there is no {name} in the tree", {}))
        hint = "; did you mean strategies/one?" if name == "one" else ""
        assert replies[request_id]["error"] == f"there is no {name} in the tree{hint}"


def test_who_enables_a_strategy_in_quarantine_is_told_that_it_stays_there(console: LoneConsole) -> None:
    console.room.peers((Peer("strategies/one", 1, "QUARANTINED"), Peer("strategies/two", 1, "DISABLED")))
    notes: dict[str, str] = {}

    for name in ("one", "two"):
        (asked,), _ = console.ask(name, "enable", name=name)
        _, replies = console.hear("root", RootAnswered(asked.request, "", {}))
        notes[name] = replies[name]["result"].get("note", "")

    assert notes == {"one": "it stays down, in quarantine; let it out with: bulkhead release one", "two": ""}


def test_a_change_is_carried_out_though_a_look_of_the_same_id_waits(console: LoneConsole) -> None:
    console.ask("1", "status")

    _, replies = console.ask("1", "halt", reason="now")

    assert replies["1"]["result"] == {"halted": "now"}


def test_a_look_is_asked_of_root_though_a_change_bore_its_id(console: LoneConsole) -> None:
    (changed,), _ = console.ask("1", "restart", path="strategies/one")
    (looked,), _ = console.ask("1", "status", path="strategies/one")
    (other,), _ = console.ask("1", "status", path="risk")

    _, replies = console.hear("root", RootAnswered(changed.request, "", {}))

    assert len({changed.request, looked.request, other.request}) == 3
    assert replies["1"]["code"] == "ok"


def test_an_order_that_is_settled_is_named(console: LoneConsole) -> None:
    words, replies = console.ask("a", "resolve", order="", outcome="never")
    named, _ = console.ask("b", "resolve", order="7f", outcome="never")

    assert (words, [type(word) for word in named]) == ([], [ResolutionWished])
    assert replies["a"]["error"] == "an order is named by the beginning of its id; see: bulkhead orders"


# --- the file ---------------------------------------------------------------------------------------


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Desired, Path]]:
    """Give what watches a file, and the file, which says what holds."""
    file = tmp_path / "s.yaml"
    (tmp_path / "strategies").mkdir()
    desired = Desired(read(file, TWO), file, tmp_path, HandClock(), Log("console"))
    yield desired, file
    desired.close()


def look(desired: Desired, holding: tuple[str, ...] = ()) -> list[Any]:
    """Let it look once, at the end of a reading where one is under way; give the words that it has for root.

    Execution says at once that those who are ``holding`` hold something.
    """
    reading = desired._reading
    if reading is not None:
        reading._process.wait()
    effects = Effects()
    desired.look(effects)
    for post in tuple(effects.posts):
        if isinstance(post.word, HoldersWanted):
            desired.hear_holders(HoldersGiven(post.word.query, holding, 0), effects)
    return [post.word for post in effects.posts if post.peer == "root"]


def pass_time(desired: Desired) -> None:
    """Let so much time go by that it is asked whether a strategy is flat by now."""
    clock = desired._clock
    assert isinstance(clock, HandClock)
    clock.advance_ns(FLAT_AGAIN_NS)


def test_a_file_is_read_once_it_stands_still(watched: tuple[Desired, Path]) -> None:
    desired, file = watched
    idle: list[bool] = []

    for text in (HALF, HALF + "  - {name", WHOLE, WHOLE):
        if file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
        look(desired)
        idle.append(desired.is_idle)

    assert idle == [True, True, True, False]


def test_a_file_that_the_desk_has_just_read_is_read_again_when_the_desk_is_up(watched: tuple[Desired, Path]) -> None:
    desired, _ = watched
    idle: list[bool] = []

    for is_coming_up in (True, True, True, False):
        desired.is_coming_up = is_coming_up
        look(desired)
        idle.append(desired.is_idle)

    assert idle == [True, True, True, False]


def test_a_desk_that_does_not_come_up_does_not_keep_its_file_from_being_read(watched: tuple[Desired, Path]) -> None:
    desired, _ = watched
    desired.is_coming_up = True
    look(desired)
    look(desired)
    assert desired.is_idle

    clock = desired._clock
    assert isinstance(clock, HandClock)
    clock.advance_ns(COMING_UP_NS_MAX)
    look(desired)

    assert not desired.is_idle


def test_a_reload_is_not_kept_waiting_by_a_desk_that_comes_up(watched: tuple[Desired, Path]) -> None:
    desired, _ = watched
    desired.is_coming_up = True
    look(desired)

    desired.reload("token", is_dry=False)
    look(desired)

    assert not desired.is_idle


@pytest.mark.parametrize("is_wanted_now", [False, True], ids=["watched", "reload"])
def test_nothing_is_taken_of_a_file_that_was_written_to_while_it_was_read(
    watched: tuple[Desired, Path], is_wanted_now: bool
) -> None:
    desired, file = watched
    file.write_text(HALF, encoding="utf-8")
    look(desired)
    if is_wanted_now:
        desired.reload("token", is_dry=False)
    look(desired)
    assert not desired.is_idle
    file.write_text(WHOLE, encoding="utf-8")

    words = [word for _ in range(4) for word in look(desired)]

    assert [(word.verb, word.request.split("-")[0]) for word in words] == [("apply", "configuration")]
    assert desired._applying is not None
    assert [entry.name for entry in desired._applying.plan.effective.strategies] == ["one", "two"]
    assert (desired.alarms, desired.outcomes()) == ((), [])


def test_a_file_whose_mistake_is_mended_beside_it_is_taken_without_an_edit(watched: tuple[Desired, Path]) -> None:
    desired, file = watched
    file.write_text(TWO + "  - {name: three, symbol: AAA, strategy: mine}\n", encoding="utf-8")
    before = [word for _ in range(3) for word in look(desired)]
    alarms = desired.alarms
    code = ROOT / "strategies" / "vwap_micro_mean_reversion.py"
    (file.parent / "strategies" / "mine.py").write_bytes(code.read_bytes())

    after = [word for _ in range(2) for word in look(desired)]

    assert (before, [word.verb for word in after]) == ([], ["apply"])
    assert 'unknown strategy "mine"' in str(alarms)


def test_a_mend_that_somebody_only_asked_about_first_is_taken_all_the_same(watched: tuple[Desired, Path]) -> None:
    desired, file = watched
    file.write_text(TWO + "  - {name: three, symbol: AAA, strategy: mine}\n", encoding="utf-8")
    _ = [look(desired) for _ in range(3)]
    code = ROOT / "strategies" / "vwap_micro_mean_reversion.py"
    (file.parent / "strategies" / "mine.py").write_bytes(code.read_bytes())
    desired.reload("token", is_dry=True)
    asked = [word for _ in range(2) for word in look(desired)]
    (outcome,) = desired.outcomes()

    after = [word for _ in range(2) for word in look(desired)]

    assert (asked, outcome.error, outcome.result["dry_run"]) == ([], "", True)
    assert [word.verb for word in after] == ["apply"]


OTHER_SYMBOL = TWO.replace("name: one, symbol: AAA", "name: one, symbol: BBB") + (
    "global: {feed: {kind: zmq, url: 'tcp://localhost:5556'}}\n"
)


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[tuple[Desired, Path]]:
    """Give what watches a file that wants another symbol for a strategy which holds something, and the file."""
    file = tmp_path / "s.yaml"
    (tmp_path / "strategies").mkdir()
    before = read(file, OTHER_SYMBOL.replace("one, symbol: BBB", "one, symbol: AAA"))
    desired = Desired(before, file, tmp_path, HandClock(), Log("console"))
    file.write_text(OTHER_SYMBOL, encoding="utf-8")
    (applied,) = [word for _ in range(3) for word in look(desired, holding=("one",))]
    desired.hear_root(RootAnswered(applied.request, "", {}))
    assert [alarm.split(":")[0] for alarm in desired.alarms] == ["strategies.one.symbols"]
    yield desired, file
    desired.close()


def symbols(word: RootAsked) -> tuple[str, ...]:
    """Give what a strategy trades in the tree that root is asked for."""
    data = word.arguments["tree"]
    assert isinstance(data, bytes)
    tree = msgspec.msgpack.decode(data, type=NodeSpec)
    strategies = next(child for child in tree.children if isinstance(child, NodeSpec) and child.id == "strategies")
    node = next(child for child in strategies.children if child.id == "one")
    assert isinstance(node, NodeSpec)
    (worker,) = node.children
    assert isinstance(worker, WorkerSpec)
    return read_arguments(worker.arguments).entry.symbols


def test_what_was_only_asked_about_is_not_taken_with_what_waits(waiting: tuple[Desired, Path]) -> None:
    desired, file = waiting
    file.write_text(OTHER_SYMBOL.replace(TWO.splitlines()[2], ""), encoding="utf-8")
    desired.reload("token", is_dry=True)
    _ = [look(desired, holding=("one",)) for _ in range(2)]
    (outcome,) = desired.outcomes()
    file.write_text(OTHER_SYMBOL + "# two", encoding="utf-8")

    pass_time(desired)
    (applied,) = look(desired)

    assert [change["path"] for change in outcome.result["changes"]] == ["strategies.one.symbols", "strategies.two"]
    assert sorted(applied.arguments["desired"]) == ["strategies/one", "strategies/two"]


def test_what_waits_is_not_given_up_for_a_mistake_that_came_behind_it(waiting: tuple[Desired, Path]) -> None:
    desired, file = waiting
    file.write_text("strategies: [\n", encoding="utf-8")
    broken = [word for _ in range(3) for word in look(desired, holding=("one",))]
    fault, alarms = desired.fault, desired.alarms

    pass_time(desired)
    (applied,) = [word for _ in range(2) for word in look(desired)]
    desired.hear_root(RootAnswered(applied.request, "", {}))

    assert (broken, symbols(applied)) == ([], ("BBB",))
    assert "has mistakes" in fault
    assert (desired.fault, desired.alarms) == (fault, alarms)


@pytest.mark.parametrize("is_edited", [False, True], ids=["as it was", "edited since"])
def test_what_waits_of_the_last_good_file_waits_on_behind_a_fall_while_the_file_is_broken(
    waiting: tuple[Desired, Path], is_edited: bool
) -> None:
    desired, file = waiting
    settings = desired.settings
    desired.close()
    file.write_text("strategies: [\n", encoding="utf-8")
    if is_edited:  # and applied, and not kept
        settings = msgspec.structs.replace(settings, strategies=settings.strategies[:1])

    successor = Desired(settings, file, file.parent, HandClock(), Log("console"))
    words = [word for _ in range(5) for word in look(successor)]

    assert [symbols(word) for word in words] == ([] if is_edited else [("BBB",)])
    assert "has mistakes" in successor.fault
    successor.close()


def test_a_good_file_that_cannot_be_kept_does_not_end_the_console(
    watched: tuple[Desired, Path], tmp_path: Path
) -> None:
    desired, file = watched
    desired.reload("before", is_dry=False)
    _ = [look(desired) for _ in range(2)]
    (tmp_path / "last_good.settings").unlink()
    (tmp_path / "last_good.settings").mkdir()
    file.write_text(TWO + "# the same\n", encoding="utf-8")
    desired.reload("full", is_dry=False)
    _ = [look(desired) for _ in range(2)]
    alarms = desired.alarms
    (tmp_path / "last_good.settings").rmdir()

    desired.reload("after", is_dry=False)
    _ = [look(desired) for _ in range(2)]

    assert [outcome.error for outcome in desired.outcomes()] == ["", "", ""]
    assert [alarm.split(": ")[0] for alarm in alarms] == [f"{file} holds, but is not kept as the last good one"]
    assert desired.alarms == ()
    assert (tmp_path / "last_good.yaml").read_text(encoding="utf-8").endswith("# the same\n")


def test_a_disk_that_does_not_take_that_an_entry_is_gone_does_not_end_the_console(
    watched: tuple[Desired, Path], tmp_path: Path
) -> None:
    desired, file = watched
    shelf = CodeShelf(tmp_path)
    shelf.keep_pins(shelf.pinned(desired.settings))
    file.write_text(HALF, encoding="utf-8")
    (applied,) = [word for _ in range(4) for word in look(desired)]
    in_its_way = tmp_path / "code" / ".pins.json.new"
    in_its_way.mkdir()

    desired.hear_root(RootAnswered(applied.request, "", {}))
    in_its_way.rmdir()
    file.write_text(HALF + "global: {risk: {max_positions: 2}}\n", encoding="utf-8")
    (again,) = [word for _ in range(4) for word in look(desired)]
    pins = set(shelf.pins())
    desired.hear_root(RootAnswered(again.request, "", {}))

    assert ([entry.name for entry in desired.settings.strategies], pins) == (["one"], {"one", "two"})
    assert set(shelf.pins()) == {"one"}


def test_an_edit_behind_a_reload_that_waits_ends_what_was_wished_before_it(watched: tuple[Desired, Path]) -> None:
    desired, file = watched
    clock = desired._clock
    assert isinstance(clock, HandClock)
    _ = [look(desired) for _ in range(2)]
    desired.reload("token", is_dry=False)
    clock.advance_ns(1)
    desired.wishes.take("one", "wish", is_enabled=True, wall_ns=0, monotonic_ns=clock.monotonic_ns())
    desired.wishes.hold("one", "wish")
    clock.advance_ns(1)
    file.write_text(TWO.replace("reversion}", "reversion, enabled: false}", 1), encoding="utf-8")

    (applied,) = [word for _ in range(4) for word in look(desired)]

    assert applied.arguments["desired"]["strategies/one"] is False
    assert applied.arguments["wishes"] == {}
