"""What the watchdog raises, an operator sees: in the status, in words, with exit code, and in its log."""

from pathlib import Path

import pytest

from tests.desk_run.command_line import bulkhead
from tests.desk_run.harness import Desk
from tests.desk_run.publisher import Publisher, obedient, with_obedient


@pytest.mark.slow
def test_a_strategy_over_its_soft_limit_of_memory_stands_among_the_alarms_and_its_sibling_does_not(
    tmp_path: Path,
) -> None:
    soft = "    limits: {memory_soft_mb: 1}\n"
    with Publisher() as publisher:
        text = f"strategies:\n{obedient('big', 'AAA')}{soft}{obedient('small', 'BBB')}global:\n  zmq_market_url: {publisher.url}\n"
        with Desk(with_obedient(tmp_path / "desk"), text) as desk:
            desk.start().until_up()

            status = desk.until(lambda status: status["watch"])
            said = bulkhead("status", state=desk.state)
            log = bulkhead("logs", "watchdog", "--level", "warning", state=desk.state).out

    assert [(alarm["code"], alarm["path"]) for alarm in status["watch"]] == [("memory_soft", "strategies/big")]
    assert "ALARM strategies/big uses " in said.out
    assert '"code":"memory_soft"' in log
    assert status["store"]["disk_free_bytes"] > 0
