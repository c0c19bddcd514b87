"""The operator's side of the control socket, at the local door and at the guarded one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import msgspec

from actors.control_keys import read_key_file, why_not
from runtime.bus import Bus
from runtime.bus.frames import Socket
from runtime.bus_words import Address
from runtime.clock import NS_PER_MS, NS_PER_S, Clock
from runtime.ids import fresh_id

#: How long an answer is waited for.
ASK_S = 10.0
#: How long one try waits before the same request (same id) is sent again; the console may be starting anew.
TRY_MS = 1000
#: Failed proofs of the other side's key after which it is somebody else, not a desk that is just starting anew.
STRANGE_TRIES_MAX = 3


class DeskDownError(Exception):
    """No desk answers on this state folder, or at this address."""


class VerbRefusedError(Exception):
    """The desk refused the verb; the text says why, ``code`` what kind of refusal it is."""

    def __init__(self, words: str, code: str = "refused") -> None:
        """Take the answer's words and code."""
        super().__init__(words)
        self.code = code


class Remote(NamedTuple):
    """A desk that is reached with a key: the key's file, and the address of its door ("": the file says it)."""

    key_file: Path
    connect: str = ""


def ask(
    state: Path, verb: str, arguments: Mapping[str, Any], clock: Clock, patience_s: float = ASK_S
) -> dict[str, Any]:
    """Send one verb to the running desk and give its answer.

    Raises:
        DeskDownError: There is no desk, it does not answer in time, or it is another user's.
        VerbRefusedError: The desk said no.
    """
    endpoints = state / "endpoints"
    try:
        folder = Path(endpoints.read_text(encoding="utf-8").strip())
    except PermissionError as error:
        msg = f"{endpoints} is not for this user to read, so nothing was asked; do it as the desk's own user"
        raise DeskDownError(msg) from error
    except OSError as error:
        msg = f"no desk runs on {state}; start one with: bulkhead run --state {quote(str(state))}"
        raise DeskDownError(msg) from error
    except ValueError as error:
        raise DeskDownError(_no_folder(endpoints)) from error
    bus = Bus(folder, Address("operator", 0))
    try:
        socket = bus.control_client()
    except ValueError as error:
        bus.close()
        raise DeskDownError(_no_folder(endpoints)) from error
    try:
        result = _converse(socket, verb, arguments, clock, endpoints.exists, patience_s)
    finally:
        bus.close()
    if result is None:
        msg = f"the desk on {state} does not answer; is it running? Its log is {state / 'log' / 'root.log'}"
        raise DeskDownError(msg)
    return result


def _no_folder(endpoints: Path) -> str:
    return f"{endpoints} names no folder of sockets, so nothing was asked; a desk writes it anew when it is started"


def ask_remote(
    remote: Remote, verb: str, arguments: Mapping[str, Any], clock: Clock, patience_s: float = ASK_S
) -> dict[str, Any]:
    """Send one verb to a desk's guarded door and give its answer.

    Raises:
        DeskDownError: The key file cannot be used, nobody answers in time, or the door refuses the key.
        VerbRefusedError: The desk said no.
    """
    try:
        keys = read_key_file(remote.key_file)
    except (OSError, ValueError) as error:
        msg = f"{why_not(error)}; nothing was asked"
        raise DeskDownError(msg) from error
    url = remote.connect or keys.connect
    if not url:
        msg = f"{remote.key_file} does not say where the desk is; name it with --connect tcp://127.0.0.1:PORT"
        raise DeskDownError(msg)
    bus = Bus(Path(), Address("operator", 0))
    refusals: list[bool] = []
    try:
        client = bus.guarded_client(url, keys.server, (keys.public, keys.secret))

        def is_hopeful() -> bool:
            refusals.extend(client.refusals())
            return not any(refusals) and len(refusals) < STRANGE_TRIES_MAX

        result = _converse(client.socket, verb, arguments, clock, is_hopeful, patience_s)
    except ValueError as error:
        msg = f"{url} is no address, or {remote.key_file} holds no key: {error}; nothing was asked"
        raise DeskDownError(msg) from error
    finally:
        bus.close()
    if result is None:
        strange = "whoever is there has another key than the key file says, or is no desk"
        why = "the desk does not list this key" if any(refusals) else strange if refusals else "nobody answers"
        msg = f"{url} with {remote.key_file}: {why}"
        raise DeskDownError(msg)
    return result


def _text(value: Any) -> Any:
    """Give a word of the command line as text, also one that was typed in another encoding than the terminal's."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _converse(
    socket: Socket[bytes],
    verb: str,
    arguments: Mapping[str, Any],
    clock: Clock,
    is_hopeful: Callable[[], bool],
    patience_s: float,
) -> dict[str, Any] | None:
    """Send a request again and again under one id until its answer comes; None where it does not."""
    request = {
        "v": 1,
        "id": fresh_id(),
        "verb": verb,
        "arguments": {key: _text(value) for key, value in arguments.items()},
        "at": clock.wall_ns() // NS_PER_MS,
    }
    data = msgspec.json.encode(request)
    deadline_ns = clock.monotonic_ns() + int(patience_s * NS_PER_S)
    while clock.monotonic_ns() < deadline_ns and is_hopeful():
        socket.send(data)
        if socket.poll(TRY_MS):  # a door that refuses us says nothing here
            reply: dict[str, Any] = msgspec.json.decode(socket.recv())
            if reply["error"]:
                raise VerbRefusedError(reply["error"], reply.get("code", "refused"))
            return reply["result"]
    return None
