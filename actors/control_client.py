"""The operator's side of the control socket."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from runtime.bus import Address, Bus
from runtime.clock import NS_PER_S, Clock
from runtime.ids import fresh_id

#: How long an answer is waited for.
ASK_S = 10.0
#: How long one try waits before the same request (same id) is sent again; the console may be starting anew.
TRY_MS = 1000


class DeskDownError(Exception):
    """No desk answers on this state folder."""


class VerbRefusedError(Exception):
    """The desk refused the verb; the text says why."""


def ask(
    state: Path, verb: str, arguments: Mapping[str, Any], clock: Clock, patience_s: float = ASK_S
) -> dict[str, Any]:
    """Send one verb to the running desk and give its answer.

    Raises:
        DeskDownError: There is no desk, or it does not answer in time.
        VerbRefusedError: The desk said no.
    """
    endpoints = state / "endpoints"
    try:
        folder = Path(endpoints.read_text(encoding="utf-8").strip())
    except OSError as error:
        msg = f"no desk runs on {state}; start one with: bulkhead run --state {state}"
        raise DeskDownError(msg) from error
    request = {"v": 1, "id": fresh_id(), "verb": verb, "arguments": dict(arguments)}
    data = msgspec.json.encode(request)
    bus = Bus(folder, Address("operator", 0))
    try:
        socket = bus.control_client()
        deadline_ns = clock.monotonic_ns() + int(patience_s * NS_PER_S)
        while clock.monotonic_ns() < deadline_ns and endpoints.exists():
            socket.send(data)
            if socket.poll(TRY_MS):
                reply: dict[str, Any] = msgspec.json.decode(socket.recv())
                if reply["error"]:
                    raise VerbRefusedError(reply["error"])
                return reply["result"]
    finally:
        bus.close()
    msg = f"the desk on {state} does not answer; is it running? Its log is {state / 'log' / 'root.log'}"
    raise DeskDownError(msg)
