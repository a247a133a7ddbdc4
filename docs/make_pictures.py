"""Draw the pictures of README.md and docs/models.md.

python docs/make_pictures.py                # pictures/models.png: score against cost of the known models
python docs/make_pictures.py demo-output    # pictures/events.png too, after `make demo`: what its model hears
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import audiotag
from audiotag.drawing import drawing, dress, legend_above
from audiotag.models.known import KnownModel

PICTURES = Path(__file__).parent / "pictures"


def frontier(models: Sequence[KnownModel]) -> list[KnownModel]:
    """Those than which no other is at once as quick and better, the quickest first."""
    found: list[KnownModel] = []
    for one in sorted(models, key=lambda one: (one.speed or 0.0, -(one.score or 0.0))):
        if not found or (one.score or 0.0) > (found[-1].score or 0.0):
            found.append(one)
    return found


def named(best: Sequence[KnownModel]) -> list[KnownModel]:
    """Those of the frontier whose names do not lie on one another; of close ones the better."""
    found: list[KnownModel] = []
    for one in reversed(best):
        apart = not found or (one.speed or 0) * 1.2 < (found[-1].speed or 0)
        if apart or (found[-1].score or 0) - (one.score or 0) > 0.03:
            found.append(one)
    return found


def draw_models(path: Path) -> None:
    """Published mAP on AudioSet against milliseconds for ten seconds of sound by the quicker engine."""
    models = [one for one in audiotag.models(published=True) if one.score is not None and one.speed is not None]
    families = list(dict.fromkeys(one.family for one in models))
    with drawing(path, 9.0, 5.5, dpi=100) as figure:
        axes = figure.add_subplot()
        best = frontier(models)
        (line,) = axes.plot([one.speed for one in best], [one.score for one in best], color="0.6", lw=1.2, zorder=1)
        entries = {"frontier": line}
        for place, family in enumerate(families):
            mine, look = [one for one in models if one.family == family], dress(place)
            entries[family] = axes.scatter(
                [one.speed for one in mine],
                [one.score for one in mine],
                color=look.colour,
                marker=look.marker,
                zorder=2,
            )
        for one in named(best):  # slanting, above the line, where there are no points
            axes.annotate(one.name, (one.speed, one.score), (2, 5), textcoords="offset points", size=8, rotation=50)
        axes.set_xscale("log")
        axes.set_xlabel("processor time for ten seconds of sound, one thread, quicker engine (ms)")
        axes.set_ylabel("mAP on AudioSet, as published")
        axes.margins(0.1, 0.2)
        legend_above(axes, entries)


def draw_events(demo: Path, path: Path) -> None:
    """Events of the recording of `audiotag demo`."""
    events = audiotag.load(demo / "run").events(demo / "data" / "recording.flac", window=2.0, hop=0.5, threshold=0.8)
    events.plot().figure.savefig(path, dpi=100, pil_kwargs={"optimize": True})  # type: ignore[union-attr]


def main() -> None:
    """Draw them."""
    PICTURES.mkdir(exist_ok=True)
    draw_models(PICTURES / "models.png")
    if len(sys.argv) > 1:
        draw_events(Path(sys.argv[1]), PICTURES / "events.png")
    for path in sorted(PICTURES.iterdir()):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
