"""Draw pictures/events.png, the picture of README.md: what the model of `audiotag demo` hears in the demo's recording.

After `make demo`: .venv/bin/python docs/make_pictures.py demo-output
"""

from __future__ import annotations

import sys
from pathlib import Path

import audiotag

PICTURE = Path(__file__).parent / "pictures" / "events.png"


def main() -> None:
    """Draw it from the folder that the command line names."""
    demo = Path(sys.argv[1])
    events = audiotag.load(demo / "run").events(demo / "data" / "recording.flac", window=2.0, hop=0.5, threshold=0.8)
    PICTURE.parent.mkdir(exist_ok=True)
    events.plot().figure.savefig(PICTURE, dpi=100, pil_kwargs={"optimize": True})  # type: ignore[union-attr]
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
