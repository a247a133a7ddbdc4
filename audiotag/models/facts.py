"""What the folders of models say about themselves (``audiotag.json``), read without torch."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiotag.documents import Fields, read_fields, read_json
from audiotag.errors import CheckpointError
from audiotag.folders import current_folder
from audiotag.host import get_host
from audiotag.labels import Label, LabelSet
from audiotag.places import exists, is_file

FORMAT = "audiotag-checkpoint"
FORMAT_VERSION = 1

ENSEMBLE_FORMAT = "audiotag-ensemble"
"""What the facts of a folder say that holds several models (`audiotag.inference.ensemble`)."""

EXPORT_FORMAT = "audiotag-export"
"""What the facts of a folder say that holds an exported network (`audiotag.engines.exported`)."""

WEIGHTS_FILE = "model.safetensors"
FACTS_FILE = "audiotag.json"
TRAINING_FILE = "optimizer.pt"

BASE_FILE = "base.safetensors"
"""What a run with adapters keeps beside its checkpoints: the network that they are for, where nobody publishes it."""

LEARNER_FILE = "learner.safetensors"
"""What an `audiotag.AnalyticLearner` knows that gave a model its head, beside the model."""

FILES = (WEIGHTS_FILE, FACTS_FILE, TRAINING_FILE, LEARNER_FILE)
_RUN_CHECKPOINTS = ("best", "last")


def folder_format(source: object) -> str | None:
    """What the facts say of the folder (or of a file in one) that *source* means, None where there are none.

    Registered names go first, as for models. Whoever reads the folder says what is wrong with it.
    """
    if not isinstance(source, str | Path) or (isinstance(source, str) and source in get_host().backbones):
        return None
    path = current_folder(model_folder(source)) / FACTS_FILE
    if not is_file(path):  # a pipe would be waited for
        return None
    try:
        content = read_json(path, error=CheckpointError)
    except CheckpointError:
        return None
    found = content.get("format") if isinstance(content, dict) else None
    return found if isinstance(found, str) else None


def model_folder(source: str | Path) -> Path:
    """The folder that *source* means, or its ``audiotag.json``, or a run: its ``best`` or ``last``."""
    path = Path(source)
    if path.name == FACTS_FILE:
        return path.parent
    candidates = (path, *(path / name for name in _RUN_CHECKPOINTS))
    return next((one for one in candidates if is_file(current_folder(one) / FACTS_FILE)), path)


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint folder that *path* means.

    Args:
        path: A checkpoint folder, a file in one, or a run folder (its ``best``, else its ``last``).

    Returns:
        The folder under its proper name, also where a killed writer has left it under a hidden one.

    Raises:
        CheckpointError: There is none.
    """
    path = Path(path)
    if path.name in FILES and is_file(path):
        path = path.parent
    candidates = [path, *(path / name for name in _RUN_CHECKPOINTS)]
    for candidate in candidates:
        if is_file(current_folder(candidate) / FACTS_FILE):
            return candidate
    if is_file(path):
        raise CheckpointError(
            "this is a file, and a model is a name or a folder",
            where=path,
            fix="A published file of weights goes with the name of its model: --model NAME --weights FILE.",
        )
    what = "is not a checkpoint and contains none" if exists(path) else "does not exist"
    raise CheckpointError(
        f"the folder {what} (looked for {FACTS_FILE} in it, and in its {' and '.join(_RUN_CHECKPOINTS)})",
        where=path,
        fix="Give the folder of a training run or of a checkpoint.",
    )


def require_replaceable(folder: Path, files: Collection[str]) -> None:
    """Refuse to replace a folder by a model where it holds something else.

    Args:
        folder: The folder, which need not exist.
        files: What such a model is made of.

    Raises:
        CheckpointError: It does.
    """
    if not exists(folder):
        return
    if not folder.is_dir():
        raise CheckpointError("a checkpoint is a folder, and this is a file", where=folder, fix="Name another place.")
    found = sorted(path.name for path in folder.iterdir())
    foreign = [name for name in found if name not in files]
    if foreign or (found and FACTS_FILE not in found):  # other programs call their weights model.safetensors too
        raise CheckpointError(
            f"the folder holds what is no part of a checkpoint and would be lost: {', '.join((foreign or found)[:5])}",
            where=folder,
            fix="Name another folder, or move them away.",
        )


def read_facts(folder: str | Path) -> Fields:
    """What ``audiotag.json`` of a checkpoint or run folder says.

    Raises:
        CheckpointError: There is none, or the file is damaged or of a format that this version cannot read.
    """
    return facts_in(current_folder(find_checkpoint(folder)))


COPY_AGAIN = "Copy the checkpoint again, or take another."


def facts_in(folder: Path) -> Fields:
    """What the file says, every entry of the kind that it must be."""
    facts = open_facts(folder / FACTS_FILE, FORMAT, "a checkpoint of audiotag", COPY_AGAIN)
    made_by = facts.fields("backbone")
    plugin = made_by.fields("plugin")
    for fields, key in ((facts, "name"), (made_by, "spec"), (plugin, "distribution"), (plugin, "version")):
        fields.text(key)
    for fields, key in ((facts, "metadata"), (made_by, "options"), (made_by, "extra_state")):
        fields.fields(key)
    if made_by.text("head", "own") not in ("own", "embedding"):
        raise made_by.refuse("head", "must be own or embedding")
    if "clip_seconds" in facts["metadata"] and facts.fields("metadata").number("clip_seconds") <= 0:
        raise facts.fields("metadata").refuse("clip_seconds", "must be above 0")
    read_classes(facts, folder)
    return facts


_OTHERS = {
    ENSEMBLE_FORMAT: (
        "an ensemble, which tags and is evaluated as one model but is no single network",
        "Name one of its members, for example one of the folders in members.",
    ),
    EXPORT_FORMAT: (
        "an exported network, which tags and is evaluated but cannot be trained or changed",
        "Name the model that it was made from.",
    ),
}
"""Format of what is no single network that learns → what it is, and what to do."""


def open_facts(path: Path, kind: str, what: str, fix: str) -> Fields:
    """The facts file at *path*, of the format *kind*, which messages call *what*.

    Raises:
        CheckpointError: It cannot be read (*fix* says what to do then), or is of another format or version.
    """
    facts = read_fields(path, error=CheckpointError, fix=fix)
    other = facts.get("format")
    if other != kind and isinstance(other, str) and other in _OTHERS:
        holds, advice = _OTHERS[other]
        raise CheckpointError(f"the folder holds {holds}", where=path.parent, fix=advice)
    facts.require_format(kind, FORMAT_VERSION, what)
    return facts


class Classes(NamedTuple):
    """What a facts file says of the classes.

    Attributes:
        labels: The classes, in the order of the scores.
        single_label: Whether scores are a softmax over classes.
        thresholds: Tuned thresholds, float64 (classes,); None for none.
    """

    labels: LabelSet
    single_label: bool
    thresholds: NDArray[np.float64] | None

    def to_dict(self) -> dict[str, Any]:
        """The entries of a facts file, which `read_classes` takes back."""
        thresholds = None if self.thresholds is None else np.asarray(self.thresholds, dtype=np.float64).tolist()
        labels = [{"mid": label.mid, "name": label.name} for label in self.labels]
        return {"labels": labels, "single_label": self.single_label, "thresholds": thresholds}


def read_classes(facts: Fields, folder: Path) -> Classes:
    """The classes of the facts file of *folder*.

    Raises:
        AudiotagError: As *facts* raises: there are none, one occurs twice, or thresholds are not as many.
    """
    labels = [Label(label.text("mid"), label.text("name")) for label in facts.records("labels")]
    if not labels or len({label.mid for label in labels}) < len(labels):
        raise facts.refuse("labels", "must name at least one class, and none twice")
    if "thresholds" not in facts:
        raise facts.refuse("thresholds", "is missing")
    thresholds = facts.numbers("thresholds", None)
    if thresholds is not None and len(thresholds) != len(labels):
        raise facts.refuse("thresholds", f"must be as many as the classes ({len(labels)}), not {len(thresholds)}")
    cuts = None if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    return Classes(LabelSet(labels, str(folder)), facts.flag("single_label"), cuts)
