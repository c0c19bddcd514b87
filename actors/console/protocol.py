"""The control socket's protocol: what a request and its answer are, and the codes that answers carry. Pure."""

import json
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated, Any, NoReturn

import msgspec

PROTOCOL = 1
#: Largest request that is looked at; a verb has a few hundred bytes.
REQUEST_BYTES_MAX = 64 * 1024
#: Longest name that a client may give a request.
ID_LENGTH_MAX = 128
#: Largest number that every JSON library carries without loss.
NUMBER_MAX = 2**53


class Code(StrEnum):
    """What came of a request, for programs. Codes are added, and never change their meaning."""

    OK = "ok"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    UNSUPPORTED_VERSION = "unsupported_version"
    UNKNOWN_VERB = "unknown_verb"
    BAD_ARGUMENTS = "bad_arguments"
    UNAUTHORISED = "unauthorised"
    STALE = "stale"
    REPLAYED = "replayed"
    RATE_LIMITED = "rate_limited"
    REFUSED = "refused"
    NOT_RECORDED = "not_recorded"
    INTERRUPTED = "interrupted"


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request, as JSON. The same ``id`` of one client is carried out once; ``at`` is its wall time in ms."""

    v: int
    id: str
    verb: str
    arguments: dict[str, Any] = {}
    at: Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)] | None = None


class _Head(msgspec.Struct, frozen=True):
    """What says which request it is, and of which version, whatever else stands there."""

    v: Any = None
    id: Any = None


class Reply(msgspec.Struct, frozen=True):
    """The answer: ``error`` is "" and ``code`` is "ok" where the verb was carried out."""

    v: int
    id: str
    error: str
    result: dict[str, Any]
    code: str = Code.OK.value


class Fault(msgspec.Struct, frozen=True):
    """Why bytes are no request: a code, and words for a person. ``id`` is the request's where it could be read."""

    code: Code
    words: str
    id: str = ""


def reply_to(request: str, result: dict[str, Any]) -> Reply:
    """Make the answer of a verb that was carried out; ``request`` is the id."""
    return Reply(PROTOCOL, request, "", result, Code.OK.value)


def refusal_of(request: str, code: Code, words: str) -> Reply:
    """Make the answer of a request that had no effect; ``request`` is the id, "" where it could not be read."""
    return Reply(PROTOCOL, request, words, {}, code.value)


def read_request(frames: list[bytes]) -> Request | Fault:
    """Read one message of a client; where it is no request, say why not. Nothing is raised, whatever it holds.

    Refused are several frames, more than 64 KiB, what is not UTF-8 or not JSON (NaN and the infinities are not),
    a key that comes twice anywhere, another version whatever it looks like, an unknown key, a value of another type,
    and an id that is empty or too long.
    """
    if len(frames) != 1:
        return Fault(Code.MALFORMED, f"not a request: {len(frames)} frames; send one frame of JSON")
    data = frames[0]
    if len(data) > REQUEST_BYTES_MAX:
        words = f"not a request: {len(data)} bytes; a request has at most {REQUEST_BYTES_MAX}"
        return Fault(Code.TOO_LARGE, words)
    name = ""
    try:
        json.loads(data.decode("utf-8"), object_pairs_hook=_each_key_once, parse_constant=_no_number)
        head = msgspec.json.decode(data, type=_Head)
        name = head.id if isinstance(head.id, str) and len(head.id) <= ID_LENGTH_MAX else ""
        if isinstance(head.v, int) and not isinstance(head.v, bool) and head.v != PROTOCOL:
            words = f"not a request: this desk speaks version {PROTOCOL} of the protocol, not {head.v}"
            return Fault(Code.UNSUPPORTED_VERSION, words[:500], name)
        request = _REQUEST.decode(data)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and msgspec's errors are ValueErrors
        return Fault(Code.MALFORMED, f"not a request: {error}"[:500], name)
    if not 0 < len(request.id) <= ID_LENGTH_MAX:
        words = f"not a request: its id has {len(request.id)} characters; write 1 to {ID_LENGTH_MAX}"
        return Fault(Code.MALFORMED, words)
    return request


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that comes twice: two readers could take two different values."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        msg = f"the key {twice[:100]!r} comes twice"
        raise ValueError(msg)
    return found


def _exact(number: str) -> Decimal:
    """Read a number of the arguments with all its digits: it may be money."""
    try:
        return Decimal(number)
    except InvalidOperation:
        msg = f"{number[:100]} is no number that could be counted with"
        raise ValueError(msg) from None


_REQUEST = msgspec.json.Decoder(Request, float_hook=_exact)


def _no_number(word: str) -> NoReturn:
    msg = f"{word} is no number of JSON"
    raise ValueError(msg)
