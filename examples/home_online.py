r"""Teach the home system's network one labelled clip at a time; classes may be added to the list it knows.

    audiotag x equiav create --output home.pth
    python examples/home_online.py --manifest labelled.json --weights home.pth \
        --old-classes old.csv --classes new.csv --output learnt

The manifest is JSON, ``{"data": [{"wav": "audio/bell.wav", "labels": "/m/03wwcy,/m/07qcpgn"}]}``. The new class list
holds the old one at the same indices, and more classes behind it. The head alone learns, one step for each clip, and
the result is a file that home_inference.py takes. Nothing is replayed here, so that what is learnt may be forgotten
again: see device_at_home.py for a learner with a store.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path

from audiotag_equiav.home import EquiAV_ft, ModelTrainer, WrappedModel, format_label_data, format_model_input


def read_classes(path: Path) -> dict[str, int]:
    """Mid → index of a class list."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["mid"]: int(row["index"]) for row in csv.DictReader(file)}


def read_arguments() -> argparse.Namespace:
    """The settings, by the names that the network and the trainer take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--classes", type=Path, required=True, help="CSV of the classes to learn")
    parser.add_argument("--old-classes", type=Path, help="CSV of the classes of the weights, where it has fewer")
    parser.add_argument("--output", type=Path, default=Path("learnt"))
    parser.add_argument("--head-type", default="linear", choices=["linear", "mlp"])
    parser.add_argument("--target-length", type=int, default=1024)
    parser.add_argument("--num-mel-bins", type=int, default=128)
    parser.add_argument("--norm-mean", type=float, default=-4.346)
    parser.add_argument("--norm-std", type=float, default=4.332)
    parser.add_argument("--label-smooth", type=float, default=0.0)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--head-lr", type=float, default=1e-4)
    parser.add_argument("--max-epoch", type=int, default=5)
    parser.add_argument("--warmup-epoch", type=float, default=3)
    parser.add_argument("--iteration-per-epoch", type=int, default=10)
    for size, usual in (("depth", 12), ("width", 768), ("heads", 12), ("head-dim", 512)):
        parser.add_argument(f"--{size}", type=int, default=usual, help="size of the network")
    return parser.parse_args()


def main() -> None:
    """Load, learn clip by clip, save."""
    arguments = read_arguments()
    index_of = read_classes(arguments.classes)
    arguments.label_dim = len(index_of)
    arguments.old_label_dim = len(read_classes(arguments.old_classes or arguments.classes))

    model = WrappedModel(EquiAV_ft(**vars(arguments)))
    trainer = ModelTrainer(model, **vars(arguments))
    trainer.loadParameters(arguments.weights)
    model.eval()

    for clip in json.loads(arguments.manifest.read_text(encoding="utf-8"))["data"]:
        features = format_model_input(
            arguments.manifest.parent / clip["wav"],
            arguments.target_length,
            arguments.num_mel_bins,
            arguments.norm_mean,
            arguments.norm_std,
        )
        targets = format_label_data(clip["labels"], index_of, arguments.label_dim, arguments.label_smooth)
        began = time.perf_counter()
        loss = trainer.train_on_audio_only(features, targets)
        print(f"{clip['wav']}: loss {loss:.4f}, {time.perf_counter() - began:.2f} s")

    place = arguments.output / f"online_model-time_{time.strftime('%Y%m%d-%H%M%S')}.pth"
    trainer.saveParameters(place)
    print(f"Saved: {place}")


if __name__ == "__main__":
    main()
