"""Risk's room."""

from decimal import Decimal
from pathlib import Path

from msgspec.structs import replace

from actors.risk import Risk
from actors.settings import DeskLimits, RiskConfig
from actors.words import desk_codec
from desk.messages import IntentJudged
from runtime.effects import Effects
from runtime.folder import Sentinel
from runtime.store import Store
from tests.desk.orders import an_intent
from tests.runtime.fakes import HandClock

NAMES = ("alpha", "beta", "gamma")


def test_after_a_fall_verdicts_are_said_again_in_the_order_in_which_they_were_judged(tmp_path: Path) -> None:
    codec = desk_codec()
    ledger = Store.open(tmp_path / "ledger", is_synced=False)
    store = Store.open(tmp_path / "risk", is_synced=False)
    effects = Effects()
    for order_id, name in zip(("o9", "o5", "o1"), NAMES, strict=True):  # their names sort the other way round
        judged = IntentJudged(order_id, replace(an_intent(), intent_id=order_id, strategy=name), Decimal(1), (), 0)
        effects.put("unbooked", order_id.encode(), codec.encode(judged))
    store.commit(effects.writes)

    room = Risk(
        limits={name: RiskConfig() for name in NAMES},
        desk_limits=DeskLimits(),
        store=store,
        ledger=ledger,
        codec=codec,
        clock=HandClock(),
        sentinel=Sentinel(tmp_path),
        is_stepped=True,
    )
    said = [post.word for post in room.recover().posts]

    assert [word.intent.strategy for word in said if isinstance(word, IntentJudged)] == list(NAMES)
    store.close()
    ledger.close()
