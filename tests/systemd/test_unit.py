"""The systemd unit: what the desk relies on, and how little its processes may do."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup

from actors.cli import EXIT_REFUSED, app
from actors.settings_file import load
from actors.tree import desk_tree
from actors.watchdog import SILENCE_NS_MAX
from runtime.clock import NS_PER_S
from runtime.root import ROUND_NS
from runtime.spec import ChildSpec, WorkerSpec
from runtime.supervision_moves import TERMINATE_NS

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "bulkhead.service"
#: The highest exposure that is borne, in systemd-analyze's figure times ten.
EXPOSURE_TENTHS_MAX = 15

IMPORTANT = {
    "Type": "notify",
    "NotifyAccess": "main",
    "KillMode": "mixed",
    "Restart": "on-failure",
    "RuntimeDirectory": "bulkhead",
    "RuntimeDirectoryMode": "0700",
    "StateDirectory": "bulkhead",
    "StateDirectoryMode": "0700",
    "UMask": "0077",
    "OOMPolicy": "continue",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "LimitCORE": "0",
}


def lines_of(unit: Path) -> dict[str, list[str]]:
    """Give {key: values} of a unit; a key may stand several times."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


LINES = lines_of(UNIT)


def seconds(key: str) -> int:
    return int(LINES[key][-1])


def patience_ns(spec: ChildSpec) -> int:
    """Say how long the orderly end of a tree may take where nobody answers."""
    if isinstance(spec, WorkerSpec):
        return spec.shutdown_ns + TERMINATE_NS
    below = [patience_ns(child) for child in spec.children]
    return max(below, default=0) if spec.start == "parallel" else sum(below)


@pytest.mark.parametrize("key", IMPORTANT)
def test_the_unit_says_what_the_desk_relies_on(key: str) -> None:
    assert LINES[key][-1] == IMPORTANT[key]


def test_the_unit_runs_a_command_that_there_is() -> None:
    program, command, *options = LINES["ExecStart"][-1].split()

    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)

    run = group.commands[command]

    assert program == "/opt/bulkhead/.venv/bin/bulkhead"
    assert set(options[::2]) <= {name for parameter in run.params for name in parameter.opts}
    assert options[options.index("--state") + 1] == f"/var/lib/{LINES['StateDirectory'][-1]}"


def test_systemd_waits_longer_than_the_orderly_end_may_take() -> None:
    settings = load(ROOT / "config" / "strategies.yaml").settings
    assert settings is not None

    needed_s = patience_ns(desk_tree(settings, "")) / NS_PER_S

    assert needed_s + 10 <= seconds("TimeoutStopSec")


def test_the_desks_own_watchdog_acts_before_systemds() -> None:
    assert seconds("WatchdogSec") * NS_PER_S >= SILENCE_NS_MAX + 10 * NS_PER_S
    assert seconds("WatchdogSec") * NS_PER_S >= 4 * ROUND_NS


def test_a_refused_start_is_not_repeated() -> None:
    assert str(EXIT_REFUSED) in LINES["RestartPreventExitStatus"][-1].split()


@pytest.mark.parametrize("family", ["AF_UNIX", "AF_INET"])
def test_the_sockets_that_the_desk_opens_are_allowed(family: str) -> None:
    assert family in LINES["RestrictAddressFamilies"][-1].split()


def test_children_may_limit_themselves() -> None:
    denied = " ".join(value for value in LINES["SystemCallFilter"] if value.startswith("~"))

    assert "@system-service" in LINES["SystemCallFilter"]
    confinement = {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"}
    assert any(confinement <= set(value.split()) for value in LINES["SystemCallFilter"])
    assert not re.search(r"@resources|@process|@ipc|prlimit|setrlimit|prctl|sched_", denied)


def test_the_unit_exposes_little() -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed here")
    command = [analyze, "security", "--offline=yes", "--no-pager", f"--threshold={EXPOSURE_TENTHS_MAX}", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze is too old to judge a unit that is not installed")

    assert done.returncode == 0, done.stdout[-500:] + done.stderr
