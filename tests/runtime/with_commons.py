"""A zygote in small, for the test of its commons: it lays its objects out and forks; each child tells one line."""

import ctypes
import decimal
import functools
import gc
import hashlib
import importlib
import json
import os
import random
import re
import string
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime.commons import Borrowed, Commons
from runtime.heap import fill_holes

STEPS = 120
PROT_READ_AND_WRITE = 3


class Thing:
    """Something that every child finds, and changes in its own way."""

    limit = 10

    def __init__(self, number: int) -> None:
        self.number, self.name, self.next = number, f"thing {number}", None
        self.more: dict[str, Any] = {"a": number, "b": [number] * 3}

    def grown(self, by: int = 1) -> int:
        self.number += by
        return self.number


SHELF: dict[str, Any] = {
    "things": [Thing(number) for number in range(400)],
    "words": {word: [word, (word, len(word))] for word in ("alpha", "beta", "gamma", "delta")},
    "numbers": list(range(1000, 1400)),
    "figures": [decimal.Decimal(number) / 7 for number in range(200)],
    "queue": deque(range(50)),
    "bag": {f"key{number}" for number in range(300)},
    "holes": [bytes(size) for size in range(1, 480) for _ in range(3)],
}
MANY = [(str(number), number + 0.5) for number in range(20_000)]
IMPORTED = ("colorsys", "fractions", "statistics", "textwrap", "difflib", "calendar", "csv", "heapq")


def step(chance: random.Random, number: int) -> object:  # noqa: C901, PLR0911, PLR0912 - one case a kind of work
    """Do one thing of many kinds, to what was there and to what is new."""
    things = SHELF["things"]
    match chance.randrange(14):
        case 0:
            return [each.grown(chance.randrange(5)) for each in chance.sample(things, 20)]
        case 1:
            thing = chance.choice(things)
            thing.more[f"new {number}"] = {str(key): key for key in range(chance.randrange(30))}
            return sorted(map(str, thing.more))
        case 2:
            things[chance.randrange(len(things))] = Thing(number)
            return len(things)
        case 3:
            return json.dumps(json.loads(json.dumps({str(key): [key, str(key)] for key in range(200)})))
        case 4:
            SHELF["figures"][chance.randrange(200)] += decimal.Decimal(number) / 3
            return str(sum(SHELF["figures"]))
        case 5:
            SHELF["queue"].rotate(chance.randrange(7))
            SHELF["queue"].append(SHELF["queue"].popleft())
            return list(SHELF["queue"])
        case 6:
            SHELF["bag"] ^= {f"key{chance.randrange(500)}" for _ in range(30)}
            return sorted(SHELF["bag"])
        case 7:
            kind = type(f"Kind{number}", (Thing,), {"limit": number})
            made = kind(number)
            made.next = chance.choice(things)
            things.append(made)
            return made.grown(), made.limit, made.next.number
        case 8:
            module = importlib.import_module(chance.choice(IMPORTED))
            return module.__name__
        case 9:
            try:
                return things[len(things) + number].number
            except IndexError as error:
                return str(error)
        case 10:
            return re.sub(r"(\w)(\d+)", r"\2\1", " ".join(chance.choices(string.ascii_letters + string.digits, k=200)))
        case 11:
            del SHELF["holes"][chance.randrange(len(SHELF["holes"])) :: 7]
            return gc.collect() >= 0, len(SHELF["holes"])
        case 12:
            generator = (each.name for each in things if each.number % 3)
            return next(generator), list(generator)[-1]
        case _:
            return functools.reduce(lambda one, other: one ^ hash(other), (each.name for each in things), 0)


def lived(seed: int, pause: Callable[[], object]) -> str:
    """Do much, with a pause behind each step; give what became of it all."""
    chance, seen = random.Random(seed), hashlib.sha256()
    for number in range(STEPS):
        seen.update(repr(step(chance, number)).encode())
        pause()
    for name, kept in SHELF.items():
        left = [vars(each) | {"next": str(each.next)[:9]} for each in kept] if name == "things" else kept
        seen.update(repr(sorted(left) if isinstance(left, set) else left).encode())
    return seen.hexdigest()


def private_kib() -> int:
    """Say how much of the commons this process has for itself."""
    kib, is_there = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="ascii").splitlines():
        if "-" in line.split(" ")[0]:
            is_there = "commons" in line and "rw-p" in line
        elif is_there and line.startswith("Private_Dirty"):
            kib += int(line.split()[1])
    return kib


def child(told: list[str], commons: Commons) -> list[object]:
    """Live one of the lives that the test asks for."""
    borrowed = Borrowed(commons, 0)
    match told:
        case ["lives", seed, "giving"]:
            given: list[int] = []
            digest = lived(int(seed), lambda: given.append(borrowed.give_back()))
            return [digest, sum(given)]
        case ["lives", seed, _]:
            return [lived(int(seed), lambda: None), 0]
        case ["reads"]:
            assert sum(figure for name, figure in MANY if name) > 0
            before = private_kib()
            return [before, borrowed.give_back(), private_kib()]
        case ["threads"]:
            waits = threading.Event()
            other = threading.Thread(target=waits.wait)
            other.start()
            together = borrowed.give_back()
            waits.set()
            other.join()
            return [together, borrowed.give_back()]
        case ["writes"]:
            image, library = commons.spans[2], ctypes.CDLL(None)
            return [library.mprotect(ctypes.c_void_p(image), ctypes.c_size_t(4096), PROT_READ_AND_WRITE)]
        case _:
            raise AssertionError(told)


def main() -> None:
    """Lay out, fork a child for each argument (its words joined by commas), and let each tell its line."""
    gc.collect()
    fill_holes()
    gc.freeze()
    commons = Commons.lay_out()
    for told in sys.argv[1:]:
        if os.fork() == 0:
            code = 1
            try:
                gc.unfreeze()
                gc.freeze()
                sys.stdout.write(json.dumps(child(told.split(","), commons)) + "\n")
                sys.stdout.flush()
                code = 0
            finally:
                os._exit(code)
        assert os.wait()[1] == 0, told


if __name__ == "__main__":
    main()
