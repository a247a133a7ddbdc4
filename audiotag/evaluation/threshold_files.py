"""Thresholds from a file."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np

from audiotag.csv_text import read_cell
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
        text = path.read_text(encoding="utf-8-sig")
        pairs = _from_json(text) if path.suffix.lower() == ".json" else _from_csv(text)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise OptionError(f"the thresholds cannot be read ({error})", where=path, fix=_FIX) from error
    thresholds = np.full(len(labels), np.nan)
    position = {mid: index for index, mid in enumerate(labels.mids)}
    for mid, value in pairs:
        index = position.get(mid)
        if index is None:
            continue
        if not math.isfinite(value) or not math.isnan(thresholds[index]):
            raise OptionError(f"the class {mid!r} has no number as threshold, or two of them", where=path, fix=_FIX)
        thresholds[index] = value
    missing = [labels.mids[index] for index in np.flatnonzero(np.isnan(thresholds))]
    if missing:
        named = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise OptionError(f"{len(missing)} classes have no threshold ({named})", where=path, fix=_FIX)
    return thresholds


def _from_json(text: str) -> list[tuple[str, float]]:
    content = json.loads(text)
    if content.get("format") == "audiotag-metrics":
        content = content["thresholds"]
    return [(mid, float(value)) for mid, value in content.items()]


def _from_csv(text: str) -> list[tuple[str, float]]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return [(read_cell(row["mid"]), float(row["threshold"])) for row in rows]
