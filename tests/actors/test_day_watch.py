"""The account's day outlives every fall: what a limit counts from is never forgotten, and never begins anew."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.arguments import RiskArguments
from actors.day_watch import day_of
from actors.risk import Risk
from actors.settings import DeskLimits, RiskConfig
from desk.messages import CapitalChanged, IntentJudged, Purpose, Side, Tick
from desk.units import MINUTE_NS, NS_PER_S
from runtime.bus_words import StreamItem
from runtime.effects import Effects
from runtime.folder import Sentinel
from runtime.store import Store
from runtime.words import Peer
from tests.actors.booked import Book
from tests.desk.orders import an_intent
from tests.runtime.fakes import HandClock

NEW_YORK = ZoneInfo("America/New_York")
#: Ten in the morning of an ordinary day in New York.
MORNING_NS = int(datetime(2024, 1, 9, 15, tzinfo=UTC).timestamp()) * NS_PER_S
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
UP = (Peer("execution", 1, "RUNNING"), Peer("strategies/alpha", 1, "RUNNING"))


def limits(**figures: Any) -> DeskLimits:
    return msgspec.convert(figures, DeskLimits)


class LoneRisk:
    """Risk as a process would have it: its own store, execution's ledger, ticks of the market, and falls."""

    def __init__(self, folder: Path, desk: DeskLimits, *, snapshot_every: int = 1000) -> None:
        """Begin with 100 000 in the books."""
        self.book = Book(folder / "ledger", snapshot_every)
        self.book.capital()
        self.store = Store.open(folder / "risk", is_synced=False)
        self.sentinel, self.desk = Sentinel(folder), desk
        self.at_ns, self.price, self._intents = MORNING_NS, 100.0, 0
        self.start()

    def close(self) -> None:
        self.book.close()
        self.store.close()

    def start(self) -> None:
        """Begin a life: nothing is known but what is in the stores."""
        self.room = Risk(
            limits={"alpha": RiskConfig()},
            desk_limits=self.desk,
            store=self.store,
            ledger=self.book.store,
            codec=self.book.codec,
            clock=HandClock(),
            sentinel=self.sentinel,
            is_stepped=False,
        )
        self._commit(self.room.recover())
        self._commit(self.room.peers(UP))

    def _commit(self, effects: Effects) -> list[IntentJudged]:
        self.store.commit(effects.writes)
        return [post.word for post in effects.posts if isinstance(post.word, IntentJudged)]

    # --- the market and the books -------------------------------------------------------------

    def tick(self, price: float | None = None, in_ns: int = MINUTE_NS) -> None:
        self.at_ns += in_ns
        self.price = self.price if price is None else price
        item = StreamItem("SPY/tick", 1, 0, b"", has_memory=False)
        self._commit(self.room.hear_stream("market_data", item, Tick("SPY", self.at_ns, self.price)))

    def fill(self, side: Side, price: str, quantity: int = 10, *, is_heard: bool = True) -> None:
        """Let a strategy's order trade now."""
        self.book._ns = max(self.book._ns, self.at_ns)
        purpose = Purpose.ENTRY if side is Side.BUY else Purpose.EXIT
        self.book.fill(self.book.place("alpha", side, purpose, quantity).order_id, quantity, price)
        if is_heard:
            self.hear_journal()

    def trade(self, bought: str, sold: str, *, is_heard: bool = True) -> None:
        self.fill(Side.BUY, bought, is_heard=is_heard)
        self.fill(Side.SELL, sold, is_heard=is_heard)

    def pay(self, amount: int) -> None:
        self.book.turn(lambda effects: self.book.journal.write(CapitalChanged(Decimal(amount), "paid", 0), effects))
        self.hear_journal()

    def hear_journal(self) -> None:
        item = StreamItem("", self.book.journal.head, 0, b"", has_memory=False)
        self._commit(self.room.hear_stream("execution", item, None))

    # --- looking ------------------------------------------------------------------------------

    def wish(self) -> tuple[str, ...]:
        """Wish for an entry now; give the codes of what forbids it."""
        self._intents += 1
        intent = msgspec.structs.replace(
            an_intent(),
            intent_id=f"i{self._intents}",
            quantity=Decimal(1),
            size_pct=None,
            decided_ns=self.at_ns,
            expires_ns=self.at_ns + MINUTE_NS,
            reference_price=Decimal(str(self.price)),
            stop_loss=Decimal(1),
        )
        (judged,) = self._commit(self.room.hear("strategies/alpha", 1, intent))
        return tuple(reason.partition(":")[0] for reason in judged.reasons)

    def day(self) -> dict[str, Any]:
        return self.room.facts()["day"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def begin(folder: Path, **figures: Any) -> Iterator[LoneRisk]:
    lone = LoneRisk(folder, limits(**figures))
    lone.tick(100.0)
    with closing(lone):
        yield lone


# --- days -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noon", "hours"), [((2024, 3, 10), 23), ((2024, 11, 3), 25), ((2024, 1, 9), 24), ((2024, 2, 29), 24)]
)
def test_a_day_goes_from_midnight_to_midnight_also_when_the_clocks_change(
    noon: tuple[int, int, int], hours: int
) -> None:
    local = datetime(*noon, 12, tzinfo=NEW_YORK)

    day = day_of(int(local.timestamp()) * NS_PER_S, NEW_YORK)

    assert (day.end_ns - day.start_ns) // HOUR_NS == hours
    for edge_ns, date in ((day.start_ns, local.date()), (day.end_ns - 1, local.date())):
        assert datetime.fromtimestamp(edge_ns // NS_PER_S, NEW_YORK).date() == date


@settings(deadline=None)
@given(
    st.integers(0, 2_000_000_000),
    st.sampled_from(
        ["America/New_York", "UTC", "Asia/Tokyo", "Australia/Lord_Howe", "America/Havana", "America/Sao_Paulo",
         "Pacific/Apia", "Asia/Kathmandu", "Africa/Cairo"]
    ),
)  # fmt: skip
def test_days_of_any_zone_follow_one_another_without_gap(at_s: int, zone: str) -> None:
    day = day_of(at_s * NS_PER_S, ZoneInfo(zone))

    assert day.start_ns <= at_s * NS_PER_S < day.end_ns
    assert day_of(day.end_ns, ZoneInfo(zone)).start_ns == day.end_ns
    assert day_of(day.end_ns - 1, ZoneInfo(zone)) == day


# --- the day's loss -------------------------------------------------------------------------------


def test_a_lost_day_stays_lost_through_falls_and_profits_until_it_ends(tmp_path: Path) -> None:
    for lone in begin(tmp_path, max_daily_loss_usd="50"):
        lone.trade("100", "97")
        before = lone.wish()
        lone.fill(Side.BUY, "97")
        lone.tick(95.0)  # 30 booked and 20 not: the limit
        lost = lone.wish()
        lone.tick(120.0)
        recovered = lone.wish()
        lone.start()
        lone.tick(120.0)
        after_a_fall = lone.wish()
        lone.tick(in_ns=DAY_NS)
        tomorrow = lone.wish()

        assert (before, tomorrow) == ((), ())
        assert lost == recovered == after_a_fall == ("DAILY_LOSS",)
        assert lone.sentinel.reason() is None, "a day's end needs no person"


def test_an_exit_leaves_on_a_lost_day(tmp_path: Path) -> None:
    for lone in begin(tmp_path, max_daily_loss_pct="0.0001"):
        lone.fill(Side.BUY, "100")
        lone.tick(90.0)
        lone._intents += 1
        closing_intent = msgspec.structs.replace(
            an_intent(), intent_id="out", effect="CLOSE", side=Side.SELL, quantity=None, stop_loss=None, tag="t",
            expires_ns=lone.at_ns + MINUTE_NS,
        )  # fmt: skip

        assert lone.wish() == ("DAILY_LOSS",)
        assert "DAILY_LOSS" in lone.room.facts()["notices"][0]
        reasons = lone._commit(lone.room.hear("strategies/alpha", 1, closing_intent))[0].reasons
        assert not any(reason.startswith("DAILY_LOSS") for reason in reasons)


def test_a_higher_limit_frees_the_day_and_any_other_edit_does_not(tmp_path: Path) -> None:
    for lone in begin(tmp_path, max_daily_loss_usd="50"):
        lone.trade("100", "94")
        lone.trade("100", "102")  # it is not reached any more, but it was
        lone.tick()
        said: list[tuple[str, ...]] = []
        for told in (limits(max_daily_loss_usd="50"), limits(max_daily_loss_usd="90")):
            arguments = RiskArguments({"alpha": RiskConfig()}, told, ("SPY",), is_stepped=False)
            lone._commit(lone.room.reconfigured(msgspec.msgpack.encode(arguments)))
            said.append(lone.wish())

        assert said == [("DAILY_LOSS",), ()]


def test_the_night_is_no_hole(tmp_path: Path) -> None:
    """Everything is down over midnight: what was lost before counts for then, the gap in the morning for today."""
    for lone in begin(tmp_path, max_daily_loss_usd="50"):
        lone.trade("100", "97")
        lone.fill(Side.BUY, "100")
        lone.tick(99.0)
        yesterday = lone.day()
        lone.start()
        lone.tick(95.0, in_ns=DAY_NS)

        assert (yesterday["loss"], yesterday["realised"]) == ("40.30", "-30.20")
        assert (lone.day()["loss"], lone.day()["realised"]) == ("40.00", "0.00")
        assert lone.wish() == ()
        lone.tick(94.0)
        assert lone.wish() == ("DAILY_LOSS",)


def test_what_was_traded_while_risk_was_down_over_midnight_counts_for_its_own_day(tmp_path: Path) -> None:
    for lone in begin(tmp_path, max_daily_loss_usd="50"):
        lone.trade("100", "97", is_heard=False)  # before midnight
        lone.at_ns += DAY_NS
        lone.trade("100", "98", is_heard=False)  # behind it
        lone.start()
        lone.tick()

        assert (lone.day()["realised"], lone.day()["loss"]) == ("-20.20", "20.20")


def test_what_came_when_nobody_knows_counts_for_the_new_day(tmp_path: Path) -> None:
    for lone in begin(tmp_path, max_daily_loss_usd="50"):
        lone.trade("100", "97", is_heard=False)
        lone.at_ns += DAY_NS
        lone.trade("100", "98", is_heard=False)
        lone.book.turn(lone.book.journal.keep_snapshot)  # risk takes the books up as they are now
        lone.start()
        lone.tick()

        assert lone.day()["realised"] == "-50.40"
        assert lone.wish() == ("DAILY_LOSS",)


# --- what a person lifts --------------------------------------------------------------------------


def test_a_drawdown_halts_until_a_person_lifts_it_and_counts_from_then_on(tmp_path: Path) -> None:
    for lone in begin(tmp_path, max_drawdown_pct="0.01"):
        lone.fill(Side.BUY, "100", 100)
        lone.tick(110.0)
        lone.tick(in_ns=DAY_NS)
        lone.start()
        lone.tick(100.1)  # 990 below the peak of 101 000
        near = lone.wish()
        lone.tick(99.8)
        lone.start()
        lone.tick(99.9)
        halted = lone.wish()
        said = lone.sentinel.reason() or ""
        lone.sentinel.remove()
        lone.start()
        lone.tick(99.0)
        lifted = lone.wish()

        assert (near, halted, lifted) == ((), ("HALTED",), ())
        assert said.startswith("DRAWDOWN: ")
        assert lone.day()["peak"] == "99989.90"


def test_losses_in_a_row_halt_across_days_and_falls_and_one_gain_ends_them(tmp_path: Path) -> None:
    for lone in begin(tmp_path, max_consecutive_losses=3):
        for sold in ("99", "99", "101", "99", "99"):
            lone.trade("100", sold)
            lone.tick(in_ns=DAY_NS)
            lone.start()
            lone.tick()
        two = lone.wish()
        lone.trade("100", "99")
        lone.tick()
        three = lone.wish()
        said = lone.sentinel.reason() or ""
        lone.sentinel.remove()
        lone.start()
        lone.tick()
        lifted = lone.wish()
        lone.trade("100", "99")
        one_more = lone.wish()

        assert (two, three, lifted, one_more) == ((), ("HALTED",), (), ())
        assert said.startswith("CONSECUTIVE_LOSSES: 3")
        assert lone.day()["consecutive_losses"] == 1


def test_a_limit_that_was_reached_halts_at_the_start_before_anything_is_judged(tmp_path: Path) -> None:
    for lone in begin(tmp_path):
        for _ in range(4):
            lone.trade("100", "99")
        lone.desk = limits(max_consecutive_losses=4)

        lone.start()

        assert "CONSECUTIVE_LOSSES" in (lone.sentinel.reason() or "")


def test_a_halt_for_another_reason_is_lifted_for_that_one_alone(tmp_path: Path) -> None:
    for lone in begin(tmp_path, max_consecutive_losses=1):
        lone.sentinel.write("lunch")
        lone.trade("100", "99")
        lone.tick()
        lone.sentinel.remove()

        assert lone.wish() == ("HALTED",)
        assert (lone.sentinel.reason() or "").startswith("CONSECUTIVE_LOSSES")


def test_money_paid_in_is_no_gain_and_money_taken_out_no_loss(tmp_path: Path) -> None:
    for lone in begin(tmp_path, max_daily_loss_usd="50", max_drawdown_pct="0.001"):
        lone.pay(50_000)
        lone.tick()
        lone.pay(-120_000)
        lone.start()
        lone.tick()

        assert lone.wish() == ()
        assert (lone.day()["loss"], lone.day()["peak"]) == ("0.00", "30000.00")


# --- in general -----------------------------------------------------------------------------------

ACTS = st.one_of(
    st.tuples(st.just("tick"), st.integers(80, 120), st.sampled_from([1, 30, 500, 1500])),
    st.tuples(st.just("trade"), st.integers(-5, 4), st.just(0)),
    st.tuples(st.just("hold"), st.just(0), st.just(0)),
    st.tuples(st.just("pay"), st.sampled_from([-500, 700]), st.just(0)),
    st.tuples(st.just("resume"), st.just(0), st.just(0)),
    st.tuples(st.just("fall"), st.just(0), st.just(0)),
)


def live(acts: list[tuple[str, int, int]], *, with_falls: bool) -> tuple[dict[str, Any], str, tuple[str, ...]]:
    """Live through this; give the day's figures, the halt, and what forbids an entry."""
    with TemporaryDirectory() as folder:
        told = limits(max_daily_loss_usd="150", max_drawdown_pct="0.004", max_consecutive_losses=3)
        lone = LoneRisk(Path(folder), told, snapshot_every=7)
        with closing(lone):
            lone.tick(100.0)
            for what, figure, minutes in acts:
                if what == "tick":
                    lone.tick(float(figure), minutes * MINUTE_NS)
                elif what == "trade":
                    lone.trade(str(lone.price), str(lone.price + figure))
                elif what == "hold" and not lone.book.journal.ledger.positions:
                    lone.fill(Side.BUY, str(lone.price))
                elif what == "pay":
                    lone.pay(figure)
                elif what == "resume":
                    lone.sentinel.remove()
                    lone.tick()
                elif what == "fall" and with_falls:
                    lone.start()
            lone.tick()
            return lone.day(), lone.sentinel.reason() or "", lone.wish()


@settings(max_examples=12, deadline=None)
@given(st.lists(ACTS, max_size=12))
def test_falls_change_no_figure_no_halt_and_no_verdict(acts: list[tuple[str, int, int]]) -> None:
    assert live(acts, with_falls=True) == live(acts, with_falls=False)
