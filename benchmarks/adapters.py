"""Low-rank adapters, the head alone and the whole network, on half of ESC-10's classes after learning the other half.

    OMP_NUM_THREADS=1 python benchmarks/adapters.py esc10.csv

A CED of four blocks learns five classes of ESC-10 from scratch; that, and a fresh one, then learn the other five in
each of the three ways. Fold 1 validates. Prints the mean accuracy of the last three epochs and the processor time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from audiotag.training.finetune import finetune

NETWORK = {"size": "tiny", "depth": 4}
WAYS: dict[str, dict[str, Any]] = {
    "head alone": {"freeze_backbone": True},
    "adapters": {"adapter": {"rank": 8}, "epochs": 12},
    "whole": {"epochs": 12},
}


def halves(table: Path, folder: Path) -> tuple[Path, Path]:
    """Lists of the clips of every other class of ESC-10's *table*, whose recordings lie in ``audio`` beside it."""
    rows = pd.read_csv(table)
    rows["path"] = [str(table.parent.resolve() / "audio" / name) for name in rows["filename"]]
    names = sorted(rows["category"].unique())
    paths = (folder / "first.csv", folder / "second.csv")
    for path, chosen in zip(paths, (names[::2], names[1::2]), strict=True):
        some = rows[rows["category"].isin(chosen)].rename(columns={"category": "labels"})
        some[["path", "labels", "fold"]].to_csv(path, index=False)
    return paths


def learn(backbone: str, clips: Path, output: Path, **settings: Any) -> tuple[float, float]:
    """Mean accuracy of the last three epochs, and the processor's seconds."""
    started = time.process_time()
    common = {"single_label": True, "fold": 1, "batch_size": 16, "workers": 0, "device": "cpu"}
    result = finetune(backbone, clips, output=output, **common, **settings)
    return float(result.history["val_accuracy"].tail(3).mean()), time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="esc10.csv")
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        first, second = halves(arguments.table, folder)
        learn("ced", first, folder / "base", options=NETWORK, epochs=25)
        starts: dict[str, dict[str, Any]] = {str(folder / "base"): {}, "ced": {"options": NETWORK}}
        for seed in range(arguments.seeds):
            for start, options in starts.items():
                for way, settings in WAYS.items():
                    output = folder / f"{Path(start).name} {way} {seed}"
                    accuracy, seconds = learn(start, second, output, seed=seed, **options, **settings)
                    print(f"{output.name}: accuracy {accuracy:.3f}, {seconds:.0f} s of the processor", flush=True)


if __name__ == "__main__":
    main()
