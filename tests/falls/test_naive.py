"""The oracle is worth something: what is known to duplicate and to lose orders is convicted, with real kills."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from tests.exchange.hand import Exchange
from tests.falls.naive import SYMBOL, Claimed
from tests.falls.oracle import Claim, Verdict, try_claims

pytestmark = [pytest.mark.kill, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
ORDERS = 12
#: A part of the requests is taken in 50 to 450 ms late, whatever became of who sent them.
LATE = {"submit.late": 0.3, "submit.late_cut": 0.1, "submit.drop_reply": 0.1}
CASES = {
    "p0 kraken": LATE,
    "p1 kraken": LATE,
    "p1 alpaca": LATE,
    "p2 kraken": {"submit.late": 0.2, "submit.late_cut": 0.5},
    "p3_deaf kraken": LATE,
    "p3 kraken": LATE,
}


class Outcome(NamedTuple):
    kills: int
    verdict: Verdict


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    """Run every path at once, each against an exchange of its own, until it has sent all of its orders."""
    found: dict[str, Outcome] = {}
    with ExitStack() as stack:
        running = {}
        for case, rates in CASES.items():
            protocol, rules = case.split()
            exchange = stack.enter_context(Exchange(rules))
            exchange.mark(SYMBOL, "100")
            exchange.rates(rates, seed=7)
            folder = tmp_path_factory.mktemp(protocol)
            options = msgspec.json.encode(exchange.options()).decode()
            command = [sys.executable, "-m", "tests.falls.naive", protocol, str(folder), "7", str(ORDERS), options]
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            running[case] = (exchange, folder, process)
        for case, (exchange, folder, process) in running.items():
            said, _ = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0
            claims = msgspec.json.decode((folder / "claims").read_bytes(), type=list[Claimed])
            dump = exchange.settled()
            tried = {each.order: Claim(frozenset(each.names), each.filled, each.filled) for each in claims}
            assert len(tried) == ORDERS
            found[case] = Outcome(int(said), try_claims(tried, dump))
        yield found


@pytest.mark.parametrize("case", ["p0 kraken", "p1 kraken", "p2 kraken"])
def test_sending_without_a_record_or_again_without_a_fence_duplicates_orders(
    case: str, outcomes: dict[str, Outcome]
) -> None:
    assert outcomes[case].kills > ORDERS // 2
    assert outcomes[case].verdict.duplicated


def test_a_refusal_behind_the_deadline_that_is_taken_for_success_loses_orders(outcomes: dict[str, Outcome]) -> None:
    assert outcomes["p3_deaf kraken"].verdict.lost
    assert not outcomes["p3_deaf kraken"].verdict.duplicated


@pytest.mark.parametrize("case", ["p3 kraken", "p1 alpaca"])
def test_a_fence_or_names_that_are_unique_for_ever_let_a_retry_be_safe(case: str, outcomes: dict[str, Outcome]) -> None:
    assert outcomes[case].kills > ORDERS // 2
    assert outcomes[case].verdict == Verdict((), ())
