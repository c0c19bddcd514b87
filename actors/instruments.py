"""What a venue told of its instruments: kept by execution, read by risk, so that sizes fit when they are judged."""

import msgspec

from desk.venue import Instrument
from runtime.effects import Effects
from runtime.store import Reader

_TABLE = "instrument"


def keep_instrument(venue: str, instrument: Instrument, effects: Effects) -> None:
    """Keep what a venue said of one instrument; what it said before is replaced."""
    effects.put(_TABLE, _key(venue, instrument.symbol), msgspec.msgpack.encode(instrument))


def kept_instruments(store: Reader, venue: str) -> dict[str, Instrument]:
    """Give what a venue has said, by symbol."""
    found = (msgspec.msgpack.decode(data, type=Instrument) for _, data in store.scan(_TABLE, _key(venue, "")))
    return {each.symbol: each for each in found}


def kept_instrument(store: Reader, venue: str, symbol: str) -> Instrument | None:
    """Give what a venue has said of one symbol, None where nothing."""
    data = store.get(_TABLE, _key(venue, symbol))
    return None if data is None else msgspec.msgpack.decode(data, type=Instrument)


def _key(venue: str, symbol: str) -> bytes:
    return f"{venue}\0{symbol}".encode()
