"""Tag a list of recordings with the home system's network and write its CSV.

    audiotag x equiav create --output home.pth
    python examples/home_inference.py --manifest clips.json --weights home.pth --classes class_labels_indices.csv

The manifest is JSON, ``{"data": [{"video_id": "kitchen 1", "wav": "audio/kitchen_1.wav"}]}``. The table has a row for
each clip, ``video_id,predicted_label``, with the names of all classes above 0.5 joined by commas. (The untrained
network of the first line only shows that everything is in place; its labels mean nothing.)
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from audiotag_equiav import audio_event_classification, load_audio_model

TARGET_LENGTH, MEL_BINS = 1024, 128
MEAN, STD = -4.346, 4.332


def main() -> None:
    """Read the manifest, tag, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="published file, or checkpoint folder of audiotag")
    parser.add_argument("--classes", type=Path, required=True, help="CSV: index,mid,display_name")
    parser.add_argument("--output", type=Path, default=Path("predictions.csv"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--head", default="linear", choices=["linear", "mlp"])
    parser.add_argument("--target-length", type=int, default=TARGET_LENGTH, help="frames that the network was made for")
    arguments = parser.parse_args()

    clips = json.loads(arguments.manifest.read_text(encoding="utf-8"))["data"]
    recordings = {clip["video_id"]: arguments.manifest.parent / clip["wav"] for clip in clips}
    model, classes = load_audio_model(
        arguments.classes, arguments.weights, arguments.device, arguments.head, "audio_only", MEL_BINS
    )
    heard, seconds = audio_event_classification(
        recordings, model, classes, arguments.target_length, MEL_BINS, MEAN, STD
    )
    with arguments.output.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=["video_id", "predicted_label"])
        table.writeheader()
        table.writerows({"video_id": name, "predicted_label": ",".join(names)} for name, names in heard.items())
    slowest = max(seconds, key=lambda name: seconds[name])
    print(f"{arguments.output}: {len(heard)} clips; the slowest was {slowest} with {seconds[slowest]:.2f} s")


if __name__ == "__main__":
    main()
