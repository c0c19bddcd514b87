"""A strategy of the tests that never trades: it notes which bars it was given, and can hold the market at one."""

import select
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from typing_extensions import override

from desk.messages import Bar
from strategies.base import Decision, Instance, NoTrade, NoTradeCode, Strategy, View


class WitnessParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At bar ``hold_at`` (from 1; 0: never) it answers only when the file ``hold_until`` is there."""

    hold_at: int = 0
    hold_until: str = ""


class Witness(Strategy):
    """Notes sequences: its state is what a test reads in the end."""

    Parameters: ClassVar[type[msgspec.Struct]] = WitnessParameters
    parameters: WitnessParameters

    def __init__(self, parameters: WitnessParameters, instance: Instance) -> None:
        """Begin with nothing seen."""
        super().__init__(parameters, instance)
        self.evaluated: list[int] = []
        self.missed: list[int] = []

    @override
    def on_bar(self, bar: Bar, view: View) -> Decision:
        self.evaluated.append(bar.sequence)
        if len(self.evaluated) == self.parameters.hold_at:
            while not Path(self.parameters.hold_until).exists():
                select.select([], [], [], 0.005)
        return NoTrade(NoTradeCode.NO_SIGNAL)

    @override
    def on_missed_bar(self, bar: Bar, view: View) -> None:
        self.missed.append(bar.sequence)

    @override
    def get_state(self) -> dict[str, Any]:
        return {"evaluated": self.evaluated, "missed": self.missed}

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        self.evaluated, self.missed = state["evaluated"], state["missed"]


STRATEGY = Witness
