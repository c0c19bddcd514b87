"""The verbs of the control socket as data: who may send each, and what it takes.

A new verb is a row here, and a method of that name in ``Console``'s own table; without either the console does not
start. A verb has exactly one role, and arguments that it does not name are refused.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from desk.units import CONTEXT

#: What may be written into a log or a record of a request.
Text = Annotated[str, msgspec.Meta(max_length=1000)]
Name = Annotated[str, msgspec.Meta(max_length=200)]


class Role(IntEnum):
    """What a client may do: look, also run the desk from hour to hour, also change what it is and end it."""

    READ = 1
    OPERATE = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """The role as files and answers write it."""
        return self.name.lower()


ROLES: Mapping[str, Role] = {role.word: role for role in Role}


class Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every verb's arguments; alone it is that of a verb that takes none."""


class Reasoned(Arguments, frozen=True, kw_only=True):
    """A change, and why; "" where nobody said."""

    reason: Text = ""


class OfPart(Arguments, frozen=True, kw_only=True):
    """A look at one path of the tree, or at everything where ``path`` is ""."""

    path: Name = ""


class OfStrategy(Reasoned, frozen=True, kw_only=True):
    """A change of one strategy."""

    name: Name


class Reload(Reasoned, frozen=True, kw_only=True):
    """The file anew; with ``dry_run`` nothing is applied."""

    dry_run: bool = False


class Disabling(OfStrategy, frozen=True, kw_only=True):
    """A strategy put away, and what becomes of its position; "" leaves that to the configuration."""

    position: Literal["", "hold", "flatten"] = ""


class OfPath(Reasoned, frozen=True, kw_only=True):
    """A change of one process, by its path in the tree."""

    path: Name


class OfSome(Reasoned, frozen=True, kw_only=True):
    """A change of one strategy, or of all where ``name`` is ""."""

    name: Name = ""


class Swap(OfStrategy, frozen=True, kw_only=True):
    """New code for a strategy, and how many bars it is tried for."""

    bars: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1


class Resolve(Reasoned, frozen=True, kw_only=True):
    """What a person found out about an order that is UNKNOWN; ``quantity``, ``price`` and ``fee`` of what filled."""

    order: Name
    outcome: Literal["never", "cancelled", "filled"]
    quantity: Decimal | None = None
    price: Decimal | None = None
    fee: Decimal = Decimal(0)


class Flatten(Reasoned, frozen=True, kw_only=True):
    """Positions to close at the market: of a strategy, of a symbol, of both, or all."""

    strategy: Name = ""
    symbol: Name = ""


class Capital(Reasoned, frozen=True, kw_only=True):
    """Cash that came into the account or left it, > 0 in account currency, as text or a number."""

    action: Literal["deposit", "withdraw"]
    amount: Decimal


class Adoption(Reasoned, frozen=True, kw_only=True):
    """What stands under EXTERNAL, and which strategy gets it. ``quantity`` is > 0, also of what is missing."""

    symbol: Name
    quantity: Decimal
    strategy: Name
    tag: Name = ""
    stop_loss: Decimal | None = None


class Verb(NamedTuple):
    """One verb. ``arguments`` is the Struct that its arguments are read as.

    ``is_change``: it is recorded before it takes effect, and carried out once; what only looks is answered anew.
    ``is_repeatable``: after a fall of the console in the middle of it, the same request may be carried out again,
    because twice does what once does (root itself carries out a request once).
    ``is_never_barred``: it is carried out even where it cannot be recorded.
    """

    role: Role
    arguments: type[Arguments]
    is_change: bool = True
    is_repeatable: bool = True
    is_never_barred: bool = False


VERBS: Mapping[str, Verb] = {
    "ping": Verb(Role.READ, Arguments, is_change=False),
    "status": Verb(Role.READ, OfPart, is_change=False),
    "enable": Verb(Role.OPERATE, OfStrategy),
    "disable": Verb(Role.OPERATE, Disabling),
    "restart": Verb(Role.OPERATE, OfPath),
    "reload": Verb(Role.ADMIN, Reload),
    "cancel": Verb(Role.OPERATE, OfSome),
    "flatten": Verb(Role.OPERATE, Flatten),
    "resolve": Verb(Role.ADMIN, Resolve),
    "halt": Verb(Role.OPERATE, Reasoned, is_never_barred=True),
    "resume": Verb(Role.ADMIN, Reasoned, is_repeatable=False),
    "capital": Verb(Role.ADMIN, Capital),
    "adopt": Verb(Role.ADMIN, Adoption),
    "reconcile": Verb(Role.OPERATE, Reasoned),
    "accept": Verb(Role.ADMIN, Reasoned),
    "swap": Verb(Role.ADMIN, Swap),
    "release": Verb(Role.ADMIN, OfStrategy),
    "stop": Verb(Role.ADMIN, Reasoned, is_never_barred=True),
}


def read_arguments(verb: Verb, arguments: Mapping[str, Any]) -> Arguments | str:
    """Read a verb's arguments; where they do not fit, say what it takes."""
    try:
        found = msgspec.convert(arguments, type=verb.arguments)
    except ValueError as error:
        taken = ", ".join(verb.arguments.__struct_fields__) or "nothing"
        return f"arguments that do not fit: {error}; it takes {taken}"
    beyond = [name for name in found.__struct_fields__ if _is_beyond_counting(getattr(found, name))]
    return f"{beyond[0]} has more digits than the books can count" if beyond else found


def _is_beyond_counting(value: object) -> bool:
    """Say whether arithmetic on a figure would overflow or lose digits. What is no number at all its verb refuses."""
    if not isinstance(value, Decimal) or not value.is_finite():
        return False
    return len(value.as_tuple().digits) > CONTEXT.prec or abs(value.adjusted()) > CONTEXT.prec
