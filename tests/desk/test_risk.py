"""The gate before every order."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from desk.exposure import Reservation
from desk.messages import Effect, Intent, OrderType, Side
from desk.portfolio import Ledger, Position
from desk.risk import CHECKS, RiskLimits, RiskPicture, judge
from desk.sizing import quantity_of_risk, quantity_of_share
from desk.units import MINUTE_NS, NS_PER_S, ZERO
from tests.desk.orders import a_fill, an_intent

BUY, SELL = Side.BUY, Side.SELL
OPEN, CLOSE, MODIFY = Effect.OPEN, Effect.CLOSE, Effect.MODIFY
NO_LIMITS = RiskLimits()


def a_picture() -> RiskPicture:
    """Show a flat, healthy account of 1000 with SPY at 100, at the close of the first minute."""
    return RiskPicture(
        halt_reason="",
        stop_entry_reason="",
        gate_reason="",
        is_enabled=True,
        epoch_highest=1,
        is_known=False,
        market_ns=MINUTE_NS,
        last_price=Decimal(100),
        last_price_ns=MINUTE_NS,
        equity=Decimal(1000),
        cash=Decimal(1000),
        positions=(),
        reservations=(),
        unknown_orders=(),
    )


def a_position(quantity: str = "2", *, strategy: str = "alpha", symbol: str = "SPY", tag: str = "t") -> Position:
    return Position(strategy, symbol, tag, Decimal(quantity), Decimal(100), ZERO, 0)


def a_reservation(effect: Effect = OPEN, quantity: str = "1", tag: str = "r") -> Reservation:
    side = BUY if effect is OPEN else SELL
    return Reservation("o9", "alpha", "SPY", tag, effect, side, Decimal(quantity), Decimal(100))


def an_exit() -> Intent:
    """Close what alpha holds of SPY, by the market."""
    return replace(an_intent(), effect=CLOSE, side=SELL, quantity=None, stop_loss=None)


def codes(intent: Intent, picture: RiskPicture, limits: RiskLimits = NO_LIMITS) -> list[str]:
    """Give the codes of all reasons; an approved intent has none."""
    return [reason.partition(":")[0] for reason in judge(intent, picture, limits).reasons]


def test_a_sound_entry_passes_whole() -> None:
    judgement = judge(an_intent(), a_picture(), NO_LIMITS)

    assert (judgement.quantity, judgement.reasons, judgement.is_approved) == (Decimal(1), (), True)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"halt_reason": "drawdown"}, "HALTED"),
        ({"stop_entry_reason": "operator"}, "STOP_ENTRY"),
        ({"gate_reason": "venue unreachable"}, "GATE_CLOSED"),
        ({"is_enabled": False}, "STRATEGY_DISABLED"),
        ({"epoch_highest": 2}, "STALE_EPOCH"),
        ({"is_known": True}, "DUPLICATE_INTENT"),
        ({"market_ns": 2 * MINUTE_NS}, "EXPIRED_INTENT"),
        ({"last_price": None}, "DATA_STALE"),
        ({"last_price_ns": None}, "DATA_STALE"),
        ({"last_price": Decimal("NaN")}, "DATA_STALE"),
        ({"last_price_ns": MINUTE_NS - 65 * NS_PER_S - 1}, "DATA_STALE"),
        ({"cash": Decimal(99)}, "BUYING_POWER"),
        ({"cash": Decimal("NaN")}, "BUYING_POWER"),
        ({"fee_bps": Decimal(1), "cash": Decimal(100)}, "BUYING_POWER"),
        ({"positions": (a_position("-5", tag="u"),), "cash": Decimal(1099)}, "BUYING_POWER"),
        ({"reservations": (a_reservation(),), "cash": Decimal(199)}, "BUYING_POWER"),
        ({"unknown_orders": ("o7",)}, "UNKNOWN_OUTCOME"),
    ],
)
def test_an_entry_is_refused_for_what_the_picture_shows(change: dict[str, Any], code: str) -> None:
    picture = msgspec.structs.replace(a_picture(), **change)

    assert codes(an_intent(), picture) == [code]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"stop_loss": None}, "STOP_MISSING"),
        ({"stop_loss": Decimal(100)}, "MALFORMED"),
        ({"stop_loss": Decimal("NaN")}, "MALFORMED"),
        ({"take_profit": Decimal(100)}, "MALFORMED"),
        ({"side": SELL}, "MALFORMED"),
        ({"side": SELL, "stop_loss": Decimal(101), "take_profit": Decimal(101)}, "MALFORMED"),
        ({"quantity": None}, "MALFORMED"),
        ({"quantity": ZERO}, "MALFORMED"),
        ({"quantity": Decimal(-1)}, "MALFORMED"),
        ({"quantity": Decimal("Infinity")}, "MALFORMED"),
        ({"quantity": Decimal("NaN")}, "MALFORMED"),
        ({"size_pct": Decimal("0.1")}, "MALFORMED"),
        ({"quantity": None, "size_pct": Decimal("1.1")}, "MALFORMED"),
        ({"reference_price": Decimal("NaN")}, "MALFORMED"),
        ({"order_type": OrderType.LIMIT}, "MALFORMED"),
        ({"order_type": OrderType.LIMIT, "limit_price": ZERO}, "MALFORMED"),
        ({"order_type": OrderType.LIMIT, "limit_price": Decimal(98)}, "MALFORMED"),
        ({"order_type": OrderType.STOP}, "MALFORMED"),
        ({"symbol": ""}, "MALFORMED"),
        ({"quantity": Decimal("0.0009")}, "SIZE"),
        ({"quantity": Decimal("9E+999999")}, "SIZE"),
        ({"quantity": None, "size_pct": Decimal("0.00001")}, "SIZE"),
    ],
)
def test_an_entry_is_refused_for_its_own_form(change: dict[str, Any], code: str) -> None:
    assert codes(msgspec.structs.replace(an_intent(), **change), a_picture()) == [code]


@pytest.mark.parametrize("quantity", ["1E+10", "1E+400", "1E+999990"])
def test_an_entry_that_no_book_could_count_is_refused_without_any_limit(quantity: str) -> None:
    much, picture = msgspec.structs.replace(an_intent(), quantity=Decimal("1E+10")), replace(a_picture(), cash=None)
    too_much = msgspec.structs.replace(much, quantity=Decimal(quantity) + 1)

    (reason,) = judge(too_much, picture, NO_LIMITS).reasons

    assert reason.startswith("SIZE: ")
    assert len(reason) < 200
    assert codes(much, picture) == []


@pytest.mark.parametrize(
    ("limit", "positions", "is_refused"),
    [
        ({"max_order_notional_usd": Decimal(100)}, (), ""),
        ({"max_order_notional_usd": Decimal("99.99")}, (), "SIZE"),
        ({"max_position_size_usd": Decimal(300)}, (a_position(),), ""),
        ({"max_position_size_usd": Decimal(299)}, (a_position(),), "POSITION_LIMIT"),
        ({"max_position_size_usd": Decimal(100)}, (a_position(strategy="beta"),), ""),
        ({"max_position_size": Decimal("0.1")}, (), ""),
        ({"max_position_size": Decimal("0.099")}, (), "POSITION_LIMIT"),
        ({"max_positions": 1}, (), ""),
        ({"max_positions": 1}, (a_position(),), ""),
        ({"max_positions": 1}, (a_position(symbol="QQQ", strategy="beta"),), "POSITION_LIMIT"),
        ({"max_positions_per_symbol": 1}, (a_position(symbol="QQQ"),), ""),
        ({"max_positions_per_symbol": 1}, (a_position(strategy="beta"),), "POSITION_LIMIT"),
        ({"max_positions_per_strategy": 1}, (a_position(strategy="beta"),), ""),
        ({"max_positions_per_strategy": 1}, (a_position(tag="u"),), "POSITION_LIMIT"),
        ({"max_exposure_usd": Decimal(300)}, (a_position("-2", strategy="beta"),), ""),
        ({"max_exposure_usd": Decimal(299)}, (a_position("-2", strategy="beta"),), "EXPOSURE"),
        ({"max_exposure_pct": Decimal("0.3")}, (a_position(strategy="beta"),), ""),
        ({"max_exposure_pct": Decimal("0.29")}, (a_position(strategy="beta"),), "EXPOSURE"),
        ({"min_buying_power_reserve_usd": Decimal(900)}, (), ""),
        ({"min_buying_power_reserve_usd": Decimal(901)}, (), "BUYING_POWER"),
    ],
)
def test_a_limit_binds_up_to_and_including_itself(
    limit: dict[str, Any], positions: tuple[Position, ...], is_refused: str
) -> None:
    picture = replace(a_picture(), positions=positions)

    assert codes(an_intent(), picture, RiskLimits(**limit)) == ([is_refused] if is_refused else [])


def test_approved_entries_count_before_they_fill() -> None:
    picture = replace(a_picture(), reservations=(a_reservation(),))
    limits = RiskLimits(max_exposure_usd=Decimal(199), max_positions=1)

    assert codes(an_intent(), picture, limits) == ["POSITION_LIMIT", "EXPOSURE"]


def test_every_failed_reason_is_reported_in_the_order_of_the_table() -> None:
    picture = replace(a_picture(), halt_reason="drawdown", unknown_orders=("o7",), is_enabled=False)
    limits = RiskLimits(max_order_notional_usd=Decimal(50))

    reasons = judge(an_intent(), picture, limits).reasons

    assert [reason.partition(":")[0] for reason in reasons] == [
        "HALTED",
        "STRATEGY_DISABLED",
        "SIZE",
        "UNKNOWN_OUTCOME",
    ]
    assert reasons[2] == "SIZE: 100.00 USD at 100 does not fit into 50.00 USD of max_order_notional_usd"


@pytest.mark.parametrize(
    ("limit", "figure", "code"),
    [
        ({"max_position_size": Decimal(1)}, "equity", "POSITION_LIMIT"),
        ({"max_exposure_pct": Decimal(1)}, "equity", "EXPOSURE"),
        ({"min_buying_power_reserve_usd": Decimal(1)}, "cash", "BUYING_POWER"),
    ],
)
@pytest.mark.parametrize("value", [None, Decimal("NaN")])
def test_a_figure_that_a_limit_needs_and_nobody_knows_refuses_the_entry(
    limit: dict[str, Any], figure: str, code: str, value: Decimal | None
) -> None:
    picture = msgspec.structs.replace(a_picture(), **{figure: value})

    assert code in codes(an_intent(), picture, RiskLimits(**limit))


def test_limits_that_are_left_out_need_no_figures() -> None:
    picture = replace(a_picture(), equity=None, cash=None)

    assert codes(an_intent(), picture) == []


def test_a_share_without_equity_is_refused() -> None:
    intent = replace(an_intent(), quantity=None, size_pct=Decimal("0.1"))

    assert codes(intent, replace(a_picture(), equity=None)) == ["SIZE"]


def test_a_share_of_the_equity_becomes_a_quantity_in_steps() -> None:
    intent = replace(an_intent(), quantity=None, size_pct=Decimal("0.333"))

    assert judge(intent, replace(a_picture(), last_price=Decimal(101)), NO_LIMITS).quantity == Decimal("3.297")


def test_a_short_entry_has_its_stop_above() -> None:
    intent = replace(an_intent(), side=SELL, stop_loss=Decimal(101), take_profit=Decimal(98))

    assert judge(intent, a_picture(), NO_LIMITS).quantity == Decimal(1)


def test_an_oversize_entry_is_cut_where_the_limits_say_so() -> None:
    limits = RiskLimits(max_order_notional_usd=Decimal(80), max_exposure_usd=Decimal("55.55"), oversize="clamp")

    judgement = judge(an_intent(), a_picture(), limits)

    assert (judgement.quantity, judgement.reasons) == (Decimal("0.555"), ())


def test_an_entry_that_is_cut_to_nothing_is_refused() -> None:
    limits = RiskLimits(max_order_notional_usd=ZERO, oversize="clamp")

    assert codes(an_intent(), a_picture(), limits) == ["SIZE"]


@dataclass
class Hostile:
    """A figure that fails whatever is asked of it."""

    error: Exception

    def __getattr__(self, name: str) -> object:
        raise self.error


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), ZeroDivisionError("x"), TypeError("x"), RuntimeError("x")], ids=repr
)
def test_a_check_that_fails_refuses_an_entry_and_never_an_exit(error: Exception) -> None:
    hostile: Any = Hostile(error)
    picture = msgspec.structs.replace(a_picture(), cash=hostile, positions=(a_position(),))

    entry = codes(an_intent(), picture)
    leave = judge(an_exit(), picture, NO_LIMITS)

    assert entry == ["BUYING_POWER"]
    assert (leave.quantity, leave.reasons) == (Decimal(2), ())


# --- exits ------------------------------------------------------------------------------------


def a_dark_picture(*positions: Position) -> RiskPicture:
    """Show a desk where every reason against entries holds and no figure is known."""
    return RiskPicture(
        halt_reason="halt",
        stop_entry_reason="stop",
        gate_reason="gate",
        is_enabled=False,
        epoch_highest=1,
        is_known=False,
        market_ns=99 * MINUTE_NS,
        last_price=None,
        last_price_ns=None,
        equity=None,
        cash=None,
        positions=positions,
        reservations=(),
        unknown_orders=("o7",),
    )


TIGHT = RiskLimits(
    max_order_notional_usd=ZERO, max_positions=0, max_exposure_pct=ZERO, min_buying_power_reserve_usd=Decimal(10000)
)


def test_nothing_that_stops_entries_stops_an_exit() -> None:
    judgement = judge(an_exit(), a_dark_picture(a_position()), TIGHT)

    assert (judgement.quantity, judgement.reasons) == (Decimal(2), ())


def test_a_short_is_closed_by_buying() -> None:
    judgement = judge(replace(an_exit(), side=BUY), a_dark_picture(a_position("-2")), TIGHT)

    assert judgement.quantity == Decimal(2)


@pytest.mark.parametrize(
    ("quantity", "size_pct", "leaving", "expected"),
    [("5", None, "0", "2"), ("0.0005", None, "0", "0.0005"), (None, "0.25", "0", "0.5"), (None, None, "1.5", "0.5")],
)
def test_an_exit_is_capped_to_what_is_left_of_the_position(
    quantity: str | None, size_pct: str | None, leaving: str, expected: str
) -> None:
    intent = replace(
        an_exit(),
        quantity=None if quantity is None else Decimal(quantity),
        size_pct=None if size_pct is None else Decimal(size_pct),
    )
    picture = replace(a_dark_picture(a_position()), reservations=(a_reservation(CLOSE, leaving, "t"),))

    assert judge(intent, picture, TIGHT).quantity == Decimal(expected)


THIRDS = st.tuples(st.sampled_from("tuv"), st.decimals("0.001", "999", places=3), st.sampled_from((2, 3, 7)))


@given(st.lists(THIRDS, min_size=2, max_size=12))
def test_parts_that_are_closed_leave_books_that_add_up(course: list[tuple[str, Decimal, int]]) -> None:
    ledger = Ledger()
    for number, (tag, quantity, parts) in enumerate(course):
        held = ledger.position("alpha", "SPY", tag)
        if held is None:
            ledger.apply(a_fill(f"e{number}", BUY, f"{quantity}", "100", who=("alpha", tag)))
            continue
        exit_ = replace(an_exit(), tag=tag, quantity=held.quantity * (Decimal(1) / parts))
        part = judge(exit_, a_dark_picture(held), TIGHT).quantity
        assert abs(part - held.quantity / parts) <= Decimal("1e-12")
        ledger.apply(a_fill(f"e{number}", SELL, f"{part}", "100", who=("alpha", tag)))
        ledger.audit()


@pytest.mark.parametrize(
    ("intent", "change", "code"),
    [
        (an_exit(), {"positions": ()}, "NO_POSITION"),
        (an_exit(), {"positions": (a_position(tag="u"),)}, "NO_POSITION"),
        (an_exit(), {"positions": (a_position("-2"),)}, "NO_POSITION"),
        (an_exit(), {"reservations": (a_reservation(CLOSE, "2", "t"),)}, "NO_POSITION"),
        (an_exit(), {"is_known": True}, "DUPLICATE_INTENT"),
        (an_exit(), {"epoch_highest": 2}, "STALE_EPOCH"),
        (replace(an_exit(), quantity=Decimal("NaN")), {}, "MALFORMED"),
        (replace(an_exit(), order_type=OrderType.LIMIT), {}, "MALFORMED"),
    ],
)
def test_an_exit_is_refused_only_for_what_would_harm(intent: Intent, change: dict[str, Any], code: str) -> None:
    picture = msgspec.structs.replace(a_dark_picture(a_position()), **change)

    assert codes(intent, picture, TIGHT) == [code]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"stop_loss": Decimal(98)}, []),
        ({"stop_loss": None}, ["MALFORMED"]),
        ({"stop_loss": Decimal(102)}, ["MALFORMED"]),
        ({"stop_loss": Decimal(98), "tag": "none"}, ["NO_POSITION"]),
        ({"stop_loss": None, "horizon": "SWING"}, []),
    ],
)
def test_levels_change_where_there_is_a_position_and_on_their_own_side(
    change: dict[str, Any], expected: list[str]
) -> None:
    intent = msgspec.structs.replace(replace(an_exit(), effect=MODIFY), **change)

    assert codes(intent, a_dark_picture(a_position()), TIGHT) == expected


def test_who_averages_in_keeps_the_recorded_stop_and_needs_no_new_one() -> None:
    intent = replace(an_intent(), stop_loss=None)
    protected = replace(a_position(), stop_loss=Decimal(99))

    assert codes(intent, replace(a_picture(), positions=(protected,))) == []
    assert codes(intent, replace(a_picture(), positions=(a_position(),))) == ["STOP_MISSING"]
    assert codes(replace(intent, tag="other"), replace(a_picture(), positions=(protected,))) == ["STOP_MISSING"]


# --- properties -------------------------------------------------------------------------------

MONEY = st.none() | st.decimals("0", "2000", places=2)
SHARES = st.none() | st.decimals("0", "1.5", places=3)
COUNTS = st.none() | st.integers(0, 4)
LIMITS = st.builds(
    RiskLimits,
    max_order_notional_usd=MONEY,
    max_position_size_usd=MONEY,
    max_position_size=SHARES,
    max_positions=COUNTS,
    max_positions_per_symbol=COUNTS,
    max_positions_per_strategy=COUNTS,
    max_exposure_pct=SHARES,
    max_exposure_usd=MONEY,
    min_buying_power_reserve_usd=MONEY,
    oversize=st.sampled_from(["refuse", "clamp"]),
)
HOLDINGS = st.lists(
    st.builds(
        a_position,
        st.decimals("-9", "9", places=3).filter(bool).map(str),
        strategy=st.sampled_from(["alpha", "beta"]),
        symbol=st.sampled_from(["SPY", "QQQ"]),
        tag=st.sampled_from(["t", "u"]),
    ),
    max_size=4,
    unique_by=lambda held: (held.strategy, held.symbol, held.tag),
).map(tuple)
PICTURES = st.builds(
    replace,
    st.just(a_picture()),
    positions=HOLDINGS,
    equity=MONEY,
    cash=MONEY,
    last_price=st.decimals("90", "110", places=2),
)
ENTRIES = st.one_of(
    st.builds(replace, st.just(an_intent()), quantity=st.decimals("0.0001", "20", places=4)),
    st.builds(replace, st.just(an_intent()), quantity=st.none(), size_pct=st.decimals("0.001", "1", places=3)),
)


def gross(positions: tuple[Position, ...], is_meant: Callable[[Position], bool] = lambda _: True) -> Decimal:
    return sum((abs(held.quantity) * held.average_price for held in positions if is_meant(held)), ZERO)


@given(ENTRIES, PICTURES, LIMITS)
def test_no_approved_entry_breaks_a_limit(intent: Intent, picture: RiskPicture, limits: RiskLimits) -> None:
    judgement = judge(intent, picture, limits)
    if not judgement.is_approved:
        assert judgement.quantity == ZERO
        return
    held = picture.positions
    notional = judgement.quantity * max(intent.reference_price, picture.last_price or ZERO)
    own = gross(held, lambda one: (one.strategy, one.symbol) == ("alpha", "SPY")) + notional
    keys = {(one.strategy, one.symbol, one.tag) for one in held}
    is_new = ("alpha", "SPY", "t") not in keys

    assert judgement.quantity >= limits.quantity_step
    assert judgement.quantity % limits.quantity_step == ZERO
    assert intent.quantity is None or judgement.quantity <= intent.quantity
    for limit, value in (
        (limits.max_order_notional_usd, notional),
        (limits.max_position_size_usd, own),
        (limits.max_exposure_usd, gross(held) + notional),
    ):
        assert limit is None or value <= limit
    for share, value in ((limits.max_position_size, own), (limits.max_exposure_pct, gross(held) + notional)):
        assert share is None or (picture.equity is not None and value <= share * picture.equity)
    for most, count in (
        (limits.max_positions, len(keys)),
        (limits.max_positions_per_symbol, sum(1 for key in keys if key[1] == "SPY")),
        (limits.max_positions_per_strategy, sum(1 for key in keys if key[0] == "alpha")),
    ):
        assert most is None or not is_new or count < most
    assert picture.cash is None or notional + (limits.min_buying_power_reserve_usd or ZERO) <= picture.cash


ODD = st.decimals(allow_nan=True, allow_infinity=True) | st.none()


ODD_INTENTS = st.builds(
    replace,
    st.just(an_intent()),
    quantity=ODD,
    size_pct=ODD,
    limit_price=ODD,
    stop_loss=ODD,
    take_profit=ODD,
    reference_price=st.decimals(allow_nan=True),
    effect=st.sampled_from(Effect),
    order_type=st.sampled_from(OrderType),
)


@given(ODD_INTENTS)
def test_whatever_figures_come_the_gate_answers(intent: Intent) -> None:
    judgement = judge(intent, a_picture(), RiskLimits(max_exposure_usd=Decimal(500), oversize="clamp"))

    assert judgement.quantity.is_finite()
    assert ZERO <= judgement.quantity <= Decimal(5)
    assert judgement.is_approved or judgement.quantity == ZERO


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"quantity": Decimal(10**12)}, "SIZE"),
        ({"quantity": Decimal(10**14), "limit_price": Decimal("0.01"), "stop_loss": Decimal("0.009")}, "SIZE"),
        ({"take_profit": Decimal("1e999998")}, "MALFORMED"),
        ({"take_profit": Decimal("1e999999"), "effect": MODIFY, "quantity": None}, "MALFORMED"),
        ({"limit_price": Decimal(10**13), "effect": CLOSE, "side": SELL, "quantity": None}, "MALFORMED"),
        ({"quantity": Decimal(10**13), "limit_price": Decimal("0.01"), "stop_loss": Decimal("0.009")}, "SIZE"),
    ],
)
def test_what_the_books_could_not_count_is_no_order(change: dict[str, Any], code: str) -> None:
    kind = OrderType.LIMIT if "limit_price" in change else OrderType.MARKET
    picture = replace(a_picture(), positions=(a_position(),), cash=None)

    assert codes(replace(an_intent(), order_type=kind, **change), picture) == [code]


def test_an_exit_of_more_than_can_be_counted_closes_what_is_held() -> None:
    judgement = judge(replace(an_exit(), quantity=Decimal("1e30")), a_dark_picture(a_position()), TIGHT)

    assert judgement.quantity == Decimal(2)


@given(HOLDINGS, st.decimals("0.001", "30", places=3), st.sampled_from(Side))
def test_no_exit_is_larger_than_its_position(positions: tuple[Position, ...], quantity: Decimal, side: Side) -> None:
    intent = replace(an_exit(), quantity=quantity, side=side)

    judgement = judge(intent, a_dark_picture(*positions), TIGHT)

    held = [one for one in positions if (one.strategy, one.symbol, one.tag) == ("alpha", "SPY", "t")]
    if judgement.is_approved:
        assert judgement.quantity == min(quantity, abs(held[0].quantity))
        assert held[0].quantity * side.sign < ZERO


def test_codes_are_named_once() -> None:
    names = [check.code for check in CHECKS]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("figure", ["NaN", "Infinity", "-1"])
def test_limits_that_are_no_limits_are_refused(figure: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="max_exposure_usd"):
        msgspec.convert({"max_exposure_usd": figure}, RiskLimits)


def test_limits_are_read_from_plain_numbers() -> None:
    limits = msgspec.convert({"max_exposure_pct": 0.8, "max_positions": 3, "max_order_notional_usd": 50}, RiskLimits)

    assert (limits.max_exposure_pct, limits.max_order_notional_usd) == (Decimal("0.8"), Decimal(50))


def test_sizes_follow_from_risk_and_share_and_round_down() -> None:
    by_risk = quantity_of_risk(Decimal("1.2"), Decimal(470), Decimal("0.003"), Decimal(50))
    by_share = quantity_of_share(Decimal("0.03"), Decimal(200), Decimal(470))

    assert (by_risk, by_share) == (Decimal("0.106"), Decimal("0.012"))
