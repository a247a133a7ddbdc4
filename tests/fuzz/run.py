"""Damage files and use them: anything but an error of audiotag's own, 30 s or 1 GB more memory is a finding.

    python tests/fuzz/run.py                         every kind, 10 000 inputs each
    python tests/fuzz/run.py recordings --count 500
    python tests/fuzz/run.py recordings --only 1234  one input again, with its traceback

An input is known by its kind, seed and number. The inputs are used in processes of their own, since what is looked for
may end or hang one.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).parent
SECONDS = 30.0
"""Longest that an input may compute; one that waits is ended after four times that, since machines are shared."""
GROWTH = 1 << 30
"""Most bytes by which an input may raise the memory of its process."""
SEED = 20_261_126


@dataclass(frozen=True)
class Finding:
    """An input with which something went wrong."""

    kind: str
    number: int
    what: str

    def __str__(self) -> str:
        return f"{self.kind} {self.number}: {self.what}"


def hunt(kind: str, count: int, *, first: int = 0, seed: int = SEED, workers: int = 1) -> list[Finding]:
    """Use inputs *first* to *first* + *count* of one kind, in *workers* processes; what went wrong."""
    edges = [first + count * number // workers for number in range(workers + 1)]
    with ThreadPoolExecutor(workers) as pool:
        parts = pool.map(lambda part: list(_watch(kind, *part, seed)), pairwise(edges))
        return [finding for part in parts for finding in part]


def _watch(kind: str, first: int, stop: int, seed: int) -> Iterator[Finding]:
    """Keep a process at work on a range of inputs; where it ends at one, go on behind it."""
    while first < stop:
        command = [sys.executable, str(HERE / "run.py"), kind, "--worker", str(first), str(stop), "--seed", str(seed)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, errors="replace"
        )
        with process, ThreadPoolExecutor(1) as pool:
            assert process.stdout is not None and process.stderr is not None
            errors = pool.submit(process.stderr.read)
            at, done = None, False
            for line in process.stdout:
                said = json.loads(line)
                at, done = said.get("number", at), said.get("done", False)
                if "finding" in said:
                    yield Finding(kind, said["number"], said["finding"])
            code = process.wait()
        if done:
            return
        if at is None:
            raise RuntimeError(f"{kind}: the process ended before its first input:\n{errors.result()}")
        if code != 0:  # else it asked to be replaced, since its memory has grown
            yield Finding(kind, at, f"the process ended with {code}\n{errors.result()[-3000:]}")
        first = at + 1


def _work(kind: str, first: int, stop: int, seed: int, *, loud: bool = False) -> None:
    """Use a range of inputs in this process and say on standard output what came of them."""
    import numpy as np
    from mutator import damage
    from subjects import SUBJECTS

    from audiotag.errors import AudiotagError

    say = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no report
    warnings.simplefilter("ignore")
    subject = SUBJECTS[kind]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds = [(place, place.read_bytes()) for place in subject.seeds(folder)]
        contents = [content for _, content in seeds]
        for place, _ in seeds:
            subject.use(place)  # what is whole must do
        memory = _peak()
        for number in range(first, stop):
            say.write(json.dumps({"number": number}) + "\n")
            salt = int.from_bytes(hashlib.sha256(kind.encode()).digest()[:4], "big")
            generator = np.random.default_rng([seed, salt, number])
            place, content = seeds[int(generator.integers(len(seeds)))]
            place.write_bytes(damage(content, contents, generator, text=subject.text))
            if loud:
                print(f"{place} is kept until you press Enter", file=sys.stderr)
            faulthandler.dump_traceback_later(4 * SECONDS, exit=True)
            finding, began = None, time.process_time()
            try:
                subject.use(place)
            except AudiotagError as error:
                if loud:
                    print(f"as it should be: {error}", file=sys.stderr)
            except Exception as error:
                frame = traceback.extract_tb(error.__traceback__)[-1]
                finding = f"{type(error).__name__}: {str(error)[:300]} ({frame.filename}:{frame.lineno})"
                if loud:
                    traceback.print_exc()
            faulthandler.cancel_dump_traceback_later()
            grown = _peak() - memory
            took = time.process_time() - began
            if grown > GROWTH or took > SECONDS:
                finding = finding or f"it takes {grown / 1e6:.0f} MB and {took:.1f} s"
            if finding:
                say.write(json.dumps({"number": number, "finding": finding}) + "\n")
            if loud and sys.stdin.isatty():
                input()
            place.write_bytes(content)
            if grown > GROWTH:
                return
    say.write(json.dumps({"done": True}) + "\n")


def _peak() -> int:
    """Bytes of memory that this process has needed at most."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Run from the shell; the exit code is 1 where there are findings."""
    sys.path.insert(0, str(HERE))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", type=int, metavar="NUMBER")
    parser.add_argument("--worker", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        _work(arguments.kinds[0], *arguments.worker, arguments.seed)
        return
    if arguments.only is not None:
        _work(arguments.kinds[0], arguments.only, arguments.only + 1, arguments.seed, loud=True)
        return
    from subjects import SUBJECTS

    found = 0
    for kind in arguments.kinds or SUBJECTS:
        began = time.monotonic()
        findings = hunt(kind, arguments.count, first=arguments.first, seed=arguments.seed, workers=arguments.workers)
        for finding in findings:
            print(finding)
        found += len(findings)
        print(f"{kind}: {len(findings)} findings in {arguments.count} inputs, {time.monotonic() - began:.0f} s")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
