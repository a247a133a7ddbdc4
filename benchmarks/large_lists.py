"""Lists of AudioSet's size: reading them, what their labels take, and how long fine-tuning takes to its first step.

python benchmarks/large_lists.py [--clips 2000000] [--kinds csv json] [--checked] [--finetune]

A list of 527 classes with 2.7 labels a clip is made up. Its recordings are there, but few: the folders of the list are
links to one folder of a thousand short sounds, so each clip has a path of its own. Each measurement is a process of its
own; memory is what it takes more at its peak, and holds at the end, than before.
"""

import argparse
import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

FILES = 1000
"""Sounds that there are."""
CLASSES = 527
LABELS = 2.7
"""A clip's labels on average, as in AudioSet."""


def made_up_labels(clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Class indices, and where those of each clip begin; common and rare classes as in AudioSet."""
    generator = np.random.default_rng(0)
    share = 1 / np.arange(1, CLASSES + 1)
    counts = 1 + generator.poisson(LABELS - 1, clips)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return generator.choice(CLASSES, size=offsets[-1], p=share / share.sum()), offsets


def write_list(folder: Path, kind: str, clips: int) -> Path:
    """A list of so many clips, and the recordings that it names."""
    from audiotag.labels import known_labels

    write_recordings(folder, clips)
    mids = np.array(known_labels("audioset").mids)
    indices, offsets = made_up_labels(clips)
    texts = mids[indices]
    rows = [sorted(set(texts[begin:end])) for begin, end in pairwise(offsets)]
    names = [recording(number) for number in range(clips)]
    path = folder / f"clips.{kind}"
    with path.open("w") as file:
        if kind == "csv":
            file.write("path,labels\n")
            file.writelines(f"{name},{';'.join(row)}\n" for name, row in zip(names, rows, strict=True))
        else:
            entries = [{"wav": name, "labels": ",".join(row)} for name, row in zip(names, rows, strict=True)]
            json.dump({"data": entries}, file)
    return path


def recording(number: int) -> str:
    """The path of a clip from the folder of the list."""
    return f"part{number // FILES:05d}/{number % FILES:03d}.wav"


def write_recordings(folder: Path, clips: int) -> None:
    """A folder of short sounds, and links to it."""
    import soundfile

    (folder / "sounds").mkdir(exist_ok=True)
    generator = np.random.default_rng(1)
    for number in range(FILES):
        soundfile.write(folder / "sounds" / f"{number:03d}.wav", 0.1 * generator.standard_normal(8000), 16000)
    for part in range(-(-clips // FILES)):
        link = folder / f"part{part:05d}"
        if not link.exists():
            link.symlink_to("sounds")


class Measured:
    """Time and memory of a block."""

    def __enter__(self) -> "Measured":
        gc.collect()
        self.before, self.began, self.cpu = resident(), time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.cpu = time.perf_counter() - self.began, time.process_time() - self.cpu
        self.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - self.before
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what is free should not count as held
        self.held = resident() - self.before

    def __str__(self) -> str:
        return (
            f"{self.seconds:8.2f} s ({self.cpu:.2f} of a core) {self.peak:9.0f} MB at its peak {self.held:9.0f} MB held"
        )


def resident() -> float:
    """Megabytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def read(path: Path, kind: str, checked: bool) -> None:
    """Measure reading, and what the labels take."""
    from audiotag.data.reading import read_clips
    from audiotag.labels import known_labels
    from audiotag.training.interfaces import SamplingContext
    from audiotag.training.samplers import Balanced

    labels = known_labels("audioset")
    with Measured() as reading:
        clips = read_clips(path, format=kind, labels=labels, check_files=checked)
    print(f"{kind:<9} read{', recordings looked for' if checked else '':<25} {reading}", flush=True)
    with Measured() as sparse:
        targets = clips.sparse_targets()
    print(f"{kind:<9} targets as index lists        {sparse}", flush=True)
    with Measured() as sampling:
        Balanced().epoch(targets, np.random.default_rng(0), SamplingContext())
    print(f"{kind:<9} an epoch of balanced draws    {sampling}", flush=True)


def first_step(path: Path, kind: str, output: Path) -> None:
    """Measure fine-tuning from nothing to its first step."""
    import torch

    from audiotag.training.finetune import finetune
    from audiotag.training.reporting import Reporter

    class UntilFirstStep(Reporter):
        """Says when what happens, and ends the run at its first step."""

        def __init__(self) -> None:
            self.began = time.perf_counter()

        def message(self, text: str) -> None:
            print(f"  {time.perf_counter() - self.began:7.2f} s  {text[:100]}", flush=True)

        def step(self, epoch: int, step: int, loss: float, rate: float) -> None:
            raise KeyboardInterrupt

    torch.set_num_threads(1)
    options: dict[str, Any] = {"labels": "audioset", "val_fraction": 0.0, "epochs": 1, "batch_size": 8}
    with Measured() as run, suppress(KeyboardInterrupt):
        finetune(
            "mn",
            path,
            output=output,
            format=kind,
            options={"width_mult": 0.1},
            workers=1,
            device="cpu",
            sampler="balanced",
            reporter=UntilFirstStep(),
            **options,
        )
    print(f"{kind:<9} finetune, to its first step   {run}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=2_000_000)
    parser.add_argument("--kinds", nargs="+", choices=["csv", "json"], default=["csv", "json"])
    parser.add_argument("--checked", action="store_true", help="look whether the recordings are there, too")
    parser.add_argument("--finetune", action="store_true", help="fine-tune up to the first step")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        what, kind, path = arguments.measure
        if what == "read":
            read(Path(path), kind, arguments.checked)
        else:
            first_step(Path(path), kind, Path(path).parent / "run")
        return
    for kind in arguments.kinds:
        with tempfile.TemporaryDirectory() as name:
            path = write_list(Path(name), kind, arguments.clips)
            os.environ["AUDIOTAG_CACHE"] = str(Path(name) / "cache")
            checked = ["--checked"] if arguments.checked else []
            for what in ["read", *(["finetune"] if arguments.finetune else [])]:
                subprocess.run([sys.executable, __file__, "--measure", what, kind, str(path), *checked], check=True)


if __name__ == "__main__":
    main()
