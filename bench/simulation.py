"""P7: a simulated desk of some twenty orders with every promise looked at, against a bare loop over the same judgement.

The desk is one on paper in simulated time, its strategies those of ``bulkhead simulate``; nothing goes wrong, so that
both sides do the same. The loop has no process, link, store, supervision, fault or invariant: each bar goes to the
book of the venue, the strategy, the gate, the order machine and the ledger, by calls. Both make the same executions, or
there is no figure.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import msgspec

from actors.calendar import NewYork
from actors.feeds.synthetic import SyntheticFeed
from actors.own_book import OwnBook
from actors.risk_limits import bounds_of, reserved_by
from actors.settings import FillMode, PaperSettings, Settings
from actors.signal_door import Door, effect_of, intent_of, malformed
from actors.simulation.course import CALM_BARS, Trade, run
from actors.simulation.faults import Faults
from actors.simulation.scenario import PAPER_DESK, Draw, Scenario, scenario
from actors.strategy_catalogue import adopt_folder, find_strategy
from bench.figures import BenchError, Figure, show
from desk.bars import BarBuilder
from desk.executions import fill_of
from desk.exposure import RiskPicture
from desk.identity import order_id
from desk.messages import (
    Bar,
    CancelOrder,
    CapitalChanged,
    Effect,
    Intent,
    IntentJudged,
    JournalBody,
    LevelsChanged,
    Order,
    OrderChanged,
    OrderFilled,
    OrderState,
    Purpose,
    SubmitOrder,
    VenueReport,
)
from desk.order import advance, course, order_from_judgement
from desk.portfolio import Ledger
from desk.risk import judge
from desk.simulation.matching import PaperBook, PaperTerms
from desk.units import NS_PER_S, ONE, ZERO, decimal_of
from strategies.base import Instance, NoTrade, Strategy

GOAL = 6.0
SEEDS, SEEDS_QUICK = 120, 24
#: Orders that a scenario has at least and at most to be one of those measured.
ORDERS = range(14, 27)
TTL_NS = 90 * NS_PER_S


def main() -> None:
    """Measure both sides in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--quick", action="store_true", help="finish within a minute")
    told = parser.parse_args()
    scenarios = chosen(SEEDS_QUICK if told.quick else SEEDS)
    ours: list[float] = []
    floor: list[float] = []
    orders = 0
    for each in scenarios:
        theirs, bare_s = timed(lambda each=each: bare(each))
        outcome, whole_s = timed(lambda each=each: run(each))
        if outcome.violations:
            msg = f"seed {each.seed} broke a promise: {outcome.violations[0]}"
            raise BenchError(msg)
        if outcome.trades != theirs:
            msg = f"seed {each.seed}: the loop made other executions than the desk, so it is no floor"
            raise BenchError(msg)
        ours.append(whole_s * 1e6)
        floor.append(bare_s * 1e6)
        orders += outcome.orders
    figure = Figure("a seed", round(statistics.median(ours), 1), round(statistics.median(floor), 1), GOAL)
    more: dict[str, object] = {
        "seeds": len(scenarios),
        "orders_a_seed": round(orders / len(scenarios), 1),
        "seeds_per_second_of_processor": round(1e6 / statistics.mean(ours), 1),
    }
    show("P7", "a whole desk simulated, and a bare loop over its judgement", [figure], more, as_json=told.json)


T = TypeVar("T")


def timed(do: Callable[[], T]) -> tuple[T, float]:
    """Give what comes of it, and how much processor time (s) it took: a machine that others use measures no other."""
    began = time.process_time()
    return do(), time.process_time() - began


def chosen(count: int) -> Sequence[Scenario]:
    """Give scenarios of some twenty orders each, in which nothing goes wrong and no stop rests at the venue."""
    found: list[Scenario] = []
    for seed in range(100_000):
        drawn = _calm(scenario(seed, Draw(PAPER_DESK, ())))
        if run(drawn).orders in ORDERS:
            found.append(drawn)
        if len(found) == count:
            break
    return found


def _calm(drawn: Scenario) -> Scenario:
    settings = drawn.settings
    strategies = tuple(
        msgspec.structs.replace(entry, parameters={**entry.parameters, "rests": False})
        for entry in settings.strategies[:1]
    )
    feed = msgspec.structs.replace(settings.feed, symbols=settings.feed.symbols[:1])
    strategies = tuple(msgspec.structs.replace(entry, symbols=feed.symbols) for entry in strategies)
    paper = PaperSettings(fill=FillMode.NEXT_OPEN, taker_fee_bps=Decimal(2))
    changed = msgspec.structs.replace(settings, strategies=strategies, feed=feed, paper=paper)
    return msgspec.structs.replace(drawn, settings=changed, faults=Faults(), bars=20)


class _Bare:
    """The judgement of one desk with one strategy, called by hand."""

    def __init__(self, settings: Settings, strategy: Strategy, market_ns: int) -> None:
        terms = settings.paper
        self.paper = PaperBook(
            PaperTerms(
                fill=terms.fill.value,
                slippage_bps=terms.slippage_bps,
                maker_fee_bps=terms.maker_fee_bps,
                taker_fee_bps=terms.taker_fee_bps,
                starting_cash=settings.default_balance,
            )
        )
        self.strategy = strategy
        self.own = OwnBook(settings.default_balance, NewYork())
        self.ledger = Ledger(keep_trades=False)
        self.ledger.apply(CapitalChanged(settings.default_balance, "starting balance", 0))
        self.news: list[JournalBody] = []
        self.asked: list[str] = []
        self.trades: list[Trade] = []
        self.marks: dict[str, Decimal] = {}
        self.market_ns = market_ns
        self.limits = (bounds_of(settings.strategies[0].risk_config), bounds_of(settings.risk))

    def book(self, body: JournalBody) -> None:
        """Take one event into the books, and keep it for the strategy."""
        self.ledger.apply(body)
        self.news.append(body)

    def report(self, reports: Sequence[VenueReport]) -> None:
        """Book what the venue says."""
        for report in reports:
            order = self.ledger.order(report.order_id)
            assert order is not None, "the venue speaks of our orders"
            if isinstance(report, OrderFilled):
                self.book(fill_of(order, report, "", ""))
                trade = Trade(
                    order.strategy,
                    order.symbol,
                    order.side.value,
                    report.quantity,
                    report.price,
                    report.fee,
                    report.ts_ns,
                )
                self.trades.append(trade)
            previous = order
            for changed in course(order, report):
                self.book(OrderChanged(changed, previous.state.value, "venue", changed.changed_ns))
                previous = changed

    def expire(self) -> None:
        """Ask for the end of what has lived its time; the venue answers behind the decisions, as in a step."""
        for order in tuple(self.ledger.working.values()):
            if 0 < order.expires_ns <= self.market_ns:
                cancelled = advance(order, OrderState.PENDING_CANCEL, ts_ns=self.market_ns, reason="TTL")
                self.book(OrderChanged(cancelled, order.state.value, "ours", self.market_ns))
                self.asked.append(order.order_id)

    def cancel(self) -> None:
        """Let the venue cancel what it was asked to."""
        for name in self.asked:
            self.report(self.paper.cancel(CancelOrder(name, "TTL"), ts_ns=self.market_ns).reports)
        self.asked.clear()

    def decide(self, bar: Bar, timeframe: str) -> None:
        """Let the strategy evaluate a bar, and carry out what the gate allows of it."""
        for body in self.news:
            self.own.take(body, self.strategy)
        self.news.clear()
        self.own.mark(bar.symbol, bar.close)
        decision = self.strategy.on_bar(bar, self.own.view(bar.ts_ns, ()))
        if isinstance(decision, NoTrade):
            return
        door = Door((), None)
        intents: list[Intent] = []
        for number, signal in enumerate(decision):
            if malformed(signal, self.strategy.instance.symbols):
                continue
            intents += [
                intent_of(
                    signal,
                    strategy=self.strategy,
                    place=(timeframe, bar.ts_ns, number),
                    reference_price=self.own.mark_of(signal.symbol),
                    position=aim.position,
                    tag=aim.tag,
                    part=aim.part,
                    decided_ns=bar.end_ns,
                    expires_ns=bar.end_ns + TTL_NS,
                    epoch=1,
                    bar_sequence=bar.sequence,
                )
                for aim in self.own.aims(signal, intents)
                if door.admits(effect_of(signal))
            ]
        for intent in intents:
            self.carry_out(intent)

    def carry_out(self, intent: Intent) -> None:
        """Judge an intent, and make an order of it."""
        picture = self.picture(intent)
        verdicts = [judge(intent, picture, limits) for limits in self.limits]
        reasons = tuple(dict.fromkeys(reason for verdict in verdicts for reason in verdict.reasons))
        quantity = ZERO if reasons else min(verdict.quantity for verdict in verdicts)
        if not reasons and intent.effect is Effect.MODIFY:
            quantity = ONE
        judged = IntentJudged(order_id(intent.intent_id), intent, quantity, reasons, self.market_ns)
        purpose = Purpose.ENTRY if intent.effect is Effect.OPEN else Purpose.EXIT
        order = order_from_judgement(judged, purpose, ts_ns=self.market_ns)
        self.book(OrderChanged(order, "", "risk", order.changed_ns))
        if reasons:
            self.end(order, OrderState.REJECTED, "; ".join(reasons))
        elif intent.effect is Effect.MODIFY:
            held = self.ledger.position(intent.strategy, intent.symbol, intent.tag)
            stop, target = (None, None) if held is None else (held.stop_loss, held.take_profit)
            self.book(
                LevelsChanged(
                    intent.strategy, intent.symbol, intent.tag, intent.stop_loss or stop, intent.take_profit or target,
                    self.market_ns, "",
                )
            )  # fmt: skip
            self.end(order, OrderState.CANCELLED, "LEVELS_CHANGED")
        else:
            command = SubmitOrder(
                order.order_id, order.symbol, order.side, order.type, order.quantity, order.limit_price, None,
                order.expires_ns, "",
            )  # fmt: skip
            self.report(self.paper.submit(command, ts_ns=self.market_ns).reports)

    def end(self, order: Order, state: OrderState, reason: str) -> None:
        """End an order that never left."""
        ended = advance(order, state, ts_ns=self.market_ns, reason=reason)
        self.book(OrderChanged(ended, order.state.value, "ours", self.market_ns))

    def picture(self, intent: Intent) -> RiskPicture:
        """Give what the gate looks at."""
        ledger = self.ledger
        return RiskPicture(
            halt_reason="",
            stop_entry_reason="",
            gate_reason="",
            is_enabled=True,
            epoch_highest=1,
            is_known=False,
            market_ns=self.market_ns,
            last_price=self.marks[intent.symbol],
            last_price_ns=self.market_ns,
            equity=ledger.equity(self.marks),
            cash=None,
            positions=tuple(ledger.positions.values()),
            reservations=tuple(reserved_by(ledger.working.values())),
            unknown_orders=(),
            marks=self.marks,
        )


def bare(drawn: Scenario) -> tuple[Trade, ...]:
    """Let the same market pass over the same judgement, without anything around it; give the executions."""
    settings, entry = drawn.settings, drawn.settings.strategies[0]
    adopt_folder(Path(drawn.folder))
    kind = find_strategy(entry.strategy)
    assert kind is not None, "the simulation's own strategy is there"
    parameters = msgspec.convert(entry.parameters, type=kind.Parameters)
    strategy = kind(parameters, Instance(entry.name, entry.symbols, entry.timeframe, {}))
    strategy.initialize()
    desk = _Bare(settings, strategy, 0)
    feed = SyntheticFeed(settings.feed.symbols, settings.feed.seed, drawn.wall_ns)
    builder = BarBuilder(entry.symbols[0], entry.timeframe, source="1m")
    sequence = 0
    for _ in range(drawn.bars + CALM_BARS):
        event = feed.next_event()
        assert event is not None, "the invented market has no end"
        desk.market_ns = event.end_ns
        closed = [builder.close_before(event.end_ns), builder.add(event)]
        desk.report(desk.paper.on_event(event).reports)
        desk.expire()
        desk.marks[event.symbol] = decimal_of(event.close)
        for bar in closed:
            if bar is not None:
                sequence += 1
                desk.decide(msgspec.structs.replace(bar, sequence=sequence), entry.timeframe)
        desk.cancel()
    return tuple(desk.trades)


if __name__ == "__main__":
    main()
