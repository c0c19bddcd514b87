"""A second pair of eyes: plain books of its own, held against what is decided, sent and done at the venue.

Nothing here uses the desk's ledger, its gate or its order machine: sums are plain sums over the journal, limits are
counted anew, and an order is held against the verdict that it came from and against the venue's own book.
"""

import json
from collections import deque
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from actors.judgements import Judgement, LimitsTold
from actors.settings import DeskLimits, RiskLimits
from actors.simulation.exchange import Exchange, Resting
from actors.topics import AWAY, strategy_path
from desk.messages import (
    Bar,
    CancelOrder,
    CapitalChanged,
    Effect,
    ExternalBooked,
    FillBooked,
    Intent,
    IntentJudged,
    JournalRecord,
    OperatorAnswered,
    Order,
    OrderChanged,
    OrderState,
    Purpose,
    SubmitOrder,
    VenueSnapshot,
)
from desk.units import NS_PER_MS, NS_PER_S, ZERO
from desk.venue import SKEW_NS_MAX
from runtime.effects import Append, Put
from runtime.words import PeersChanged

if TYPE_CHECKING:
    from actors.simulation.scenario import Scenario
    from actors.simulation.shell import Heard, Shell
    from actors.simulation.world import World

Key = tuple[str, str, str]
#: States that nothing follows.
ENDED = frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED})
RESTING = frozenset({OrderState.SUBMITTED, OrderState.PARTIALLY_FILLED})
PROTECTIVE = frozenset({Purpose.STOP_LOSS, Purpose.TAKE_PROFIT})
#: What risk counts at its own last prices is counted here at the venue's: so far apart they may be.
SLACK = Decimal("0.03")
#: Sums of money that differ by less are the same.
CENT = Decimal("0.01")
#: More cancels of one order within a second are a storm.
CANCELS_MAX = 12
#: How long behind its last moment an intent may still be approved: risk's time is as old as its last tick.
LATE_NS = 15 * NS_PER_S
#: How long behind its time to live an order may rest in simulated time: two bars.
TTL_GRACE_NS = 120 * NS_PER_S
#: How long after a refused stop nothing may stand for a position: half a minute, and what a process may hang.
BARE_NS = 45 * NS_PER_S
NEW_YORK = ZoneInfo("America/New_York")
_RECORDS = msgspec.msgpack.Decoder(LimitsTold | Judgement)


class _Sums(NamedTuple):
    """What is at stake: the keys of all that is held or may be opened, and its value, by whose and of what it is."""

    keys: frozenset[Key]
    value: dict[tuple[str, str], Decimal]
    reserved: Decimal

    def worth(self, strategy: str = "", symbol: str = "") -> Decimal:
        """Give the value of one strategy's, one symbol's, or all."""
        return sum(
            (worth for (of, what), worth in self.value.items() if strategy in {"", of} and symbol in {"", what}), ZERO
        )


class Auditor:
    """Keeps its own account of a run, and says where the desk's deeds do not agree with it."""

    def __init__(self, world: "World", scenario: "Scenario") -> None:
        """Begin with empty books. ``exchange`` is the model of a venue behind a wire, where there is one."""
        self._world, self._scenario = world, scenario
        self.exchange: Exchange | None = None
        self._desk: list[DeskLimits] = [scenario.settings.risk]
        self._own = {entry.name: entry.risk_config for entry in scenario.settings.strategies}
        self._verdicts: dict[str, list[IntentJudged]] = {}
        #: The last verdict on each order that may be opened and is in no journal yet.
        self._waiting: dict[str, IntentJudged] = {}
        self._cancels: dict[str, deque[int]] = {}
        self._skew_ns = 0
        self._market_ns = 0
        self._marks: dict[str, Decimal] = {}
        self._lost_on: int | None = None
        self._overfills = 0
        self._judged: Judgement | None = None
        self.begin()

    def begin(self) -> None:
        """Begin the books anew: after a loss of power the journal is read from its first record."""
        self._orders: dict[str, Order] = {}
        self._working: dict[str, Order] = {}
        self._owner: dict[str, str] = {}
        self._of_bar: dict[tuple[str, str, str, int], str] = {}
        self._held: dict[Key, Decimal] = {}
        self._filled: dict[str, Decimal] = {}
        self._cash = self._capital = ZERO
        #: Since when a position has neither stop nor exit, because the venue refused its stop.
        self._bare: dict[Key, int] = {}
        #: What was held as an operator wanted it flat, and has not been flat since.
        self._to_be_flat: set[Key] = set()
        #: The first record of an execution from behind the day on which the run began, 0 before there is one.
        self._day_passed_at = 0

    def limits(self, limits: DeskLimits) -> None:
        """Hear that other limits hold; those before may still be in use for a moment."""
        self._desk.append(limits)

    # --- the journal --------------------------------------------------------------------------

    def take(self, record: JournalRecord) -> None:
        """Take in the next record."""
        body = record.body
        if isinstance(body, OrderChanged):
            self._take_order(body.order, body.previous)
        elif isinstance(body, FillBooked):
            key, signed = (body.strategy, body.symbol, body.tag), body.quantity * body.side.sign
            self._cash -= signed * body.price + body.fee
            held = self._held.get(key, ZERO) + signed
            if held == ZERO:
                self._held.pop(key, None)
                self._to_be_flat.discard(key)
            else:
                self._held[key] = held
            self._filled[body.order_id] = self._filled.get(body.order_id, ZERO) + body.quantity
            if not self._day_passed_at and body.ts_ns >= _day_of(self._scenario.wall_ns)[1]:
                self._day_passed_at = record.sequence
        elif isinstance(body, CapitalChanged):
            self._cash += body.amount
            self._capital += body.amount
        elif isinstance(body, ExternalBooked):
            self._world.violate(
                f"{body.quantity} {body.symbol} is booked as another hand's, and there is no other hand"
            )

    def _take_order(self, order: Order, previous: str) -> None:
        name = order.order_id
        before = self._orders.get(name)
        self._orders[name] = order
        self._owner[order.client_id] = self._owner[name] = name
        is_over = order.state in ENDED
        if is_over:
            self._working.pop(name, None)
        else:
            self._working[name] = order
        if order.purpose is not Purpose.ENTRY and not is_over:
            self._bare.pop(order.key, None)
        elif order.purpose is Purpose.STOP_LOSS and order.state is OrderState.REJECTED and order.key in self._held:
            self._bare.setdefault(order.key, self._world.clock.now_ns)
        if not previous and name.startswith("o"):
            self._waiting.pop(name, None)
            self._look_at_birth(order)
        if is_over and before is not None and before.state not in ENDED:
            self._look_at_end(order)

    def _look_at_birth(self, order: Order) -> None:
        """An order is what a verdict allowed, to the last figure; and a bar becomes one order."""
        verdicts = self._verdicts.get(order.order_id, ())
        if not any(_is_of(order, judged) for judged in verdicts):
            self._world.violate(f"order {order.order_id} is not what risk approved: {order}")
        if order.bar_ts_ns and not self._scenario.has_own_feed:
            place = order.strategy, order.symbol, order.timeframe, order.bar_ts_ns
            known = self._of_bar.setdefault(place, order.order_id)
            if known != order.order_id:
                self._world.violate(f"one bar of {place} became two orders: {known} and {order.order_id}")

    def _look_at_end(self, order: Order) -> None:
        """An order that is over lives nowhere at the venue, and all that it traded there is booked."""
        if order.reason == "deadline exceeded":
            self._world.violate(f"{order.order_id} ended because one attempt came too late: {order.state.value}")
        if self.exchange is None or not order.attempt:
            return
        attempts = [name for name, owner in self._owner.items() if owner == order.order_id]
        theirs = [each for name in attempts for each in self.exchange.named(name)]
        for each in theirs:
            if each.is_open:
                self._world.violate(f"{order.order_id} is {order.state.value}, and open at the venue")
        traded = sum((each.filled for each in theirs), ZERO)
        if traded != order.filled_quantity:
            what = f"{order.order_id} ended as {order.state.value} with {order.filled_quantity} filled"
            self._world.violate(f"{what}, and the venue has traded {traded}")

    # --- the venue ----------------------------------------------------------------------------

    def saw(self, theirs: Resting) -> None:
        """Hear of what the venue has just taken in or traded: nothing that was over, and nothing that was not held."""
        order = self._orders.get(self._owner.get(theirs.command.order_id, ""))
        if order is None:
            self._world.violate(f"{theirs.command.order_id} comes to the venue without a record")
            return
        if not theirs.filled and order.state in ENDED:
            self._world.violate(f"{order.order_id} is {order.state.value}, and comes to the venue as {theirs.name}")
        exchange = self.exchange
        if exchange is not None and not exchange.overfilled:
            short = exchange.positions().get(order.symbol, ZERO)
            if short < ZERO:
                self._world.violate(f"more {order.symbol} is sold at the venue than was bought: {short}")

    # --- what leaves --------------------------------------------------------------------------

    def heard(self, shell: "Shell", heard: "Heard") -> None:
        """Look at what a process has just kept and is about to say."""
        if shell.path == "execution":
            if self.exchange is not None:
                self._look_at_bare()
                self._look_at_execution(heard)
        elif shell.path == "risk":
            self._look_at_risk(shell, heard)
        elif shell.path == "market_data":
            for each in heard.effects.published:
                if isinstance(each.word, Bar):
                    self._market_ns = each.word.end_ns  # after a loss of power an earlier one comes again

    def _look_at_execution(self, heard: "Heard") -> None:
        looks = [word for word in heard.words if isinstance(word, VenueSnapshot) and not word.failure]
        exchange = self.exchange
        is_wrong = all(abs(skew_ns) > SKEW_NS_MAX for skew_ns in (self._skew_ns, *(look.skew_ns for look in looks)))
        # A look at a clock that is right again may have left nothing to keep, and was not seen here.
        is_wrong = is_wrong and exchange is not None and abs(exchange.skew_ns - self._skew_ns) < NS_PER_MS
        for post in heard.effects.posts:
            word = post.word
            if isinstance(word, CancelOrder):
                self._count_cancel(word.order_id)
            elif isinstance(word, OperatorAnswered) and '"closing"' in word.result:
                closing = json.loads(word.result)["closing"]
                self._to_be_flat |= {(strategy, symbol, tag) for strategy, symbol, tag in closing} & self._held.keys()
            elif isinstance(word, SubmitOrder):
                order = self._orders.get(self._owner.get(word.order_id, ""))
                if order is not None and order.purpose in PROTECTIVE and order.state is OrderState.PENDING:
                    self._look_at_protection(order)
                elif order is not None and order.purpose is Purpose.ENTRY and is_wrong and order.deadline_ns:
                    self._world.violate(f"entry {order.order_id} leaves while the venue's clock is wrong")
        if looks:
            self._skew_ns = looks[-1].skew_ns
        if exchange is not None and exchange.overfilled:
            self._look_at_overfills(exchange)

    def _look_at_overfills(self, exchange: Exchange) -> None:
        count = 0
        for name in exchange.overfilled:
            order = self._orders.get(self._owner.get(name, ""))
            count += order is not None and self._filled.get(order.order_id, ZERO) > order.quantity
        if count > self._overfills and self._world.disk.halt.reason() is None:
            self._world.violate("the venue traded more than was ordered, and the desk does not halt")
        self._overfills = count

    def _count_cancel(self, name: str) -> None:
        now_ns = self._world.clock.now_ns
        times = self._cancels.setdefault(name, deque())
        times.append(now_ns)
        while times[0] < now_ns - NS_PER_S:
            times.popleft()
        if len(times) > CANCELS_MAX:
            self._world.violate(f"{len(times)} cancels of {name} leave within a second")

    def _look_at_protection(self, order: Order) -> None:
        """A stop or target leaves for no more than the venue has, and beside nothing that could sell the same."""
        if self.exchange is None or order.oco_group in self.exchange.done_groups:
            return  # where another order of its group has traded, the venue does not take it
        held = ZERO
        for theirs in self.exchange.orders:
            other = self._orders.get(self._owner.get(theirs.command.order_id, ""))
            if other is None or other.key != order.key:
                continue
            held += theirs.filled * theirs.command.side.sign
            is_group = order.oco_group != "" and other.oco_group == order.oco_group
            if theirs.is_open and other.purpose is not Purpose.ENTRY and other is not order and not is_group:
                self._world.violate(f"{order.order_id} leaves to protect, and {other.order_id} is open at the venue")
        if held < order.quantity:
            self._world.violate(f"{order.order_id} leaves to protect {order.quantity}, and the venue has {held}")

    # --- verdicts -----------------------------------------------------------------------------

    def _look_at_risk(self, shell: "Shell", heard: "Heard") -> None:
        judged = [post.word for post in heard.effects.posts if isinstance(post.word, IntentJudged)]
        for word in judged:
            self._verdicts.setdefault(word.order_id, []).append(word)
            if word.is_approved and word.intent.effect is Effect.OPEN and word.order_id not in self._orders:
                self._waiting[word.order_id] = word
            else:
                self._waiting.pop(word.order_id, None)
        if self._desk[0].max_daily_loss_usd is not None:
            self._read_marks(heard)
        if not judged:
            return
        fresh = {write.key for write in heard.effects.writes if isinstance(write, Put) and write.table == "unbooked"}
        news = [word for word in judged if word.order_id.encode() in fresh]
        if not news:
            return
        is_informed = not any(isinstance(word, PeersChanged) for word in heard.words)
        if is_informed:
            self._look_at_limits(news)
        for word in news:
            self._look_at_verdict(shell, word, is_informed=is_informed)

    def _look_at_verdict(self, shell: "Shell", word: IntentJudged, *, is_informed: bool) -> None:
        intent = word.intent
        if word.reasons and word.reasons[0].startswith("HALTED") and self._world.disk.halt.reason() is None:
            self._world.violate(f"risk refuses {word.order_id} as on a halted desk, and it is not halted")
        if not word.is_approved or intent.effect is not Effect.OPEN:
            return
        if self._now_ns() > intent.expires_ns + LATE_NS:
            self._world.violate(f"risk lets {word.order_id} be opened, and its intent is over")
        path = strategy_path(intent.strategy)
        is_gone = is_informed and self._world.standing(path) is None and self._has_said_all(shell)
        if is_gone and self._world.state_of(path) in AWAY:
            self._world.violate(f"risk lets {word.order_id} be opened, and {intent.strategy} is put away")
        self._look_at_loss(word)

    def _now_ns(self) -> int:
        return self._market_ns if self._scenario.is_stepped else self._world.clock.wall_ns()

    def _has_said_all(self, shell: "Shell") -> bool:
        """Say whether a process has everything that root has told it of the others."""
        return shell.told_way.last_ns <= self._world.clock.now_ns

    def _sums(self, waiting: list[IntentJudged]) -> _Sums:
        """Count what is held, what works, and what was approved and is in no journal yet; no value on paper."""
        keys = set(self._held)
        if self.exchange is None:
            keys |= {order.key for order in self._working.values() if order.purpose is Purpose.ENTRY}
            keys |= {(word.intent.strategy, word.intent.symbol, word.intent.tag) for word in waiting}
            return _Sums(frozenset(keys), {}, ZERO)
        prices = self.exchange.prices
        value: dict[tuple[str, str], Decimal] = {}
        reserved = ZERO
        for (strategy, symbol, _), quantity in self._held.items():
            worth = abs(quantity) * prices.get(symbol, ZERO)
            value[strategy, symbol] = value.get((strategy, symbol), ZERO) + worth
        opening = [
            (order.key, order.left * order.counted_price)
            for order in self._working.values()
            if order.purpose is Purpose.ENTRY
        ]
        opening += [
            ((word.intent.strategy, word.intent.symbol, word.intent.tag), word.quantity * _price_of(word.intent))
            for word in waiting
        ]
        for key, worth in opening:
            keys.add(key)
            value[key[0], key[1]] = value.get((key[0], key[1]), ZERO) + worth
            reserved += worth
        return _Sums(frozenset(keys), value, reserved)

    def _look_at_limits(self, news: list[IntentJudged]) -> None:
        """Count each limit anew: what does not fit is refused, and what fits is not refused for it."""
        fresh = {word.order_id for word in news}
        waiting = [word for name, word in self._waiting.items() if name not in fresh]
        for word in news:
            if word.intent.effect is not Effect.OPEN:
                self._look_at_close(word)
                continue
            sums = self._sums(waiting)
            self._look_at_count(word, sums)
            if self.exchange is not None:
                self._look_at_value(word, sums)
            if word.is_approved:
                waiting.append(word)

    def _look_at_close(self, word: IntentJudged) -> None:
        intent = word.intent
        held = abs(self._held.get((intent.strategy, intent.symbol, intent.tag), ZERO))
        if word.is_approved and intent.effect is Effect.CLOSE and word.quantity > held:
            self._world.violate(f"risk lets {word.quantity} of {word.order_id} be sold, and {held} is held")

    def _look_at_count(self, word: IntentJudged, sums: _Sums) -> None:
        intent = word.intent
        key = intent.strategy, intent.symbol, intent.tag
        mine = frozenset(each for each in sums.keys if each[0] == intent.strategy)
        own = [self._own[intent.strategy]] if intent.strategy in self._own else []
        is_full = is_free = True
        for limits, keys in ((self._desk, sums.keys), (own, mine)):
            of_symbol = sum(1 for each in keys if each[1] == intent.symbol)
            fulls = [_is_full(each, len(keys), of_symbol) for each in limits]
            is_full = is_full and not (bool(fulls) and all(fulls))
            is_free = is_free and not any(fulls)
        if key not in sums.keys and not is_full and word.is_approved:
            self._world.violate(f"risk lets {word.order_id} be opened, and {len(sums.keys)} positions are open already")
        reasons = [reason for reason in word.reasons if "positions are open or approved" in reason]
        if reasons and (is_free or key in sums.keys):
            self._world.violate(f"risk refuses {word.order_id} ({reasons[0]}), and {len(sums.keys)} are open")

    def _look_at_value(self, word: IntentJudged, sums: _Sums) -> None:
        intent, desk = word.intent, self._desk[0]
        quantity = word.quantity if word.is_approved else intent.quantity or ZERO
        notional = quantity * _price_of(intent)
        cash = self._cash - (desk.min_buying_power_reserve_usd or ZERO) - sums.reserved
        rooms = (
            ("max_order_notional_usd", desk.max_order_notional_usd, ZERO),
            ("max_position_size_usd", desk.max_position_size_usd, sums.worth(intent.strategy, intent.symbol)),
            ("max_exposure_usd", desk.max_exposure_usd, sums.worth()),
            ("buying power", cash if desk.min_buying_power_reserve_usd is not None else None, ZERO),
        )
        for name, limit, engaged in rooms:
            if limit is None:
                continue
            total, slack = engaged + notional, (engaged + notional) * SLACK
            if word.is_approved and total - slack > limit:
                self._world.violate(f"risk lets {word.order_id} be opened: {total:.2f} is beyond {name} of {limit:.2f}")
            if any(f"of {name}" in reason for reason in word.reasons) and total + slack < limit:
                self._world.violate(f"risk refuses {word.order_id} for {name} of {limit:.2f}, and it is {total:.2f}")

    # --- the day ------------------------------------------------------------------------------

    def _read_marks(self, heard: "Heard") -> None:
        self._judged = None
        for write in heard.effects.writes:
            if not isinstance(write, Append):
                continue
            record = _RECORDS.decode(write.data)
            if isinstance(record, LimitsTold):
                if record.is_start:
                    self._marks = {}
            else:
                self._judged = record
                self._marks |= {mark.symbol: Decimal(str(mark.price)) for mark in record.marks}

    def _look_at_loss(self, word: IntentJudged) -> None:
        """Nothing is opened any more on a day on which the limit was reached, by the prices that risk itself had."""
        limit, judged = self._desk[0].max_daily_loss_usd, self._judged
        is_whole = all(symbol in self._marks for _, symbol, _ in self._held)
        if limit is None or judged is None or not is_whole or self._world.trouble.faults.power:
            return
        day_ns, _ = _day_of(judged.market_ns)
        has_passed = 0 < self._day_passed_at <= judged.journal  # an execution may say so before the market does
        if has_passed or day_ns != _day_of(self._scenario.wall_ns)[0]:
            return  # with what the account began a later day is not known to the last digit here
        equity = self._cash + sum((held * self._marks[key[1]] for key, held in self._held.items()), ZERO)
        if self._capital - equity >= limit:
            self._lost_on = day_ns
        if self._lost_on == day_ns:
            lost = f"{self._capital - equity:.2f}"
            self._world.violate(f"risk lets {word.order_id} be opened on a day that has lost {lost} of {limit}")

    # --- at rest ------------------------------------------------------------------------------

    def faults(self) -> list[str]:
        """Say where the desk's own figures are not those of these books; [] where they agree."""
        self._look_at_bare()
        return [*self._of_money(), *self._of_day(), *self._of_time(), *self._of_wishes()]

    def _of_wishes(self) -> list[str]:
        """What an operator wanted flat has been flat since, but for what nobody knows of."""
        in_doubt = {order.key for order in self._working.values() if order.state is OrderState.UNKNOWN}
        wanted = sorted(self._to_be_flat - in_doubt)
        return [f"{key} was to be flat, and {self._held[key]} is held" for key in wanted if key in self._held]

    def _look_at_bare(self) -> None:
        """A stop that was refused is placed again at least every half minute."""
        for key, since_ns in self._bare.items():
            if key in self._held and self._world.clock.now_ns - since_ns > BARE_NS:
                self._world.violate(f"{key} is held, and its stop was refused once and is not placed again")

    def _of_money(self) -> list[str]:
        found: list[str] = []
        shell = self._world.standing("execution")
        if shell is not None:
            facts = shell.room.facts()
            for name, ours in (("cash", self._cash), ("capital", self._capital)):
                if abs(Decimal(facts[name]) - ours) > CENT:
                    found.append(f"execution has {name} of {facts[name]}, and the journal makes {ours}")
        exchange = self.exchange
        if exchange is not None and abs(self._cash - self._capital - exchange.cash) > CENT:
            found.append(f"the books have moved {self._cash - self._capital} of cash, and the venue {exchange.cash}")
        return found

    def _of_day(self) -> list[str]:
        """The day's figures: from New York's midnight to the next, with what the account has and began with."""
        shell = self._world.standing("risk")
        day = shell.room.facts().get("day") if shell is not None else None
        if not day or self._scenario.has_own_feed:
            return []
        start_ns, end_ns = int(day["start_ns"]), int(day["end_ns"])
        found: list[str] = []
        if (start_ns, end_ns) != _day_of(start_ns):
            found.append(f"risk's day goes from {start_ns} to {end_ns}, which are no two midnights")
        now_ns = self._now_ns()
        if now_ns and not start_ns <= now_ns - LATE_NS < end_ns + TTL_GRACE_NS:
            found.append(f"risk's day ends at {end_ns}, and it is {now_ns}")
        prices = self.exchange.prices if self.exchange is not None else None
        if prices is not None:
            gross = sum((abs(held) * prices[key[1]] for key, held in self._held.items()), ZERO)
            equity = self._cash + sum((held * prices[key[1]] for key, held in self._held.items()), ZERO)
            if abs(Decimal(day["equity"]) - equity) > gross * SLACK + 1:
                found.append(f"risk counts {day['equity']} of equity, and it is {equity:.2f}")
        is_first = start_ns <= self._scenario.wall_ns
        if is_first and not self._world.trouble.faults.power and abs(Decimal(day["start_equity"]) - self._capital) > 1:
            found.append(f"risk's day began with {day['start_equity']}, and the account with {self._capital}")
        return found

    def _of_time(self) -> list[str]:
        """In simulated time no order rests behind its time to live; the market's time decides, not the machine's."""
        if not self._scenario.is_stepped or self._scenario.has_own_feed:
            return []
        return [
            f"{order.order_id} has outlived its time to live, and is {order.state.value}"
            for order in self._working.values()
            if order.state in RESTING and 0 < order.expires_ns < self._market_ns - TTL_GRACE_NS
        ]


def _is_of(order: Order, judged: IntentJudged) -> bool:
    """Say whether an order is exactly what this verdict allows."""
    intent = judged.intent
    is_same = (
        (order.purpose is Purpose.ENTRY) is (intent.effect is Effect.OPEN)
        and order.key == (intent.strategy, intent.symbol, intent.tag)
        and (order.side, order.type) == (intent.side, intent.order_type)
        and order.protective_stop is intent.protective_stop
    )
    if not (is_same and judged.is_approved):
        return is_same
    lives_ns = order.expires_ns - order.created_ns if order.expires_ns else 0
    return (
        order.quantity == judged.quantity
        and order.limit_price == intent.limit_price
        and (order.stop_loss, order.take_profit) == (intent.stop_loss, intent.take_profit)
        and lives_ns == max(intent.order_ttl_ns, 0)
        and order.intent_expires_ns == intent.expires_ns
    )


def _is_full(limits: RiskLimits, count: int, of_symbol: int) -> bool:
    """Say whether limits let no further position be opened beside so many."""
    return (limits.max_positions is not None and count >= limits.max_positions) or (
        limits.max_positions_per_symbol is not None and of_symbol >= limits.max_positions_per_symbol
    )


def _price_of(intent: Intent) -> Decimal:
    return intent.limit_price or intent.reference_price


def _day_of(ts_ns: int) -> tuple[int, int]:
    """Give New York's midnights around an instant, in ns since 1970."""
    local = datetime.fromtimestamp(ts_ns // NS_PER_S, NEW_YORK)
    start = local.replace(hour=0, minute=0, second=0, microsecond=0)
    end = (start + timedelta(hours=36)).replace(hour=0, minute=0)
    return int(start.timestamp()) * NS_PER_S, int(end.timestamp()) * NS_PER_S
