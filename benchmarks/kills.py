"""Kill commands at random moments, with KILL, TERM and HUP, and see that nothing acknowledged is lost.

    python benchmarks/kills.py [SUBJECT ...] [--count 100] [--seed 0] [--fork]

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
import threading
import time
import traceback
from abc import ABC, abstractmethod
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Results are compared bit by bit, and sums depend on the number of threads.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import soundfile
import torch

from audiotag.continual.create import create_policy
from audiotag.continual.policy import Example
from audiotag.continual.store import ClipStore
from audiotag.host import reset_host

CLASSES = ["low", "high"]
CLIPS, CAPACITY, RATE = 40, 12, 8000
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP]


class Subject(ABC):
    """A command that is killed again and again.

    Args:
        home: An empty folder for its data.

    Attributes:
        errors: What the command has printed to standard error.
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
        self.errors = ""
        self.begin()

    def begin(self) -> None:
        """Start afresh, because what there was to do is done."""
        self.round += 1

    def model(self) -> Path:
        """A checkpoint of a small network that knows the classes."""
        from audiotag.host import get_host
        from audiotag.labels import LabelSet
        from audiotag.models.checkpoint import save_checkpoint
        from audiotag.models.create import create_backbone
        from audiotag.models.model import Model

        options = {"width_mult": 0.1, "head_type": "mlp"}
        backbone = create_backbone("mn", 2, seed=0, **options).eval()
        model = Model(backbone, get_host().backbone("mn"), options, LabelSet.from_names(CLASSES), "small")
        return save_checkpoint(self.home / "model", model)

    def environment(self) -> dict[str, str]:
        """Variables that the command needs beside those of this process."""
        return {}

    def progress(self) -> int | None:
        """How far the command has come, where files tell it; None where it is what it prints."""
        return None

    @abstractmethod
    def command(self) -> list[str]:
        """Arguments of ``audiotag``."""

    @abstractmethod
    def check(self, lines: list[str], finished: bool) -> None:
        """Raise an AssertionError where something is lost.

        Args:
            lines: What the command had printed, one for each thing that it acknowledged.
            finished: Whether it ended by itself.
        """


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


class WithStore(Subject):
    """A command that works on a store."""

    def begin(self) -> None:
        """See `Subject`."""
        super().begin()
        ClipStore.create(self.store, CLASSES, policy="reservoir", capacity=CAPACITY, seed=3).close()

    @property
    def store(self) -> Path:
        """The store of this round."""
        return self.home / f"store{self.round}"


class StoreAdd(WithStore):
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


class StoreExport(WithStore):
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


class Online(WithStore):
    """A model learns on-line."""

    answered = 0

    def begin(self) -> None:
        """See `Subject`."""
        super().begin()
        self.model()

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


class Infer(Subject):
    """Recordings are tagged into a table."""

    done = 0

    def begin(self) -> None:
        """See `Subject`."""
        super().begin()
        if self.round == 1:
            self.model()
            subprocess.run(audiotag(self.command()), check=True, capture_output=True)
            self.expected = self.output.read_bytes()
            super().begin()

    @property
    def output(self) -> Path:
        """The table of this round."""
        return self.home / f"tags{self.round}.csv"

    def command(self) -> list[str]:
        """See `Subject`."""
        return [
            "infer", *(str(self.home / f"{number}.wav") for number in range(CLIPS)),
            "--model", str(self.home / "model"),
            "--output", str(self.output), "--resume", "--device", "cpu", "--batch-size", "1",
        ]  # fmt: skip

    def progress(self) -> int:
        """See `Subject`: recordings that the record tells of."""
        record = self.output.with_name(f".{self.output.name}.resume")
        return max(0, record.read_bytes().count(b"\n") - 1) if record.exists() else 0

    def check(self, lines: list[str], finished: bool) -> None:
        """See `Subject`."""
        done = self.progress()
        assert done >= self.done, f"{done} recordings are done, and {self.done} were before"
        part = self.output.with_name(f".{self.output.name}.part")
        present = b"".join(place.read_bytes() for place in (part, self.output) if place.exists())
        for number in range(done):
            assert b"%d.wav" % number in present, f"{number}.wav is noted as done and is not there"
        before, self.done = self.done, done
        if finished:
            assert not before or f" {before} were done before" in self.errors, f"{before}: {self.errors}"
            assert self.output.read_bytes() == self.expected, "the table is not that of a run that nobody killed"
            assert not part.exists()
            self.done = 0
            self.begin()


class Finetune(Subject):
    """A network learns, from the first step on."""

    begun = False

    def begin(self) -> None:
        """See `Subject`."""
        super().begin()
        self.begun = False
        if self.round == 1:
            self.model()
            rows = [f"{number}.wav,{CLASSES[number % 2]}" for number in range(8)]
            (self.home / "clips.csv").write_text("\n".join(["path,labels", *rows]) + "\n")
            subprocess.run(audiotag(self.command()), check=True, capture_output=True)
            self.expected = self.result()
            super().begin()

    @property
    def folder(self) -> Path:
        """The run of this round, under a name that is the same in each: checkpoints say it."""
        return self.home / str(self.round) / "run"

    def result(self) -> dict[str, bytes]:
        """What the run has come to."""
        return {
            name: (self.folder / name).read_bytes() for name in ("last/model.safetensors", "best/model.safetensors")
        }

    def command(self) -> list[str]:
        """See `Subject`."""
        if self.begun:
            return ["finetune", "--resume", str(self.folder)]
        return [
            "finetune", "--backbone", str(self.home / "model"), "--train", str(self.home / "clips.csv"),
            "--val", str(self.home / "clips.csv"), "--output", str(self.folder), "--epochs", "3", "--batch-size", "2",
            "--workers", "0", "--device", "cpu", "--seed", "5",
        ]  # fmt: skip

    def progress(self) -> int:
        """See `Subject`: epochs in the log."""
        log = self.folder / "log.csv"
        return log.read_bytes().count(b"\n") if log.exists() else 0

    def check(self, lines: list[str], finished: bool) -> None:
        """See `Subject`."""
        from audiotag.continual.online import has_checkpoint
        from audiotag.models.checkpoint import load_checkpoint

        for name in ("last", "best"):
            if has_checkpoint(self.folder / name):
                load_checkpoint(self.folder / name)
        self.begun = any((self.folder / name).exists() for name in ("run.json", "data.json", "settings.toml"))
        if finished:
            assert self.result() == self.expected, "the weights are not those of a run that nobody killed"
            self.begin()


class Download(Subject):
    """Weights are downloaded from a server that sends slowly."""

    name = "killed"
    content = np.random.default_rng(0).bytes(400_000)

    def __init__(self, home: Path) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Slow)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        plugin = home / "site"
        plugin.mkdir()
        url = f"http://127.0.0.1:{self.server.server_port}/weights.pt"
        (plugin / "killed_plugin.py").write_text(_PLUGIN.format(url=url))
        facts = plugin / "killed_plugin-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: killed-plugin\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text("[audiotag]\nkilled = killed_plugin\n")
        super().__init__(home)

    @property
    def cache(self) -> Path:
        """The cache of this round."""
        return self.home / f"cache{self.round}"

    def environment(self) -> dict[str, str]:
        """See `Subject`."""
        path = filter(None, [str(self.home / "site"), os.environ.get("PYTHONPATH")])
        return {"AUDIOTAG_CACHE": str(self.cache), "PYTHONPATH": os.pathsep.join(path)}

    def command(self) -> list[str]:
        """See `Subject`."""
        return ["models", "download", self.name]

    def progress(self) -> int:
        """See `Subject`: pieces that have come."""
        try:
            return sum(place.stat().st_size for place in (self.cache / "weights").glob(".*")) // 80_000
        except FileNotFoundError:
            return 5  # it has just been renamed

    def check(self, lines: list[str], finished: bool) -> None:
        """See `Subject`."""
        weights = self.cache / "weights"
        left = {place.name for place in weights.iterdir()} if weights.exists() else set()
        file = weights / "killed.pt"
        if file.exists():
            assert file.read_bytes() == self.content, "a wrong file has the final name"
        assert len([name for name in left if name.startswith(".")]) <= 2, f"leftovers were not swept: {sorted(left)}"
        if finished:
            assert left == {"killed.pt", "killed.pt.sha256.json"}, sorted(left)
        if finished or file.exists():
            self.begin()


_PLUGIN = """
from audiotag.plugin import BackboneSpec, Weights, hookimpl


@hookimpl
def register_backbones():
    weights = Weights(urls=({url!r},), filename="killed.pt", licence="MIT")
    return [
        BackboneSpec(
            name="killed", family="killed", factory="killed_plugin:none", sample_rate=8000, clip_seconds=1.0,
            licence="MIT", citation="none", summary="Never loaded", num_classes=2, embedding_dim=4, weights=weights,
            min_seconds=0.1,
        )
    ]
"""


class _Slow(BaseHTTPRequestHandler):
    """Sends the content in pieces, with pauses."""

    def do_GET(self) -> None:
        """Send it."""
        content = Download.content
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(ConnectionError):
            for start in range(0, len(content), 40_000):
                self.wfile.write(content[start : start + 40_000])
                time.sleep(0.03)

    def log_message(self, *about: object) -> None:
        """Nothing is logged."""


SUBJECTS: dict[str, type[Subject]] = {
    "store-add": StoreAdd,
    "store-export": StoreExport,
    "online": Online,
    "infer": Infer,
    "finetune": Finetune,
    "download": Download,
}
"""What can be killed; a new subject is a line here and a class."""


def audiotag(arguments: list[str]) -> list[str]:
    """The command line of this interpreter's audiotag."""
    return [sys.executable, "-c", "from audiotag.cli.main import run; run()", *arguments]


class Forked:
    """A command that begins as a copy of this process, with everything imported; what `subprocess.Popen` has of it."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        from audiotag.cli.main import run

        out, err = os.pipe(), os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os.dup2(out[1], 1)
            os.dup2(err[1], 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
            os.environ.update(environment)
            sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
            reset_host()  # the subjects before may have loaded other plugins
            torch.set_num_threads(1)  # those of a pool do not come along
            sys.argv = ["audiotag", *arguments]
            status: object = 70
            try:
                run()
                status = 0
            except SystemExit as end:
                status = end.code
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status if isinstance(status, int) else 0 if status is None else 1)
        os.close(out[1])
        os.close(err[1])
        self.stdout, self.stderr = os.fdopen(out[0]), os.fdopen(err[0])

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *about: object) -> None:
        self.stdout.close()
        self.stderr.close()

    def poll(self) -> int | None:
        """The status, None while it lives."""
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if found else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Kill it, where it lives."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, seconds: float) -> int:
        """The status, once it has ended."""
        until = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        assert self.returncode is not None, "it does not end"
        return self.returncode


def kill_once(subject: Subject, rng: random.Random, usual: float, *, fork: bool = False) -> float:
    """Start the command, kill it at a random moment, check; returns the seconds that it lived."""
    wanted, after = rng.randrange(0, 6), rng.uniform(0, 0.05)
    began = time.monotonic()
    environment = {**os.environ, **subject.environment()}
    lines: list[str] = []
    started: Forked | subprocess.Popen[str]
    if fork:
        started = Forked(subject.command(), environment)
    else:
        started = subprocess.Popen(
            audiotag(subject.command()), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
    with started as process:
        assert process.stdout is not None and process.stderr is not None
        if rng.random() < 0.3:  # at any moment of its life, its start included
            time.sleep(rng.uniform(0, usual))
        elif (begun := subject.progress()) is not None:  # soon after something is done
            while process.poll() is None and (subject.progress() or 0) < begun + wanted:
                time.sleep(0.005)
            time.sleep(after)
        else:
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
    subject.errors = errors
    assert finished or status in (-number, 128 + number), f"ended with {status} on {number}: {errors}"
    subject.check(lines, finished)
    return time.monotonic() - began


def main() -> None:
    """Kill each subject so often."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=", ".join(SUBJECTS))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fork", action="store_true", help="begin as copies of this process: less time until the work")
    given = parser.parse_args()

    for name in given.subjects or SUBJECTS:
        rng = random.Random(f"{name} {given.seed}")
        with tempfile.TemporaryDirectory() as home:
            subject = SUBJECTS[name](Path(home))
            usual = 5.0
            for kill in range(given.count):
                try:
                    usual = 0.5 * usual + 0.5 * kill_once(subject, rng, usual, fork=given.fork)
                except AssertionError as error:
                    sys.exit(f"{name}, seed {given.seed}, kill {kill + 1}: {error}")
        print(f"{name}: {given.count} kills, nothing lost", flush=True)


if __name__ == "__main__":
    main()
