"""Who owns which position, and what shall become of it when its owner is put away."""

from collections.abc import Mapping

from actors.arguments import Owner
from actors.settings import OnDisable
from runtime.effects import Effects
from runtime.store import Store

#: States in which somebody wanted the owner away; one in quarantine, or refused, wanted nothing of the kind.
WANTED_AWAY = frozenset({"DISABLED", "REMOVED"})
_CONFIGURED, _WISHED = "flatten", "away_wish"


class Owners:
    """The configuration's word on each strategy, also on one that is gone; an operator's word goes before it."""

    def __init__(self, store: Store, owners: Mapping[str, Owner]) -> None:
        """Read what was kept; what the configuration says now is kept with ``reconfigure``."""
        self._owners = dict(owners)
        self._flattened = {name.decode() for name, _ in store.scan(_CONFIGURED)}
        self._wishes = {name.decode(): OnDisable(data.decode()) for name, data in store.scan(_WISHED)}

    def reconfigure(self, owners: Mapping[str, Owner], effects: Effects) -> None:
        """Take what the configuration says now. Of a strategy that it does not name, its last word stays."""
        self._owners = dict(owners)
        for name, owner in owners.items():
            is_flattened = owner.on_disable is OnDisable.FLATTEN
            if is_flattened and name not in self._flattened:
                self._flattened.add(name)
                effects.put(_CONFIGURED, name.encode(), b"")
            elif not is_flattened and name in self._flattened:
                self._flattened.discard(name)
                effects.delete(_CONFIGURED, name.encode())

    def wish(self, name: str, on_disable: OnDisable | None, effects: Effects) -> None:
        """Keep an operator's word for an absence that begins or lasts; None leaves it to the configuration."""
        if on_disable is not None:
            self._wishes[name] = on_disable
            effects.put(_WISHED, name.encode(), on_disable.value.encode())
        elif self._wishes.pop(name, None) is not None:
            effects.delete(_WISHED, name.encode())

    def on_disable(self, name: str) -> OnDisable:
        """Say what becomes of the position of a strategy that is wanted away."""
        configured = OnDisable.FLATTEN if name in self._flattened else OnDisable.HOLD
        return self._wishes.get(name, configured)

    def owns(self, name: str, symbol: str) -> bool:
        """Say whether a strategy trades a symbol by the configuration."""
        owner = self._owners.get(name)
        return owner is not None and symbol in owner.symbols

    def is_foreign(self, name: str, symbol: str) -> bool:
        """Say whether a strategy does not trade a symbol any more, and so does not look after what it holds of it."""
        owner = self._owners.get(name)
        return owner is not None and symbol not in owner.symbols
