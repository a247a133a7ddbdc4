"""When sounds are heard: a small `fmn` that learned from frames, against one that learned from whole clips.

    python benchmarks/sound_events.py FOLDER            # learn and measure; some minutes
    python benchmarks/sound_events.py FOLDER --speed    # time an hour and four, fresh parameters

The sounds are made up (`audiotag data tiny --strong`): ten classes, events of 0.2 to 4 s that overlap in noise. Both
networks are the same, start from the same parameters and hear the same clips for as many epochs. Each is asked for
frames and for windows: of the length that it learned from, and of a second. Models that FOLDER holds already
are measured again, not learned again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

LEARNING: dict[str, Any] = {
    "options": {"width_mult": 0.2, "norm_momentum": 0.1},
    "epochs": 14,
    "batch_size": 8,
    "learning_rate": 6e-3,
    "seconds": 5.0,
    "mixup_rate": 0.5,
    "metric": "mAP",
    "device": "cpu",
}
WIDTH = 1.0
"""Of the network whose speed is measured."""


def learn(folder: Path, kinds: list[str]) -> None:
    """Teach the networks."""
    from audiotag.data.soundscapes import write_soundscapes
    from audiotag.training.finetune import finetune

    if not (folder / "sounds").exists():
        write_soundscapes(folder / "sounds")
    for kind in kinds:
        if (folder / kind).exists():
            continue
        started, computed = time.monotonic(), time.process_time()
        table = folder / "sounds" / "metadata"
        labels = folder / "sounds" / "class_labels_indices.csv"
        sets = {"train": table / "train.tsv", "val": table / "validation.tsv"}
        result = finetune("fmn", **sets, labels=labels, supervision=kind, output=folder / kind, **LEARNING)
        took = time.monotonic() - started, time.process_time() - computed
        print(f"{kind}: learned in {took[0]:.0f} s ({took[1]:.0f} s of one core)", flush=True)
        print(result.history.iloc[-1].to_string(), flush=True)


def measure(folder: Path, kinds: list[str]) -> Iterator[tuple[str, str, dict[str, float]]]:
    """What was learned from, how scores were asked for, and metric → value, on files that were never heard."""
    from audiotag.data.reading import read_clips
    from audiotag.evaluation.event_criteria import scored_set
    from audiotag.evaluation.frame_metrics import event_f1, psds1, segment_f1
    from audiotag.inference.events import average_cells
    from audiotag.inference.loading import load

    sounds = folder / "sounds"
    clips = read_clips(sounds / "metadata" / "test.tsv", labels=sounds / "class_labels_indices.csv")
    names = tuple(clips.labels.mids)
    truth = {clip.id: [(one.onset, one.offset, names[one.index]) for one in clip.events] for clip in clips}

    def frames(tagger: Any, clip: Any) -> Any:
        return np.concatenate([part.scores for part in tagger.score_frames(clip)])

    def windows(window: float, hop: float) -> Callable[[Any, Any], Any]:
        def scores(tagger: Any, clip: Any) -> Any:
            cells = average_cells(tagger.score_windows(clip, window=window, hop=hop), hop)
            return np.stack([cell.scores for cell in cells])

        return scores

    ways = [(0.04, "frames of 40 ms", frames)]
    ways += [
        (hop, f"windows of {window:g} s every {hop:g} s", windows(window, hop))
        for window, hop in ((5.0, 2.5), (1.0, 0.25))
    ]
    for kind in kinds:
        tagger = load(folder / kind, device="cpu")
        for seconds, how, scores_of in ways:
            scores = {clip.id: scores_of(tagger, clip) for clip in clips}
            metrics = (("PSDS1", psds1), ("event F1", event_f1), ("segment F1", segment_f1))
            with scored_set(truth, scores, names, seconds, dict.fromkeys(truth, 10.0)) as scored:
                yield kind, how, {name: metric(scored) for name, metric in metrics}


def speed(folder: Path, short: float, long: float) -> None:
    """Print seconds and memory for frames of so many hours, and for windows of the *short* recording."""
    from long_file import write_recording

    for hours in (short, long):
        path = folder / f"{hours}h.wav"
        if not path.exists():
            write_recording(path, hours)
    for name, way, hours in (
        ("frames", {}, short),
        ("windows of 10 s without overlap", {"window": 10.0, "hop": 10.0}, short),
        ("windows of 10 s every 2.5 s", {"window": 10.0, "hop": 2.5}, short),
        ("frames", {}, long),
    ):
        command = [sys.executable, __file__, str(folder / f"{hours}h.wav"), "--way", json.dumps(way)]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        print(f"{hours:g} h, {name}: {told['seconds']:.1f} s of one core, {told['megabytes']:.0f} MB", flush=True)


def events_of(recording: Path, way: dict[str, float]) -> None:
    """Find the events of one recording in this process."""
    import torch
    from long_file import resident_megabytes, watched

    from audiotag.host import get_host
    from audiotag.inference.tagger import Tagger
    from audiotag.labels import LabelSet
    from audiotag.models.create import create_backbone
    from audiotag.models.model import Model

    torch.set_num_threads(1)
    options = {"width_mult": WIDTH}
    labels = LabelSet.from_names([f"class {index}" for index in range(447)])
    model = Model(create_backbone("fmn", 447, **options), get_host().backbone("fmn"), options, labels, "fmn")
    tagger = Tagger(model, device="cpu")
    tagger.events((np.zeros(160_000, dtype=np.float32), 16_000), threshold=0.9, **way)
    before, started = resident_megabytes(), time.process_time()
    with watched() as peak:
        tagger.events(recording, threshold=0.9, **way)
    print(json.dumps({"seconds": time.process_time() - started, "megabytes": peak[0] - before}))


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kinds", nargs="+", default=["frames", "clips"], help="what to learn from")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--hours", nargs=2, type=float, default=(1.0, 4.0), help="of the recordings of --speed")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way is not None:
        events_of(asked.folder, json.loads(asked.way))
        return
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.speed:
        speed(asked.folder, *asked.hours)
        return
    learn(asked.folder, asked.kinds)
    for kind, how, values in measure(asked.folder, asked.kinds):
        told = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
        print(f"learned from {kind}, {how}: {told}", flush=True)


if __name__ == "__main__":
    main()
