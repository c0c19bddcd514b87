"""The real desk at a fake exchange, with points at which its processes can be killed.

Run as a program: ``falling_desk.py CONFIGURATION STATE OPTIONS``, the options being those of the exchange's client and
``deadline_s`` and ``margin_s`` of its fence.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

import actors.desk
from actors.arguments import PAPER, ExecutionArguments, GatewayArguments
from actors.settings import Settings
from actors.settings_file import load
from actors.tree import Try, desk_tree
from desk.units import NS_PER_S
from desk.venue import RULES
from runtime.clock import Clock
from runtime.spec import Fence, NodeSpec, WorkerSpec
from tests.falls.rooms import VENUE, made_as

MINED = ("execution", "risk")


def falling_tree(options: Mapping[str, Any], tree: NodeSpec, settings: Settings) -> NodeSpec:
    """Give a desk's tree the makers with points, and the gateway to the fake exchange instead of the paper venue."""
    traits = RULES[str(options["rules"])]
    if traits.has_deadline:
        traits = msgspec.structs.replace(
            traits,
            deadline_ns=int(options["deadline_s"] * NS_PER_S),
            margin_ns=int(options["margin_s"] * NS_PER_S),
        )

    def changed(spec: WorkerSpec | NodeSpec, above: str) -> WorkerSpec | NodeSpec:
        path = f"{above}/{spec.id}"
        if isinstance(spec, NodeSpec):
            return msgspec.structs.replace(spec, children=tuple(changed(child, path) for child in spec.children))
        replace = msgspec.structs.replace
        if path.endswith(f"/{PAPER}"):
            told = GatewayArguments("", "", dict(options), settings.feed.symbols)
            name = VENUE.rpartition("/")[2]
            return replace(spec, id=name, entry=made_as("gateway"), arguments=msgspec.msgpack.encode(told))
        if spec.id == "execution":
            told = msgspec.msgpack.decode(spec.arguments, type=ExecutionArguments)
            told = replace(told, venue=VENUE, traits=traits)
            return replace(spec, entry=made_as("execution"), arguments=msgspec.msgpack.encode(told))
        if spec.kind == "strategy":
            assert isinstance(spec.fence, Fence), "a strategy has walls"
            return replace(spec, entry=made_as("strategy"))
        return replace(spec, entry=made_as(spec.id)) if spec.id in MINED else spec

    mined = changed(tree, "")
    assert isinstance(mined, NodeSpec), "a node stays one"
    return mined


def main() -> int:
    """Run the desk until it is told to stop."""
    file, state = Path(sys.argv[1]), Path(sys.argv[2])
    options = msgspec.json.decode(sys.argv[3])
    settings = load(file).settings
    assert settings is not None, "the harness' own configuration is well-formed"

    def tree(
        settings: Settings, file: str, code: Mapping[str, str] | None = None, tries: Sequence[Try] = ()
    ) -> NodeSpec:
        return falling_tree(options, desk_tree(settings, file, code, tries), settings)

    actors.desk.desk_tree = tree
    actors.desk.PRELOAD = (*actors.desk.PRELOAD, "tests.falls.rooms")
    return actors.desk.run_desk(
        settings, file=file, state=state, duration_s=0.0, clock=Clock(), on_round=lambda _root: None
    )


if __name__ == "__main__":
    sys.exit(main())
