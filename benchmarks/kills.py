"""Kill commands at random moments, with KILL, TERM and HUP, and see that nothing acknowledged is lost.

    python benchmarks/kills.py [SUBJECT ...] [--count 100] [--seed 0]

A subject of `SUBJECTS` makes its data, says which command to start, and checks what a kill has left. The first thing
that is wrong ends the run with a message that names the subject, the seed and the number of the kill.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from audiotag.continual.create import create_policy
from audiotag.continual.policy import Example
from audiotag.continual.store import ClipStore

CLASSES = ["low", "high"]
CLIPS, CAPACITY, RATE = 40, 12, 8000
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP]


class Subject:
    """A command that is killed again and again.

    Args:
        home: An empty folder for its data.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        entries = []
        for number in range(CLIPS):
            noise = np.random.default_rng(number).uniform(-0.5, 0.5, 800)
            soundfile.write(home / f"{number}.wav", noise, RATE)
            entries.append({"video_id": f"clip{number}", "wav": f"{number}.wav", "labels": CLASSES[number % 2]})
        (home / "list.json").write_text(json.dumps({"data": entries}))
        self.round = 0
        self.begin()

    def begin(self) -> None:
        """Start afresh, because what there was to do is done."""
        self.round += 1
        ClipStore.create(self.store, CLASSES, policy="reservoir", capacity=CAPACITY, seed=3).close()

    @property
    def store(self) -> Path:
        """The store of this round."""
        return self.home / f"store{self.round}"

    def command(self) -> list[str]:
        """Arguments of ``audiotag``."""
        raise NotImplementedError

    def check(self, lines: list[str], finished: bool) -> None:
        """Raise an AssertionError where something is lost.

        Args:
            lines: What the command had printed, one for each thing that it acknowledged.
            finished: Whether it ended by itself.
        """
        raise NotImplementedError


def check_store(folder: Path, offers: int | None = None) -> int:
    """Open a store after a kill: it is whole and has what its policy keeps of the first clips; returns its offers."""
    with ClipStore(folder) as store:
        found = store.verify()
        assert found.ok and not found.quarantined, (found.problems, found.quarantined)
        policy = create_policy("reservoir", CAPACITY, len(CLASSES), seed=3)
        for number in range(store.offers):
            policy.offer(Example(f"clip{number}", (number % 2,)))
        assert {clip.id for clip in store} == set(policy.ids), "the store does not hold what its policy keeps"
        assert offers is None or store.offers == offers, f"{store.offers} offers, not {offers}"
        return store.offers


class StoreAdd(Subject):
    """Clips are added to a store."""

    before = 0

    def command(self) -> list[str]:
        """See `Subject`."""
        return ["store", "add", str(self.store), str(self.home / "list.json"), "--resume"]

    def check(self, lines: list[str], finished: bool) -> None:
        """See `Subject`."""
        acknowledged = [line.partition(":")[0] for line in lines if line.startswith("clip")]
        assert acknowledged == [f"clip{number}" for number in range(self.before, self.before + len(acknowledged))]
        offers = check_store(self.store)
        assert self.before + len(acknowledged) <= offers <= self.before + len(acknowledged) + 1
        self.before = offers
        if offers == CLIPS:
            self.before = 0
            self.begin()


class StoreExport(Subject):
    """A store is exported."""

    exports = 0

    def begin(self) -> None:
        """See `Subject`."""
        super().begin()
        subprocess.run(
            audiotag(["store", "add", str(self.store), str(self.home / "list.json"), "--quiet"]),
            check=True,
            capture_output=True,
        )

    def command(self) -> list[str]:
        """See `Subject`."""
        self.exports += 1
        return ["store", "export", str(self.store), str(self.home / f"export{self.exports}")]

    def check(self, lines: list[str], finished: bool) -> None:
        """See `Subject`."""
        check_store(self.store, CLIPS)
        export = self.home / f"export{self.exports}"
        assert export.exists() or not (lines or finished), "an export was acknowledged and is not there"
        if export.exists():
            with ClipStore.from_export(export, self.home / f"twin{self.exports}"):
                pass
            check_store(self.home / f"twin{self.exports}", CLIPS)


class Online(Subject):
    """A model learns on-line."""

    answered = 0

    def begin(self) -> None:
        """See `Subject`."""
        super().begin()
        from audiotag.host import get_host
        from audiotag.labels import LabelSet
        from audiotag.models.checkpoint import save_checkpoint
        from audiotag.models.create import create_backbone
        from audiotag.models.model import Model

        backbone = create_backbone("mn", 2, seed=0, width_mult=0.1, head_type="mlp").eval()
        options = {"width_mult": 0.1, "head_type": "mlp"}
        model = Model(backbone, get_host().backbone("mn"), options, LabelSet.from_names(CLASSES), "small")
        save_checkpoint(self.home / "model", model)

    def command(self) -> list[str]:
        """See `Subject`."""
        return [
            "online", "--model", str(self.home / "model"), "--store", str(self.store), "--resume", "--json",
            "--stream", str(self.home / "list.json"), "--output", str(self.home / f"run{self.round}"),
            "--device", "cpu", "--replay", "2", "--steps", "1", "--checkpoint-every", "1",
        ]  # fmt: skip

    def check(self, lines: list[str], finished: bool) -> None:
        """See `Subject`."""
        positions = [json.loads(line)["position"] for line in lines]
        first = positions[0] if positions else self.answered + 1
        # What was acknowledged is not asked again; the clip in progress at the kill may have been done without a word.
        assert first in (self.answered + 1, self.answered + 2), f"went on at {first} after {self.answered}"
        assert positions == list(range(first, first + len(positions)))
        self.answered = positions[-1] if positions else self.answered
        offers = check_store(self.store)
        assert self.answered <= offers <= self.answered + 2
        if finished:
            assert offers == CLIPS
            self.answered = 0
            self.begin()


SUBJECTS: dict[str, type[Subject]] = {"store-add": StoreAdd, "store-export": StoreExport, "online": Online}
"""What can be killed; a new subject is a line here and a class."""


def audiotag(arguments: list[str]) -> list[str]:
    """The command line of this interpreter's audiotag."""
    return [sys.executable, "-c", "from audiotag.cli.main import run; run()", *arguments]


def kill_once(subject: Subject, rng: random.Random, usual: float) -> float:
    """Start the command, kill it at a random moment, check; returns the seconds that it lived."""
    wanted, after = rng.randrange(0, 6), rng.uniform(0, 0.05)
    began = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    lines: list[str] = []
    with subprocess.Popen(
        audiotag(subject.command()), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        if rng.random() < 0.3:  # at any moment of its life, its start included
            time.sleep(rng.uniform(0, usual))
        else:  # soon after it has acknowledged something
            for _ in range(wanted):
                line = process.stdout.readline()
                if not line:
                    break
                lines.append(line.rstrip("\n"))
            time.sleep(after)
        number = rng.choice(SIGNALS)
        process.send_signal(number)
        lines += process.stdout.read().splitlines()
        errors = process.stderr.read()
        status = process.wait(120)
    finished = status == 0
    assert finished or status in (-number, 128 + number), f"ended with {status} on {number}: {errors}"
    subject.check(lines, finished)
    return time.monotonic() - began


def main() -> None:
    """Kill each subject so often."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=", ".join(SUBJECTS))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for name in given.subjects or SUBJECTS:
        rng = random.Random(f"{name} {given.seed}")
        with tempfile.TemporaryDirectory() as home:
            subject = SUBJECTS[name](Path(home))
            usual = 5.0
            for kill in range(given.count):
                try:
                    usual = 0.5 * usual + 0.5 * kill_once(subject, rng, usual)
                except AssertionError as error:
                    sys.exit(f"{name}, seed {given.seed}, kill {kill + 1}: {error}")
        print(f"{name}: {given.count} kills, nothing lost", flush=True)


if __name__ == "__main__":
    main()
