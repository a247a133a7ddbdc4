"""Thresholds from a file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from audiotag.csv_text import read_cell
from audiotag.data.formats.tables import read_table
from audiotag.data.rows import read_number
from audiotag.documents import Fields, read_json
from audiotag.errors import ManifestError, OptionError
from audiotag.evaluation.metrics import Floats
from audiotag.labels import LabelSet, composed

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
    pairs = _from_json(path) if path.suffix.lower() == ".json" else _from_csv(path)
    thresholds = np.full(len(labels), np.nan)
    position = {mid: index for index, mid in enumerate(labels.mids)}
    for mid, value in pairs:
        index = position.get(composed(mid))
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


def _from_json(path: Path) -> Iterator[tuple[str, float]]:
    content = Fields(
        read_json(path, error=OptionError, fix=_FIX, unique_keys=True), where=path, error=OptionError, fix=_FIX
    )
    if content.get("format") == "audiotag-metrics":
        content = content.fields("thresholds")
    for mid in content:
        yield mid, content.number(mid)


def _from_csv(path: Path) -> Iterator[tuple[str, float]]:
    try:
        for _, row in read_table(path, ("mid", "threshold")):
            yield read_cell(row["mid"]), read_number(row["threshold"], "threshold", str(path))
    except ManifestError as error:
        raise OptionError(error.what, where=error.where, fix=_FIX) from error
