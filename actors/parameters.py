"""A strategy's parameters held against its own ``Parameters`` Struct: every fault, each with its key."""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any

import msgspec
from msgspec import inspect
from msgspec.structs import FieldInfo

_TIME = re.compile(r"[0-9]{1,2}:[0-9]{2}")
_SHORT_TIME = re.compile(r"[0-9]:[0-9]{2}")
_TYPE_WORDS = re.compile(r"Expected `[^`]*`, got `[^`]*`")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_WORDS: dict[type[inspect.Type], str] = {
    inspect.BoolType: "write true or false",
    inspect.IntType: "write a whole number",
    inspect.FloatType: "write a number",
    inspect.DecimalType: "write a number",
    inspect.NoneType: "leave it out",
}


class ParameterFault(msgspec.Struct, frozen=True):
    """One fault. ``key`` is "" where no single parameter is to blame.

    Of ``fault`` and ``expected`` the first is "" where "got VALUE" says enough.
    """

    key: str
    fault: str
    expected: str
    is_unknown: bool = False


def parameter_names(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """Name the keys that the Struct knows, in its order."""
    return tuple(field.encode_name for field in msgspec.structs.fields(kind))


def parameter_faults(kind: type[msgspec.Struct], values: Mapping[str, Any]) -> tuple[ParameterFault, ...]:
    """Check plain values against a strategy's Struct.

    Each key is checked on its own, so that one wrong value hides no other; what the Struct itself objects to
    (``__post_init__``) comes after that, with the parameter that its words name first.
    """
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    faults = [ParameterFault(key, "unknown key", "", is_unknown=True) for key in values if key not in fields]
    good: dict[str, Any] = {}
    for key, field in fields.items():
        if key not in values:
            if field.required:
                faults.append(ParameterFault(key, "missing", f"the strategy needs it; {_expected(field)}"))
            continue
        expected = _field_fault(field, values[key])
        if expected:
            faults.append(ParameterFault(key, "", expected))
        else:
            good[key] = values[key]
    is_whole = all(key in good for key, field in fields.items() if field.required)
    return (*faults, *(_struct_faults(kind, good, len(good) < len(values)) if is_whole else ()))


def settled(kind: type[msgspec.Struct], values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the values with each time of day written in full: 9:30 becomes 09:30."""
    times = {field.encode_name for field in msgspec.structs.fields(kind) if _is_time(field)}
    return {key: f"0{value}" if key in times and _is_short_time(value) else value for key, value in values.items()}


def _is_time(field: FieldInfo) -> bool:
    is_named_so = field.encode_name.endswith("_time")
    return (is_named_so and field.type is str) or (
        isinstance(field.default, str) and bool(_TIME.fullmatch(field.default))
    )


def _is_short_time(value: Any) -> bool:
    return isinstance(value, str) and bool(_SHORT_TIME.fullmatch(value))


def _field_fault(field: FieldInfo, value: Any) -> str:
    """Say what the field wants where the value is not it, else ""."""
    if isinstance(value, float) and not isfinite(value):
        return "write a finite number"
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        words = str(error).split(" - at `$")[0]
        return (
            _expected(field)
            if _TYPE_WORDS.fullmatch(words) or words.startswith("Invalid enum")
            else _without_ticks(words)
        )
    return ""


def _struct_faults(kind: type[msgspec.Struct], good: Mapping[str, Any], has_bad: bool) -> Iterable[ParameterFault]:
    """Give what the Struct's own check objects to: of the values together, and of each one alone."""
    together = _objection(kind, good)
    if not together:
        return
    names = parameter_names(kind)
    required = {field.encode_name for field in msgspec.structs.fields(kind) if field.required}
    told: set[str] = set()
    for key in good:
        alone = _objection(kind, {name: value for name, value in good.items() if name == key or name in required})
        if alone and _named(alone, names) == [key]:
            told.add(alone)
            yield ParameterFault(key, alone, "")
    if together not in told and not (has_bad and told):
        named = [name for name in _named(together, names) if name in good]
        # With a wrong value left out, its default stands in: only an objection to values that are there counts.
        if named or not has_bad:
            yield ParameterFault(named[0] if named else "", together, "")


def _objection(kind: type[msgspec.Struct], values: Mapping[str, Any]) -> str:
    try:
        msgspec.convert(values, kind)
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, AssertionError) as error:
        return " ".join(_without_ticks(str(error).split(" - at `$")[0]).split()) or type(error).__name__
    return ""


def _named(words: str, names: tuple[str, ...]) -> list[str]:
    """List the parameters that the words name, in the order of naming."""
    return list(dict.fromkeys(word for word in _WORD.findall(words) if word in names))


def _without_ticks(words: str) -> str:
    return words.replace("`", "")


def _expected(field: FieldInfo) -> str:
    if isinstance(field.default, str) and _TIME.fullmatch(field.default):
        return f'write "{field.default}" with quotes'
    if field.encode_name.endswith("_time"):
        return 'write a time such as "15:55" with quotes'
    return _type_words(inspect.type_info(field.type))


def _type_words(kind: inspect.Type) -> str:  # noqa: PLR0911 - one return a kind of type
    match kind:
        case inspect.Metadata(type=inner):
            return _type_words(inner)
        case inspect.StrType():
            return "write text, with quotes"
        case inspect.LiteralType(values=values):
            return f"write one of {', '.join(str(value) for value in values)}"
        case inspect.EnumType(cls=cls):
            return f"write one of {', '.join(_member_word(member) for member in cls)}"
        case inspect.UnionType(types=kinds):
            words = (_type_words(inner) for inner in kinds if not isinstance(inner, inspect.NoneType))
            return ", or ".join(dict.fromkeys(words))
        case (
            inspect.ListType()
            | inspect.VarTupleType()
            | inspect.TupleType()
            | inspect.SetType()
            | inspect.FrozenSetType()
        ):
            return "write a list"
        case _:
            return _PLAIN_WORDS.get(type(kind), f"write {type(kind).__name__.removesuffix('Type').lower()}")


def _member_word(member: Enum) -> str:
    return str(member.value) if not isinstance(member.value, Decimal) else f"{member.value:f}"
