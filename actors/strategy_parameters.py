"""Which parameters a strategy works with, while others are wanted. Pure."""

from typing import Any

import msgspec


def in_force_next(
    in_force: msgspec.Struct, wanted: msgspec.Struct, live: frozenset[str], *, is_flat: bool
) -> msgspec.Struct:
    """Give the parameters of the next evaluation.

    A flat strategy takes all that is wanted. Another one takes what is ``live``, and of that nothing where the mixture
    of new and old contradicts itself (a window that would end before it begins): then all waits.

    Returns:
        ``in_force`` itself where nothing changes.
    """
    if in_force == wanted:
        return in_force
    if is_flat:
        return wanted
    changed = set(changes(in_force, wanted)) & live
    if not changed:
        return in_force
    mixed = {name: getattr(wanted if said in changed else in_force, name) for name, said in _names(wanted)}
    try:
        return type(wanted)(**mixed)
    except ValueError:
        return in_force


def changes(in_force: msgspec.Struct, wanted: msgspec.Struct) -> tuple[str, ...]:
    """Name the fields that differ as the configuration names them, in their order."""
    return tuple(said for name, said in _names(wanted) if getattr(in_force, name) != getattr(wanted, name))


def _names(parameters: msgspec.Struct) -> list[tuple[str, str]]:
    kind = type(parameters)
    return list(zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True))


def plain(parameters: msgspec.Struct) -> dict[str, Any]:
    """Give parameters as plain values, as ``taken_up`` takes them."""
    return msgspec.to_builtins(parameters)


def taken_up(kind: type[msgspec.Struct], values: dict[str, Any]) -> msgspec.Struct | None:
    """Make parameters of kept values; None where the Struct has changed so that it does not take them."""
    try:
        return msgspec.convert(values, kind)
    except (ValueError, TypeError):
        return None
