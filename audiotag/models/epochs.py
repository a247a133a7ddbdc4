"""The epochs that a run has kept: ``RUN/epochs/epoch_007``."""

from __future__ import annotations

import re
from pathlib import Path

from audiotag.errors import CheckpointError, OptionError
from audiotag.places import is_folder

FOLDER = "epochs"


def epoch_folder(run: str | Path, epoch: int) -> Path:
    """Where a run keeps *epoch* (from 1)."""
    return Path(run) / FOLDER / f"epoch_{epoch:03d}"


def kept_epochs(run: str | Path) -> dict[int, Path]:
    """Epoch → checkpoint folder, by epoch; empty where none were kept."""
    inside = Path(run) / FOLDER
    if not is_folder(inside):
        return {}
    found = {
        int(match[1]): path
        for path in inside.iterdir()
        if path.is_dir() and (match := re.fullmatch(r"epoch_(\d{3,6})", path.name))
    }
    return dict(sorted(found.items()))


def parse_epochs(text: str, kept: list[int]) -> list[int]:
    """The epochs that *text* names: ``"all"``, ``"7"``, ``"16-30"``, ``"1,3,5-8"``; in rising order, each once.

    Args:
        text: What was typed.
        kept: The epochs there are, for ``"all"``.

    Raises:
        OptionError: The text is none of these, or a range runs backwards.
    """
    if text.strip() == "all":
        return sorted(kept)
    chosen: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,6})(?:\s*-\s*(\d{1,6}))?", part.strip())
        begin, end = (0, 0) if match is None else (int(match[1]), int(match[2] or match[1]))
        if begin < 1 or end < begin:
            raise OptionError(f"{text!r} names no epochs", where="epochs", fix="Give all, 16-30, or 1,3,5-8.")
        chosen.update(range(begin, end + 1))
    return sorted(chosen)


def choose_epochs(run: str | Path, text: str) -> list[Path]:
    """The checkpoints of the epochs of *run* that *text* names (see `parse_epochs`).

    Raises:
        CheckpointError: The run has kept none, or not all of those.
        OptionError: *text* cannot be read.
    """
    kept = kept_epochs(run)
    if not kept:
        raise CheckpointError(
            "the run has kept no epochs",
            where=run,
            fix="Train with --keep-epochs; the checkpoints best and last can be named as RUN/best, RUN/last.",
        )
    wanted = parse_epochs(text, list(kept))
    missing = [epoch for epoch in wanted if epoch not in kept]
    if missing:
        raise CheckpointError(
            f"the run has not kept the epochs {', '.join(map(str, missing[:10]))}",
            where=run,
            fix=f"It has kept {', '.join(map(str, kept))}.",
        )
    return [kept[epoch] for epoch in wanted]
