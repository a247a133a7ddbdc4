"""What the home system's rule keeps in its store: a simulation without sound.

    python examples/home_store.py --steps 2000 --classes 21 --capacity 50

Clips of one or two classes arrive, some classes far more often than others. A list of dictionaries is the store; it
fills up first, and then `store_audio_decision` says whether a clip goes in, and whose place it takes. At the end the
share of each class among what was observed stands beside its share of the store, and in a picture.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
from audiotag_equiav import store_audio_decision


def main() -> None:
    """Simulate, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="clips that arrive")
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--capacity", type=int, default=50)
    parser.add_argument("--replace-prob", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, help="where to draw the shares, such as shares.png")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    np.random.seed(arguments.seed)  # noqa: NPY002

    frequency = 1 / np.arange(1, arguments.classes + 1)  # Zipf: the tenth class is ten times as rare as the first
    frequency /= frequency.sum()
    observed = np.zeros(arguments.classes, dtype=int)
    stored = np.zeros(arguments.classes, dtype=int)
    store: list[dict[str, list[int]]] = []
    for _ in range(arguments.steps):
        drawn = np.random.choice(arguments.classes, size=random.choice([1, 2]), p=frequency)  # noqa: NPY002
        labels = sorted(set(drawn.tolist()))
        observed[labels] += 1
        if len(store) < arguments.capacity:
            store.append({"labels": labels})
            stored[labels] += 1
            continue
        keep, _, place = store_audio_decision(observed, stored, labels, store, arguments.replace_prob)
        if not keep:
            continue
        stored[store[place]["labels"]] -= 1
        store[place] = {"labels": labels}
        stored[labels] += 1

    print(f"{len(store)} clips stored of {arguments.steps}; classes in the store: {np.count_nonzero(stored)}")
    print("class  observed  stored")
    for index, (before, after) in enumerate(zip(observed / observed.sum(), stored / stored.sum(), strict=True)):
        print(f"{index:5}  {before:8.3f}  {after:6.3f}")
    if arguments.picture is not None:
        draw(observed / observed.sum(), stored / stored.sum(), arguments.picture)


def draw(observed: np.ndarray, stored: np.ndarray, path: Path) -> None:
    """Bars of both shares, class by class."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(observed))
    axes.bar(places - 0.2, observed, 0.4, label="observed")
    axes.bar(places + 0.2, stored, 0.4, label="stored")
    axes.set(xlabel="class", ylabel="share", xticks=places)
    axes.legend(frameon=False)
    figure.savefig(path)
    print(f"Picture: {path}")


if __name__ == "__main__":
    main()
