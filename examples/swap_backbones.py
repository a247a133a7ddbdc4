"""The same fine-tuning and the same evaluation over every family of networks that is installed.

python examples/swap_backbones.py [--folder swap] [--epochs 1] [--clips 64]

Nothing here knows a network: the families come from the host, a plugin's among them as soon as it is installed, and
`audiotag.compare` treats them all alike. The table below only makes those that we know small, so that the tour takes a
minute or two on one core; a family that is not in it is taken as it comes. The sounds are made up and few, so the
scores show that each family learns through the same code, and nothing about which is better.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import audiotag
from audiotag.data import write_set
from audiotag.host import get_host
from audiotag.training import Comparison, Reporter

SMALL: Mapping[str, Mapping[str, Any]] = {
    "mn": {"width_mult": 0.1},
    "dymn": {"width_mult": 0.1},
    "psla": {"variant": "b0", "attention_heads": 1, "target_length": 320},
    "ced": {"depth": 2},
    "convnext_tiny": {"pad_seconds": 0.0},
    "equiav": {"depth": 2, "width": 96, "heads": 3, "target_length": 320},
    "timm": {"architecture": "test_resnet"},
}
"""Family → options that make it small."""


class Plain(Reporter):
    """Prints what is being done."""

    def message(self, text: str) -> None:
        """See `Reporter.message`."""
        print(text, flush=True)


def families() -> list[str]:
    """Every registered family that hears: descriptors without weights that name themselves as their family."""
    specs = get_host().backbones.values()
    return [
        spec.name for spec in specs if spec.weights is None and spec.name == spec.family and "waveform" in spec.inputs
    ]


def swap(folder: Path, clips: int, epochs: int) -> Comparison:
    """Make the sounds, and compare all families on them."""
    data = write_set(folder / "sounds", clips=clips, minutes=0.1)
    names = families()
    return audiotag.compare(
        names,
        data.train,
        val=data.val,
        test=data.test,
        labels=data.labels,
        options={name: SMALL[name] for name in names if name in SMALL},
        output=folder / "comparison",
        epochs=epochs,
        seconds=2.0,
        batch_size=8,
        learning_rate=2e-3,
        workers=1,
        device="cpu",
        threads=1,
        clip_seconds=2.0,
        reporter=Plain(),
    )


def main() -> None:
    """Run the tour and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="Where to keep everything; a temporary folder otherwise.")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--clips", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        comparison = swap(arguments.folder or Path(temporary), arguments.clips, arguments.epochs)
    table = comparison.table[["name", "score", "parameters", "macs", "ms_per_clip", "training_seconds", "pareto"]]
    table = table.rename(columns={"score": comparison.metric})
    print(f"\nMeasured on {comparison.measured_on}; cost for {comparison.clip_seconds:g} s, one thread")
    print(table.round({comparison.metric: 3, "ms_per_clip": 1}).to_string(index=False))
    for name, reason in comparison.failed.items():
        print(f"{name} failed: {reason}")
    if comparison.failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
