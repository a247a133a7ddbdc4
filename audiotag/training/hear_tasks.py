"""Tasks as HEAR publishes them (Turian et al., NeurIPS 2021, arXiv 2203.03022): a folder each.

task_metadata.json     what is predicted, and how it is measured
labelvocabulary.csv    idx, label
train.json, …          recording → its labels, for each part; or fold00.json, fold01.json, …
16000/train/….wav      the recordings of each part, at one rate or several
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiotag.arguments import count_in
from audiotag.data.formats.tables import read_table
from audiotag.data.targets import Targets
from audiotag.display import brief_repr
from audiotag.documents import Fields, read_fields
from audiotag.errors import ManifestError

_METADATA = "task_metadata.json"
_VOCABULARY = "labelvocabulary.csv"
_FIX = "Give a folder of tasks as HEAR publishes them."

METRICS = {
    "top1_acc": "accuracy",
    "pitch_acc": "accuracy",
    "mAP": "mAP",
    "aucroc": "mAUC",
    "d_prime": "d_prime_of_mean_auc",
}
"""HEAR's names of measures of whole clips → ours."""


class Part(NamedTuple):
    """Recordings of a task.

    Attributes:
        names: Files.
        targets: bool (recordings, classes).
    """

    names: tuple[str, ...]
    targets: NDArray[np.bool_]


class Split(NamedTuple):
    """Which parts are learnt from, chosen on and measured on."""

    train: tuple[str, ...]
    valid: str
    test: str


@brief_repr
@dataclass(frozen=True, eq=False)
class HearTask:
    """One task of scenes.

    Attributes:
        folder: Where it is.
        name: What tables call it.
        labels: Its classes.
        single_label: Whether each recording has exactly one.
        metric: How it is measured, by our name (`METRICS`).
        parts: Name → recordings.
    """

    folder: Path
    name: str
    labels: tuple[str, ...]
    single_label: bool
    metric: str
    parts: Mapping[str, Part]

    def splits(self) -> Iterator[Split]:
        """Train, valid and test; of folds each in turn is measured on, the next one chosen on."""
        if "train" in self.parts:
            yield Split(("train",), "valid", "test")
            return
        folds = sorted(self.parts)
        for index, test in enumerate(folds):
            valid = folds[(index + 1) % len(folds)]
            yield Split(tuple(one for one in folds if one not in (test, valid)), valid, test)

    def recordings(self, part: str, rate: int) -> list[Path]:
        """Paths of the recordings of *part*, at *rate* Hz, or the next higher rate there is, or else the highest."""
        rates = sorted(found for one in self.folder.iterdir() if (found := count_in(one.name)) is not None)
        if not rates:
            raise ManifestError("it has no folder of recordings (16000, 48000, …)", where=self.folder, fix=_FIX)
        nearest = next((one for one in rates if one >= rate), rates[-1])
        return [self.folder / str(nearest) / part / name for name in self.parts[part].names]


def read_tasks(folder: str | Path) -> tuple[list[HearTask], list[str]]:
    """The tasks in *folder*, which is one or holds several, and the names of those that are of events, not of scenes.

    Raises:
        ManifestError: There is none, or one cannot be read.
    """
    folder = Path(folder)
    places = [folder] if (folder / _METADATA).is_file() else sorted(one.parent for one in folder.glob(f"*/{_METADATA}"))
    if not places:
        raise ManifestError(f"it holds no task: there is no {_METADATA} in it", where=folder, fix=_FIX)
    tasks, others = [], []
    for place in places:
        facts = read_fields(place / _METADATA, error=ManifestError, fix=_FIX)
        if facts.text("embedding_type") == "scene":
            tasks.append(_read(place, facts))
        else:
            others.append(place.name)
    return tasks, others


def _read(folder: Path, facts: Fields) -> HearTask:
    kind = facts.text("prediction_type")
    if kind not in ("multiclass", "multilabel"):
        raise facts.refuse("prediction_type", "must be multiclass or multilabel")
    metric = next((METRICS[name] for name in facts.texts("evaluation") if name in METRICS), None)
    if metric is None:
        raise facts.refuse("evaluation", f"names none of: {', '.join(METRICS)}")
    table = [(count_in(row["idx"]), row["label"]) for _, row in read_table(folder / _VOCABULARY, ("idx", "label"))]
    rows = sorted((index, label) for index, label in table if index is not None)
    if [index for index, _ in rows] != list(range(len(table))):
        raise ManifestError("the idx are not the whole numbers from 0, each once", where=folder / _VOCABULARY, fix=_FIX)
    labels = tuple(label for _, label in rows)
    names = ["train", "valid", "test"]
    if "kfold" in facts.text("split_mode"):
        names = sorted(path.stem for path in folder.glob("fold*.json"))
    if len(names) < 3:
        raise ManifestError(f"it has {len(names)} folds, and a probe needs three", where=folder, fix=_FIX)
    parts = {name: _part(folder / f"{name}.json", labels, kind == "multiclass") for name in names}
    return HearTask(folder, facts.text("task_name", folder.name), labels, kind == "multiclass", metric, parts)


def _part(path: Path, labels: tuple[str, ...], single_label: bool) -> Part:
    known = {label: index for index, label in enumerate(labels)}
    content = read_fields(path, error=ManifestError, fix=_FIX)
    lists = []
    for name in content:
        found = content[name]
        found = found if isinstance(found, list) else [found]
        if unknown := [one for one in found if one not in known]:
            raise ManifestError(f"{name!r} has the label {unknown[0]!r}, not one of {_VOCABULARY}", where=path)
        if single_label and len(found) != 1:
            raise ManifestError(f"{name!r} has {len(found)} labels in a task of one each", where=path)
        lists.append(sorted({known[one] for one in found}))
    if not lists:
        raise ManifestError("it names no recordings", where=path, fix=_FIX)
    return Part(tuple(content), Targets.of(lists, len(labels)).dense().astype(bool))
