"""Specs are refused at the door, in words."""

from typing import Any

import msgspec
import pytest

from runtime.restart import Backoff, RestartLimit, RestartType, Strategy
from runtime.spec import Limits, NodeSpec, WorkerSpec
from tests.runtime.process_table import node, strategy_node, worker


def changed(spec: Any, **fields: object) -> Any:
    return type(spec)(**{**msgspec.structs.asdict(spec), **fields})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"id": ""}, "an id is", id="empty-id"),
        pytest.param({"id": "a/b"}, "an id is", id="slash-in-id"),
        pytest.param({"id": "a" * 65}, "an id is", id="long-id"),
        pytest.param({"kind": ""}, "kind must not be empty", id="empty-kind"),
        pytest.param({"restart": "permanent"}, "restart must be a RestartType", id="text-for-type"),
        pytest.param({"restart": "always"}, "restart must be a RestartType", id="unknown-type"),
        pytest.param({"shutdown_ns": 0}, "shutdown_ns must be positive", id="no-shutdown"),
        pytest.param({"start_timeout_ns": -1}, "start_timeout_ns must be positive", id="no-start"),
        pytest.param({"progress_timeout_ns": 0}, "progress_timeout_ns must be positive", id="no-progress"),
        pytest.param({"entry": "module"}, "entry must read module:function", id="no-function"),
        pytest.param({"entry": "module:f()"}, "entry must read module:function", id="call"),
    ],
)
def test_a_bad_worker_is_refused_with_its_name(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        changed(worker("alpha"), **fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"id": "-x"}, "an id is", id="bad-id"),
        pytest.param({"strategy": "one_for_two"}, "strategy must be a Strategy", id="unknown-strategy"),
        pytest.param({"start": "random"}, "start must be one of", id="unknown-start"),
        pytest.param({"gives_up": "never"}, "gives_up must be one of", id="unknown-end"),
        pytest.param({"children": (worker("a"), worker("a"))}, "share the id a", id="twins"),
    ],
)
def test_a_bad_node_is_refused_with_its_name(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        changed(node("desk", worker("a")), **fields)


@pytest.mark.parametrize(
    "values",
    [pytest.param((-1, 0, 0, 0, 0), id="negative"), pytest.param((2, 1, 0, 0, 0), id="soft-above-hard")],
)
def test_limits_that_contradict_each_other_are_refused(values: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="memory_soft_bytes"):
        Limits(*values)


def test_a_spec_cannot_be_changed_after_it_was_judged() -> None:
    spec = worker("alpha")

    with pytest.raises(AttributeError):
        spec.shutdown_ns = 0  # pyright: ignore[reportAttributeAccessIssue]


def test_only_a_node_named_like_its_one_worker_collapses() -> None:
    assert strategy_node("spy").is_collapsed
    assert not node("a", worker("b")).is_collapsed
    assert not node("a", worker("a"), worker("b")).is_collapsed
    assert not node("a", node("a", worker("b"))).is_collapsed


def test_a_tree_survives_the_wire() -> None:
    tree = node("desk", node("venues", worker("paper")), strategy_node("spy"), strategy=Strategy.REST_FOR_ONE)

    wire = msgspec.msgpack.encode(tree)

    assert msgspec.msgpack.decode(wire, type=NodeSpec) == tree


def test_a_bad_spec_is_refused_on_the_wire_too() -> None:
    wire = msgspec.msgpack.encode(
        {**msgspec.to_builtins(worker("a"), builtin_types=(bytes,)), "shutdown_ns": 0, "type": "worker"}
    )

    with pytest.raises(msgspec.ValidationError, match="shutdown_ns must be positive"):
        msgspec.msgpack.decode(wire, type=WorkerSpec)


def test_a_tree_may_begin_without_children() -> None:
    spec = NodeSpec("strategies", Strategy.ONE_FOR_ONE, RestartLimit(1, 1), Backoff(0, 0, 1), ())

    assert (spec.start, spec.gives_up, spec.children) == ("ordered", "escalate", ())
    assert worker("a").restart is RestartType.PERMANENT
