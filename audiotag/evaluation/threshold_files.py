"""Thresholds from a file."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from audiotag.documents import Fields, read_json
from audiotag.errors import OptionError
from audiotag.evaluation.metrics import Floats
from audiotag.labels import LabelSet

_FIX = 'Give {"mid": threshold, …} as JSON, or a CSV with the columns mid,threshold (per_class.csv of an evaluation).'


def read_thresholds(path: str | Path, labels: LabelSet) -> Floats:
    """Read one threshold for each class.

    Args:
        path: A JSON object mid → threshold, a ``metrics.json`` of ours, or a CSV with the columns ``mid`` and
            ``threshold`` such as our ``per_class.csv``. Entries for other classes are passed over.
        labels: The classes.

    Returns:
        float64 (classes,).

    Raises:
        OptionError: The file cannot be read, a threshold is no number, or a class has none or two.
    """
    path = Path(path)
    try:
        pairs = _from_json(path) if path.suffix.lower() == ".json" else _from_csv(path)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise OptionError(f"the thresholds cannot be read ({error})", where=path, fix=_FIX) from error
    thresholds = np.full(len(labels), np.nan)
    position = {mid: index for index, mid in enumerate(labels.mids)}
    for mid, value in pairs:
        index = position.get(mid)
        if index is None:
            continue
        if not 0 <= value <= 1 or not math.isnan(thresholds[index]):
            what = f"the class {mid!r} has no threshold between 0 and 1, or two of them"
            raise OptionError(what, where=path, fix=_FIX)
        thresholds[index] = value
    missing = [labels.mids[index] for index in np.flatnonzero(np.isnan(thresholds))]
    if missing:
        named = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise OptionError(f"{len(missing)} classes have no threshold ({named})", where=path, fix=_FIX)
    return thresholds


def _from_json(path: Path) -> list[tuple[str, float]]:
    content = read_json(path, error=OptionError, fix=_FIX, unique_keys=True)
    found = Fields(content, where=path, error=OptionError, fix=_FIX)
    if found.get("format") == "audiotag-metrics":
        found = found.fields("thresholds")
    return [(mid, found.number(mid)) for mid in found]


def _from_csv(path: Path) -> list[tuple[str, float]]:
    text = path.read_text(encoding="utf-8-sig")
    return [(row["mid"], float(row["threshold"])) for row in csv.DictReader(text.splitlines())]
