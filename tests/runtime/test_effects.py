"""Effects keep what a room wants, in its order."""

from runtime.effects import Append, Delete, Effects, Post, Publish, Put, Timer
from runtime.room import NOTHING, Room
from runtime.words import Hello, StopAsked


def full() -> Effects:
    effects = Effects()
    effects.append(1, b"record")
    effects.put("table", b"key", b"data")
    effects.delete("table", b"other")
    effects.post("oven", Hello())
    effects.post("oven", StopAsked(), is_sure=False, is_gated=False)
    effects.publish("bread", Hello(), 4, 3)
    effects.timer("bake", 7)
    effects.answer(b"address", b"answer")
    effects.is_durable = True
    return effects


def test_effects_keep_everything_in_its_order() -> None:
    effects = full()

    assert effects.writes == [Append(1, b"record"), Put("table", b"key", b"data"), Delete("table", b"other")]
    assert effects.posts == [
        Post("oven", Hello(), is_sure=True, is_gated=True),
        Post("oven", StopAsked(), is_sure=False, is_gated=False),
    ]
    assert effects.published == [Publish("bread", Hello(), 4, 3)]
    assert effects.timers == (Timer("bake", 7),)
    assert effects.answers == ((b"address", b"answer"),)


def test_the_effects_of_a_later_message_come_behind_those_of_an_earlier_one() -> None:
    effects, later = Effects(), Effects()
    effects.append(1, b"first")
    later.append(2, b"second")

    effects.add(later)

    assert effects.writes == [Append(1, b"first"), Append(2, b"second")]


def test_adding_takes_over_every_kind_of_effect() -> None:
    effects = Effects()

    effects.add(full())

    assert {name: getattr(effects, name) for name in Effects.__struct_fields__} == {
        name: getattr(full(), name) for name in Effects.__struct_fields__
    }


def test_one_durable_message_makes_the_whole_batch_durable_whatever_comes_behind() -> None:
    effects = full()

    effects.add(Effects())

    assert effects.is_durable


def test_a_room_that_says_nothing_leaves_the_shared_nothing_empty() -> None:
    room, effects = Room(), Effects()

    for silent in (room.recover(), room.peers(()), room.connected("oven"), room.stopping()):
        effects.add(silent)

    assert all(not getattr(NOTHING, name) for name in Effects.__struct_fields__)
    assert all(not getattr(effects, name) for name in Effects.__struct_fields__)
