"""The VWAP strategy: its exits, its reasons not to trade in their order, its sizes and its memory."""

import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from desk.messages import ProtectiveStop
from desk.units import MINUTE_NS
from strategies.base import Action, Decision, Instance, NoTrade, Signal
from strategies.vwap_micro_mean_reversion import STRATEGY, VwapMicroMeanReversion, VwapParameters
from tests.strategies.views import INSTANCE, at, bar, long, view


def strategy(**settings: Any) -> VwapMicroMeanReversion:
    return VwapMicroMeanReversion(msgspec.convert(settings, VwapParameters), INSTANCE)


def warm(traded: VwapMicroMeanReversion, until: str = "10:30", bars: int = 25, close: float = 100.0) -> int:
    """Feed bars at one price, the last one just before ``until``; give the instant of ``until``."""
    end_ns = at(until)
    for back in range(bars, 0, -1):
        ts_ns = end_ns - back * MINUTE_NS
        traded.on_bar(bar(ts_ns, close), view(ts_ns))
    return end_ns


def signal_of(decision: Decision) -> Signal:
    assert isinstance(decision, tuple), decision
    (signal,) = decision
    return signal


def code_of(decision: Decision) -> str:
    return decision.code if isinstance(decision, NoTrade) else "SIGNAL"


def test_the_module_names_its_strategy_and_leaves_the_stop_to_the_bars_close() -> None:
    assert STRATEGY is VwapMicroMeanReversion
    assert STRATEGY.protective_stop is ProtectiveStop.BAR_CLOSE


# --- entries ----------------------------------------------------------------------------------


def test_an_entry_is_a_limit_at_the_close_with_its_stop_and_its_time_to_live() -> None:
    traded = strategy()
    now_ns = warm(traded)

    signal = signal_of(traded.on_bar(bar(now_ns, 99.5), view(now_ns)))

    assert signal == Signal(
        symbol="SPY",
        action=Action.BUY,
        quantity=Decimal("4.020"),
        order_type="LIMIT",
        limit_price=Decimal("99.5"),
        stop_loss=Decimal("99.2015"),
        ttl_s=90,
    )


def test_a_market_entry_has_neither_limit_nor_time_to_live() -> None:
    traded = strategy(entry_order_type="market")
    now_ns = warm(traded)

    signal = signal_of(traded.on_bar(bar(now_ns, 99.5), view(now_ns)))

    assert (signal.order_type, signal.limit_price, signal.ttl_s) == ("MARKET", None, 0)


def test_the_offset_lowers_the_limit() -> None:
    traded = strategy(entry_limit_offset_bps=10)
    now_ns = warm(traded)

    assert signal_of(traded.on_bar(bar(now_ns, 99.5), view(now_ns))).limit_price == Decimal("99.4005")


@pytest.mark.parametrize(
    ("settings", "quantity"),
    [
        ({"risk_dollars_per_trade": 1.5, "stop_loss_pct": 0.005}, "3.015"),
        ({"max_notional_usd": 50}, "0.502"),
        ({"max_notional_usd": 5000}, "4.020"),
    ],
    ids=["risk over the distance of the stop", "capped", "a cap that does not bind"],
)
def test_the_quantity_is_rounded_down_to_thousandths(settings: dict[str, Any], quantity: str) -> None:
    traded = strategy(**settings)
    now_ns = warm(traded)

    assert signal_of(traded.on_bar(bar(now_ns, 99.5), view(now_ns))).quantity == Decimal(quantity)


def test_a_quantity_that_comes_out_even_is_not_rounded_below_it() -> None:
    traded = strategy()
    now_ns = warm(traded, close=402.0)

    assert signal_of(traded.on_bar(bar(now_ns, 400.0), view(now_ns))).quantity == Decimal("1.000")


@pytest.mark.parametrize(
    ("clock", "code"),
    [("09:59", "OUTSIDE_WINDOW"), ("10:00", "SIGNAL"), ("11:30", "SIGNAL"), ("11:31", "OUTSIDE_WINDOW")],
)
def test_the_window_includes_both_its_ends(clock: str, code: str) -> None:
    traded = strategy()
    now_ns = warm(traded, until=clock)

    assert code_of(traded.on_bar(bar(now_ns, 99.5), view(now_ns))) == code


@pytest.mark.parametrize(("before", "code"), [(18, "WARMUP"), (19, "SIGNAL")])
def test_the_current_bar_counts_for_the_warm_up(before: int, code: str) -> None:
    traded = strategy()
    now_ns = warm(traded, bars=before)

    assert code_of(traded.on_bar(bar(now_ns, 99.5), view(now_ns))) == code


def test_a_close_at_the_threshold_is_not_below_it() -> None:
    traded = strategy(entry_deviation_pct=0.25, vwap_min_bars=1)
    now_ns = at("10:30")
    threshold = msgspec.structs.replace(bar(now_ns, 75.0), high=150.0, low=75.0)

    assert code_of(traded.on_bar(threshold, view(now_ns))) == "PRICE_ABOVE_THRESHOLD"


def test_without_volume_there_is_no_average_to_trade_on() -> None:
    traded = strategy(vwap_min_bars=1)
    now_ns = at("10:30")

    assert code_of(traded.on_bar(bar(now_ns, 99.5, volume=0.0), view(now_ns))) == "INDICATOR_INVALID"


def test_a_size_below_a_thousandth_is_no_trade() -> None:
    traded = strategy(max_notional_usd=0.05)
    now_ns = warm(traded)

    assert code_of(traded.on_bar(bar(now_ns, 99.5), view(now_ns))) == "SIZE_ZERO"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"entry_pending": frozenset({"SPY"})}, "ENTRY_PENDING"),
        ({"exit_pending": frozenset({"SPY"})}, "EXIT_PENDING"),
        ({"entry_pending": frozenset({"QQQ"})}, "SIGNAL"),
    ],
)
def test_an_order_on_its_way_keeps_the_next_entry_back(changes: dict[str, Any], code: str) -> None:
    traded = strategy()
    now_ns = warm(traded)

    assert code_of(traded.on_bar(bar(now_ns, 99.5), view(now_ns, **changes))) == code


def test_a_held_position_keeps_the_next_entry_back() -> None:
    traded = strategy()
    now_ns = warm(traded)

    assert code_of(traded.on_bar(bar(now_ns, 99.5), view(now_ns, long(99.5, now_ns)))) == "IN_POSITION"


def test_an_entry_counts_when_it_is_sent_and_anew_each_day() -> None:
    traded = strategy(max_trades_per_day=1, vwap_min_bars=1)
    now_ns = warm(traded)
    later_ns, tomorrow_ns = now_ns + MINUTE_NS, at("10:31", day=1)

    codes = [code_of(traded.on_bar(bar(ts_ns, 99.0), view(ts_ns))) for ts_ns in (now_ns, later_ns)]
    traded.on_bar(bar(at("10:30", day=1), 100.0), view(at("10:30", day=1)))

    assert codes == ["SIGNAL", "MAX_TRADES_REACHED"]
    assert code_of(traded.on_bar(bar(tomorrow_ns, 99.0), view(tomorrow_ns))) == "SIGNAL"


def test_a_missed_bar_counts_for_the_average_and_not_as_a_trade() -> None:
    traded = strategy(max_trades_per_day=1, vwap_min_bars=26)
    now_ns = warm(traded)

    traded.on_missed_bar(bar(now_ns, 99.0), view(now_ns))

    assert code_of(traded.on_bar(bar(now_ns + MINUTE_NS, 99.0), view(now_ns + MINUTE_NS))) == "SIGNAL"


@pytest.mark.parametrize(("day_pnl", "code"), [("-9.99", "SIGNAL"), ("-10", "DAILY_LOSS"), ("10", "SIGNAL")])
def test_the_day_is_over_at_the_loss_limit_and_never_for_a_profit(day_pnl: str, code: str) -> None:
    traded = strategy(daily_loss_limit_usd=10)
    now_ns = warm(traded)

    assert code_of(traded.on_bar(bar(now_ns, 99.5), view(now_ns, day_pnl=Decimal(day_pnl)))) == code


def test_a_day_that_is_over_stays_over() -> None:
    traded = strategy(daily_loss_limit_usd=10)
    now_ns = warm(traded)

    traded.on_bar(bar(now_ns, 99.5), view(now_ns, day_pnl=Decimal(-10)))

    assert code_of(traded.on_bar(bar(now_ns + MINUTE_NS, 99.5), view(now_ns + MINUTE_NS))) == "DAILY_LOSS"


def test_the_reasons_not_to_trade_have_one_order() -> None:
    traded = strategy(daily_loss_limit_usd=10, max_trades_per_day=1, vwap_min_bars=3)
    lost = {"day_pnl": Decimal(-10)}
    early_ns, late_ns = at("09:30"), at("10:30")

    codes = [
        code_of(traded.on_bar(bar(early_ns, 100.0, volume=0.0), view(early_ns))),
        code_of(traded.on_bar(bar(early_ns, 100.0, volume=0.0), view(early_ns))),
        code_of(traded.on_bar(bar(early_ns, 100.0, volume=0.0), view(early_ns))),
        code_of(traded.on_bar(bar(early_ns, 100.0), view(early_ns))),
        code_of(traded.on_bar(bar(late_ns, 99.0), view(late_ns))),
        code_of(traded.on_bar(bar(late_ns, 99.0), view(late_ns, long(99.0, late_ns)))),
        code_of(traded.on_bar(bar(late_ns, 98.9), view(late_ns, long(98.9, late_ns), **lost))),
    ]

    assert codes == [
        *("WARMUP", "WARMUP", "INDICATOR_INVALID", "OUTSIDE_WINDOW"),
        *("SIGNAL", "MAX_TRADES_REACHED", "DAILY_LOSS"),
    ]


# --- exits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clock", "close", "reason"),
    [
        ("12:00", 99.7, "STOP_LOSS"),
        ("12:00", 99.71, "NONE"),
        ("12:00", 120.0, "MEAN_REVERSION"),
        ("15:54", 99.71, "NONE"),
        ("15:55", 99.71, "FORCE_FLAT"),
        ("15:55", 90.0, "FORCE_FLAT"),
        ("15:59", 120.0, "FORCE_FLAT"),
    ],
)
def test_a_position_of_100_leaves_for_the_first_reason_that_holds(clock: str, close: float, reason: str) -> None:
    traded = strategy()
    now_ns = warm(traded, until=clock, close=110.0)

    decision = traded.on_bar(bar(now_ns, close), view(now_ns, long(100.0, at("10:30"), tag="one")))

    if reason == "NONE":
        assert code_of(decision) == "OUTSIDE_WINDOW"
    else:
        assert signal_of(decision) == Signal(symbol="SPY", action=Action.CLOSE, reason=reason, tag="one")


def test_a_close_at_the_average_leaves() -> None:
    traded = strategy()
    now_ns = warm(traded, close=100.0)

    assert signal_of(traded.on_bar(bar(now_ns, 100.0), view(now_ns, long(99.8, now_ns)))).reason == "MEAN_REVERSION"


def test_exits_come_before_the_warm_up_and_the_disabled_day() -> None:
    traded = strategy(daily_loss_limit_usd=10)
    now_ns = at("09:30")

    decision = traded.on_bar(bar(now_ns, 99.0), view(now_ns, long(100.0, now_ns), day_pnl=Decimal(-50)))

    assert signal_of(decision).reason == "STOP_LOSS"


def test_an_exit_is_not_sent_again_while_one_is_on_its_way() -> None:
    traded = strategy()
    now_ns = warm(traded)
    held = view(now_ns, long(100.0, at("10:00")), exit_pending=frozenset({"SPY"}))

    assert code_of(traded.on_bar(bar(now_ns, 90.0), held)) == "EXIT_PENDING"


def test_a_target_is_taken_where_one_is_set() -> None:
    traded = strategy(take_profit_pct=0.01)
    now_ns = warm(traded, close=110.0)

    assert signal_of(traded.on_bar(bar(now_ns, 101.0), view(now_ns, long(100.0, now_ns)))).reason == "TAKE_PROFIT"


@pytest.mark.parametrize(("clock", "code"), [("10:59", "IN_POSITION"), ("11:00", "MAX_TIME_IN_TRADE")])
def test_a_position_leaves_when_its_time_is_over(clock: str, code: str) -> None:
    traded = strategy(max_time_in_trade_minutes=30)
    now_ns = warm(traded, until=clock, close=110.0)

    decision = traded.on_bar(bar(now_ns, 100.0), view(now_ns, long(100.0, at("10:30"))))

    assert (decision.code if isinstance(decision, NoTrade) else signal_of(decision).reason) == code


# --- days and memory --------------------------------------------------------------------------


def test_the_average_and_the_warm_up_begin_anew_at_new_yorks_midnight() -> None:
    traded = strategy(trade_start_time="00:00", trade_end_time="23:59", vwap_min_bars=2)
    warm(traded, until="23:59")
    first_ns, second_ns = at("00:00", day=1), at("00:01", day=1)

    first = traded.on_bar(bar(first_ns, 50.0), view(first_ns))
    second = traded.on_bar(bar(second_ns, 49.0), view(second_ns))

    assert code_of(first) == "WARMUP"
    assert code_of(second) == "SIGNAL"


def test_a_position_that_survived_the_night_is_counted() -> None:
    traded = strategy()
    warm(traded)
    morning_ns = at("09:30", day=1)

    traded.on_bar(bar(morning_ns, 100.0), view(morning_ns, long(100.0, at("15:59"))))
    traded.on_bar(bar(morning_ns + MINUTE_NS, 100.0), view(morning_ns + MINUTE_NS, long(100.0, at("15:59"))))

    assert traded.get_state()["overnight_position_found"] == 1


def test_a_strategy_continues_from_its_state_as_if_it_had_never_stopped() -> None:
    settings = {"max_trades_per_day": 1, "daily_loss_limit_usd": 10}
    whole, broken, resumed = (strategy(**settings) for _ in range(3))
    for traded in (whole, broken):
        now_ns = warm(traded)
        traded.on_bar(bar(now_ns, 99.5), view(now_ns))

    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(broken.get_state()))
    resumed.initialize()
    resumed.load_state(kept)

    later_ns = at("10:31")
    assert resumed.on_bar(bar(later_ns, 99.0), view(later_ns)) == whole.on_bar(bar(later_ns, 99.0), view(later_ns))
    assert resumed.get_state() == whole.get_state()


def test_each_symbol_has_its_own_average_and_all_share_the_number_of_trades() -> None:
    both = Instance("tested", ("SPY", "QQQ"), "1m", {})
    traded = VwapMicroMeanReversion(VwapParameters(vwap_min_bars=2, max_trades_per_day=1), both)
    first_ns, second_ns = at("10:30"), at("10:31")
    for symbol, close in (("SPY", 100.0), ("QQQ", 50.0)):
        traded.on_bar(bar(first_ns, close, symbol=symbol), view(first_ns))

    codes = [
        code_of(traded.on_bar(bar(second_ns, close, symbol=symbol), view(second_ns)))
        for symbol, close in (("SPY", 99.0), ("QQQ", 49.0))
    ]

    assert codes == ["SIGNAL", "MAX_TRADES_REACHED"]


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"trade_start_time": "9:30"}, "trade_start_time is '9:30'; it must be a time of day such as \"10:00\""),
        ({"trade_end_time": "24:00"}, "trade_end_time is '24:00'"),
        ({"flat_time": "1555"}, "flat_time is '1555'"),
        ({"trade_start_time": "11:31"}, "trade_end_time is 11:30; it must be 11:31 or later"),
        ({"vwap_min_bars": 0}, "vwap_min_bars is 0; it must be 1 or more"),
        ({"entry_deviation_pct": 0.3e1}, "entry_deviation_pct is 3.0; it must be above 0 and below 1"),
        ({"entry_deviation_pct": float("nan")}, "entry_deviation_pct is nan"),
        ({"stop_loss_pct": 0}, "stop_loss_pct is 0; it must be above 0 and below 1"),
        ({"stop_loss_pct": float("nan")}, "stop_loss_pct is NaN"),
        ({"take_profit_pct": -1}, "take_profit_pct is -1; it must be above 0"),
        ({"risk_dollars_per_trade": 0}, "risk_dollars_per_trade is 0; it must be above 0"),
        ({"max_notional_usd": 0}, "max_notional_usd is 0; it must be above 0"),
        ({"daily_loss_limit_usd": -5}, "daily_loss_limit_usd is -5; it must be above 0"),
        ({"max_trades_per_day": 0}, "max_trades_per_day is 0; it must be 1 or more, or left out"),
        ({"entry_limit_ttl_seconds": -1}, "entry_limit_ttl_seconds is -1"),
        ({"entry_limit_offset_bps": 10_000}, "entry_limit_offset_bps is 10000"),
        ({"max_time_in_trade_minutes": -1}, "max_time_in_trade_minutes is -1"),
        ({"entry_order_type": "stop"}, "Invalid enum value 'stop'"),
        ({"entry_deviation": 0.003}, "unknown field `entry_deviation`"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_by_name(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        strategy(**settings)
