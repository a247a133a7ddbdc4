"""Kill a process that adds clips to a store, again and again, and check the store each time.

    python kill_harness.py FOLDER time KILLS SEED     kills at random moments
    python kill_harness.py FOLDER steps FIRST LAST    kills at the n-th step (statement, fsync, rename, unlink)

Runs in a process of its own, with one thread, so that it can fork cheaply. Exits with a message at the first thing that
is wrong.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from audiotag.continual.create import create_policy
from audiotag.continual.policy import Example
from audiotag.continual.store import ClipStore, Payload

CLASSES = ["a", "b", "c", "d"]
CAPACITY = 12
SEED = 5


def clip(number: int) -> tuple[str, Payload, list[str]]:
    """The clip of a number, always the same."""
    rng = np.random.default_rng([77, number])
    payload = Payload.from_embedding(rng.integers(0, 255, size=int(rng.integers(10, 8000)), dtype=np.uint8))
    labels = sorted({CLASSES[int(place)] for place in rng.choice(4, size=2, p=[0.6, 0.25, 0.1, 0.05])})
    return f"clip{number}", payload, labels


def add_for_ever(folder: Path, pipe: int) -> None:
    """The process that gets killed: adds clips from where the store stands, and tells of each one that is in."""
    with ClipStore(folder) as store:
        number = store.offers
        while True:
            clip_id, payload, labels = clip(number)
            store.add(clip_id, payload, labels)
            number += 1
            os.write(pipe, f"{number}\n".encode())


class Steps:
    """Counts what a process does to the disk, and kills it at a chosen count."""

    def __init__(self, last: int) -> None:
        self.left = last
        connect = sqlite3.connect
        steps = self

        class Counting(sqlite3.Connection):
            def execute(self, *arguments: Any) -> sqlite3.Cursor:
                steps.take()
                cursor = super().execute(*arguments)
                steps.take()
                return cursor

        sqlite3.connect = lambda *arguments, **options: connect(*arguments, factory=Counting, **options)
        for name in ("fsync", "replace", "unlink"):
            setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, function: Callable) -> Callable:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.take()
            result = function(*arguments, **options)
            self.take()
            return result

        return counted

    def take(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Model:
    """What the store must hold after any number of offers."""

    def __init__(self) -> None:
        self.policy = create_policy("class_balanced", CAPACITY, len(CLASSES), seed=SEED)

    def ids(self, offers: int) -> set[str]:
        while self.policy.offers < offers:
            clip_id, _, labels = clip(self.policy.offers)
            self.policy.offer(Example(clip_id, tuple(CLASSES.index(label) for label in labels)))
        return set(self.policy.ids)


def check(folder: Path, model: Model, before: int, acknowledged: int) -> int:
    """Open the store after a kill and compare it with what it must be; returns the number of offers in it."""
    with ClipStore(folder) as store:
        offers = store.offers
        least = max(before, acknowledged)
        if not least <= offers <= least + 1:
            sys.exit(
                f"{acknowledged} offers were acknowledged, {before} were there before, and {offers} are in the store"
            )
        verification = store.verify()
        if not verification.ok:
            sys.exit(f"after {offers} offers: {verification.problems}")
        stored = {item.id: item for item in store}
        if set(stored) != model.ids(offers):
            sys.exit(f"after {offers} offers the store has {sorted(stored)} and not {sorted(model.ids(offers))}")
        for clip_id, item in stored.items():
            _, payload, labels = clip(int(clip_id.removeprefix("clip")))
            if item.path.read_bytes() != payload.content or [CLASSES[label] for label in item.labels] != labels:
                sys.exit(f"after {offers} offers the clip {clip_id} is not what was added")
    return offers


def run_and_kill(folder: Path, seconds: float | None, step: int | None) -> int:
    """Start a process that adds clips, see it killed, and return the last number it acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        if step is not None:
            Steps(step)
        add_for_ever(folder, writing)
    os.close(writing)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().decode().split("\n")
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        sys.exit(f"the process ended by itself, with the status {status}")
    return int(lines[-2]) if len(lines) > 1 else 0


def main() -> None:
    folder, mode = Path(sys.argv[1]), sys.argv[2]
    first, last = int(sys.argv[3]), int(sys.argv[4])
    if not folder.exists():
        with ClipStore.create(folder, CLASSES, policy="class_balanced", capacity=CAPACITY, seed=SEED) as store:
            for number in range(CAPACITY):  # full, so that clips are evicted from the start
                store.add(*clip(number))
    model, offers, kills = Model(), CAPACITY, 0
    if mode == "time":
        rng = np.random.default_rng(last)
        plans = [(float(rng.uniform(0.0, 0.08)), None) for _ in range(first)]
    else:
        plans = [(None, step) for step in range(first, last)]
    for seconds, step in plans:
        acknowledged = run_and_kill(folder, seconds, step)
        offers = check(folder, model, offers, acknowledged)
        kills += 1
    print(f"{kills} kills, {offers} offers")


if __name__ == "__main__":
    main()
