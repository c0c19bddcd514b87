"""The EMA crossover: its history, its cross, its conditions and its memory."""

import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from desk.indicators import Rsi
from desk.messages import ProtectiveStop
from desk.units import MINUTE_NS
from strategies.base import Action, Decision, Instance, NoTrade
from strategies.ema_crossover_v001 import STRATEGY, EmaCrossoverV001, EmaParameters
from tests.strategies.views import INSTANCE, at, bar, long, view

START = at("10:00")
#: A wave that keeps the fast average below the slow one for 34 bars; the close after it lifts it above.
FALLING = [100.0 + 2.0 * (number % 2) - 0.05 * number for number in range(34)]
CROSSING = 103.0


def strategy(**settings: Any) -> EmaCrossoverV001:
    return EmaCrossoverV001(msgspec.convert(settings, EmaParameters), INSTANCE)


def fed(traded: EmaCrossoverV001, closes: list[float], volume: float = 100.0, start: int = 0) -> list[Decision]:
    """Feed closes a minute apart without a position; give what was decided."""
    times = [START + (start + number) * MINUTE_NS for number in range(len(closes))]
    bars = [bar(ts_ns, close, volume) for ts_ns, close in zip(times, closes, strict=True)]
    return [traded.on_bar(each, view(each.ts_ns)) for each in bars]


def code_of(decision: Decision) -> str:
    return decision.code if isinstance(decision, NoTrade) else "SIGNAL"


def decided(traded: EmaCrossoverV001, close: float, volume: float = 200.0, **changes: Any) -> Decision:
    """Feed the falling wave and then this close with this volume."""
    fed(traded, FALLING)
    now_ns = START + len(FALLING) * MINUTE_NS
    held = changes.pop("held", ())
    return traded.on_bar(bar(now_ns, close, volume), view(now_ns, *held, **changes))


def averages_of(closes: list[float], span: int) -> list[float]:
    """Give the non-adjusted exponential averages, written out."""
    out = [closes[0]]
    for close in closes[1:]:
        out.append(out[-1] + (close - out[-1]) * 2 / (span + 1))
    return out


def test_the_module_names_its_strategy_and_leaves_the_stop_to_the_venue() -> None:
    assert STRATEGY is EmaCrossoverV001
    assert STRATEGY.protective_stop is ProtectiveStop.VENUE


def test_a_cross_on_volume_is_bought_with_stop_and_target() -> None:
    decision = decided(strategy(), CROSSING)

    assert isinstance(decision, tuple)
    (signal,) = decision
    assert (signal.action, signal.order_type, signal.size_pct) == (Action.BUY, "MARKET", Decimal("0.03"))
    assert (signal.stop_loss, signal.take_profit) == (Decimal("100.94"), Decimal("107.12"))
    assert (signal.confidence, signal.horizon, signal.quantity) == (0.8, "DAY", None)


def test_thirty_bars_are_only_remembered() -> None:
    codes = [code_of(decision) for decision in fed(strategy(), FALLING)]

    assert codes[:30] == ["WARMUP"] * 30
    assert "WARMUP" not in codes[30:]


def test_every_change_of_sides_is_a_cross_and_nothing_else_is() -> None:
    closes = [100.0 + (number * 7919 % 23) - (number * 104_729 % 11) for number in range(300)]
    fast, slow = averages_of(closes, 9), averages_of(closes, 21)

    codes = [code_of(decision) for decision in fed(strategy(volume_factor=0, rsi_low=0, rsi_high=100), closes)]

    for now in range(30, 300):
        if fast[now - 1] <= slow[now - 1] and fast[now] > slow[now]:
            assert codes[now] == "SIGNAL"
        elif fast[now - 1] >= slow[now - 1] and fast[now] < slow[now]:
            assert codes[now] == "NO_POSITION"
        else:
            assert codes[now] == "NO_CROSSOVER"
    assert {"SIGNAL", "NO_POSITION"} <= set(codes)


@pytest.mark.parametrize(("volume", "code"), [(100.0, "VOLUME_TOO_LOW"), (121.2, "VOLUME_TOO_LOW"), (121.3, "SIGNAL")])
def test_the_volume_must_exceed_its_mean_by_a_fifth_itself_included(volume: float, code: str) -> None:
    # With 19 bars of 100: v > 1.2 * (1900 + v) / 20 holds from 121.28 on.
    assert code_of(decided(strategy(), CROSSING, volume)) == code


@pytest.mark.parametrize("settings", [{"rsi_high": 40}, {"rsi_low": 69, "rsi_high": 70}], ids=["too high", "too low"])
def test_the_rsi_must_lie_inside_its_range(settings: dict[str, float]) -> None:
    assert code_of(decided(strategy(**settings), CROSSING)) == "RSI_OUT_OF_RANGE"


def test_the_ends_of_the_range_are_outside_it() -> None:
    index = Rsi(14)
    for close in [*FALLING, CROSSING]:
        index.add(close)
    assert index.value is not None

    assert code_of(decided(strategy(rsi_low=index.value), CROSSING)) == "RSI_OUT_OF_RANGE"
    assert code_of(decided(strategy(rsi_high=index.value), CROSSING)) == "RSI_OUT_OF_RANGE"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"held": (long(100.0, START),)}, "IN_POSITION"),
        ({"entry_pending": frozenset({"SPY"})}, "ENTRY_PENDING"),
        ({"exit_pending": frozenset({"SPY"})}, "EXIT_PENDING"),
    ],
)
def test_what_stands_or_runs_keeps_an_entry_back(changes: dict[str, Any], code: str) -> None:
    assert code_of(decided(strategy(), CROSSING, **changes)) == code


def crossed_down(held: tuple[Any, ...], **changes: Any) -> Decision:
    traded = strategy()
    decided(traded, 130.0)
    now_ns = START + 35 * MINUTE_NS
    return traded.on_bar(bar(now_ns, 40.0), view(now_ns, *held, **changes))


def test_a_cross_down_closes_the_position() -> None:
    decision = crossed_down((long(100.0, START, tag="one"),))

    assert isinstance(decision, tuple)
    (signal,) = decision
    assert (signal.action, signal.tag, signal.reason) == (Action.CLOSE, "one", "SIGNAL")


def test_a_cross_down_without_a_position_is_no_trade() -> None:
    assert code_of(crossed_down(())) == "NO_POSITION"


def test_a_close_is_not_sent_again_while_one_is_on_its_way() -> None:
    assert code_of(crossed_down((long(100.0, START),), exit_pending=frozenset({"SPY"}))) == "EXIT_PENDING"


def test_symbols_do_not_touch_one_another() -> None:
    both = EmaCrossoverV001(EmaParameters(), Instance("tested", ("SPY", "BTCUSD"), "1m", {}))
    alone = strategy()
    for number, close in enumerate(FALLING):
        ts_ns = START + number * MINUTE_NS
        both.on_bar(bar(ts_ns, 7.0 * number + 1.0, symbol="BTCUSD"), view(ts_ns))
        both.on_bar(bar(ts_ns, close), view(ts_ns))

    now_ns = START + len(FALLING) * MINUTE_NS

    assert both.on_bar(bar(now_ns, CROSSING, 200.0), view(now_ns)) == decided(alone, CROSSING)


@pytest.mark.parametrize("cut", [0, 1, 15, 30, 33])
def test_a_strategy_continues_from_its_state_as_if_it_had_never_stopped(cut: int) -> None:
    closes = [*FALLING, CROSSING, 90.0, 80.0]
    whole, broken, resumed = strategy(), strategy(), strategy()
    expected = fed(whole, closes)[cut:]
    fed(broken, closes[:cut])

    resumed.load_state(msgspec.msgpack.decode(msgspec.msgpack.encode(broken.get_state())))

    assert fed(resumed, closes[cut:], start=cut) == expected
    assert resumed.get_state() == whole.get_state()


def changed(before: EmaCrossoverV001, **settings: Any) -> EmaCrossoverV001:
    """Change the settings as the desk does: made anew, given the state, told what held before."""
    after = strategy(**settings)
    after.load_state(msgspec.msgpack.decode(msgspec.msgpack.encode(before.get_state())))
    after.on_parameters(before.parameters)
    return after


def test_other_conditions_leave_the_averages_as_they_are() -> None:
    before = strategy()
    fed(before, FALLING)

    after = changed(before, rsi_high=60.0, volume_factor=2.0, candles_min=25)

    assert after.get_state() == before.get_state()


@pytest.mark.parametrize("span", [{"ema_fast": 8}, {"ema_slow": 26}, {"rsi_period": 10}, {"volume_window": 12}])
def test_another_span_begins_its_averages_anew(span: dict[str, int]) -> None:
    before = strategy()
    fed(before, FALLING)

    after = changed(before, **span)

    assert after.get_state() == strategy(**span).get_state()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"ema_fast": 0}, "ema_fast is 0; it must be 1 or more"),
        ({"ema_slow": 9}, "ema_slow is 9; it must be above ema_fast (9)"),
        ({"candles_min": 19}, "candles_min is 19; it must be 20 or more"),
        ({"rsi_low": 80}, "rsi_low is 80.0; it must be 0 or more and below rsi_high"),
        ({"volume_factor": -1}, "volume_factor is -1.0"),
        ({"default_trade_pct": 3}, "default_trade_pct is 3; it must be above 0 and below 1"),
        ({"stop_loss_pct": 0}, "stop_loss_pct is 0"),
        ({"take_profit_pct": 0}, "take_profit_pct is 0"),
        ({"ema": 9}, "unknown field `ema`"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_by_name(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        strategy(**settings)
