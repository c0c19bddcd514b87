"""The wire takes its own words, and nothing else."""

from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.codec import WIRE_VERSION, Codec
from runtime.errors import WireError
from runtime.words import RUNTIME_WORDS, Hello, Peer, PeersChanged, RootAsked, StopAsked, Turn, Watched, Word

CODEC = Codec(RUNTIME_WORDS)
WORDS: tuple[type[Word], ...] = get_args(RUNTIME_WORDS)

INTEGERS = st.integers(-(2**63), 2**64 - 1)
PLAIN = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False) | st.text() | st.binary()
OBJECTS = st.dictionaries(
    st.text(), st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(),
    int: INTEGERS,
    bytes: st.binary(),
    bool: st.booleans(),
    dict[str, object]: OBJECTS,
    dict[str, int]: st.dictionaries(st.text(), INTEGERS),
    tuple[Peer, ...]: st.lists(st.builds(Peer, st.text(), INTEGERS, st.text())).map(tuple),
}


def words_of(kind: type[Word]) -> st.SearchStrategy[Word]:
    hints = get_type_hints(kind)
    return st.builds(kind, *(FIELDS[hints[name]] for name in kind.__struct_fields__))


FIELDS[tuple[Watched, ...]] = st.lists(words_of(Watched)).map(tuple)


@settings(deadline=None, max_examples=60)
@given(word=st.one_of([words_of(kind) for kind in WORDS]))
def test_every_word_comes_back_as_it_went(word: Word) -> None:
    assert CODEC.decode(CODEC.encode(word)) == word


@settings(deadline=None)
@given(data=st.binary())
def test_garbage_is_a_word_or_refused_and_never_another_error(data: bytes) -> None:
    try:
        word = CODEC.decode(bytes([WIRE_VERSION]) + data)
    except WireError:
        return
    assert isinstance(word, Word)


@settings(deadline=None)
@given(word=st.one_of([words_of(kind) for kind in WORDS]), place=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_is_a_word_or_refused_and_never_another_error(word: Word, place: int, bit: int) -> None:
    data = bytearray(CODEC.encode(word))
    data[place % len(data)] ^= 1 << bit

    try:
        heard = CODEC.decode(bytes(data))
    except WireError:
        return
    assert isinstance(heard, Word)


@settings(deadline=None, max_examples=50)
@given(word=st.one_of([words_of(kind) for kind in WORDS]), share=st.floats(0, 1, exclude_max=True))
def test_a_word_cut_short_is_refused(word: Word, share: float) -> None:
    data = CODEC.encode(word)

    with pytest.raises(WireError):
        CODEC.decode(data[: int(len(data) * share)])


def packed(*items: object) -> bytes:
    return bytes([WIRE_VERSION]) + msgspec.msgpack.encode(items)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(bytes([WIRE_VERSION]), id="only-the-version"),
        pytest.param(bytes([WIRE_VERSION + 1]) + CODEC.encode(Hello())[1:], id="another-version"),
        pytest.param(CODEC.encode(Hello())[1:], id="no-version"),
        pytest.param(packed("rt.nothing"), id="unknown-tag"),
        pytest.param(packed(), id="no-tag"),
        pytest.param(packed("rt.ask", "request", "verb"), id="missing-field"),
        pytest.param(packed("rt.ask", "request", 7, {}), id="wrong-type"),
        pytest.param(packed("rt.turn", 1, 2, "3", b""), id="text-for-a-number"),
        pytest.param(CODEC.encode(Hello()) + b"\x00", id="something-behind"),
        pytest.param(bytes([WIRE_VERSION]) + b'["rt.hello"]', id="JSON"),
        pytest.param(CODEC.encode(RootAsked("?", "v", {})).replace(b"?", b"\xff"), id="text-that-is-not-UTF-8"),
        pytest.param(CODEC.encode(RootAsked("r", "v", {"?": 1})).replace(b"?", b"\xff"), id="key-that-is-not-UTF-8"),
    ],
)
def test_what_is_no_word_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        CODEC.decode(data)


def test_a_word_nested_beyond_all_measure_is_refused() -> None:
    nested = b"\x91" * 100_000 + b"\xc0"
    data = CODEC.encode(RootAsked("r", "v", {"deep": None})).removesuffix(b"\xc0") + nested

    with pytest.raises(WireError):
        CODEC.decode(data)


def test_a_word_of_another_wire_is_refused() -> None:
    few = Codec(Hello | StopAsked)

    with pytest.raises(WireError):
        few.decode(CODEC.encode(PeersChanged(1, ())))


def test_a_word_carries_its_tag_and_not_the_names_of_its_fields() -> None:
    data = CODEC.encode(Turn(1, 2, 3, b"four"))

    assert msgspec.msgpack.decode(data[1:]) == ["rt.turn", 1, 2, 3, b"four"]
