"""What the folders of models say about themselves (``audiotag.json``), read without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audiotag.documents import Fields, read_fields, read_json
from audiotag.errors import CheckpointError
from audiotag.folders import current_folder
from audiotag.host import get_host
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

FILES = (WEIGHTS_FILE, FACTS_FILE, TRAINING_FILE)
_RUN_CHECKPOINTS = ("best", "last")


def folder_format(source: object) -> str | None:
    """What the facts say of the folder (or of a file in one) that *source* means, None where there are none.

    Registered names go first, as for models. Whoever reads the folder says what is wrong with it.
    """
    if not isinstance(source, str | Path) or (isinstance(source, str) and source in get_host().backbones):
        return None
    try:
        content = read_json(current_folder(model_folder(source)) / FACTS_FILE, error=CheckpointError)
    except CheckpointError:
        return None
    found = content.get("format") if isinstance(content, dict) else None
    return found if isinstance(found, str) else None


def model_folder(source: str | Path) -> Path:
    """The folder that *source* means, which may be its ``audiotag.json``."""
    path = Path(source)
    return path.parent if path.name == FACTS_FILE else path


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
    what = "is no checkpoint and has none" if exists(path) else "does not exist"
    raise CheckpointError(
        f"the folder {what} (looked for {FACTS_FILE} in it, and in its {' and '.join(_RUN_CHECKPOINTS)})",
        where=path,
        fix="Give the folder of a training run or of a checkpoint.",
    )


def read_facts(folder: str | Path) -> dict[str, Any]:
    """What ``audiotag.json`` of a checkpoint or run folder says.

    Raises:
        CheckpointError: There is none, or the file is damaged or of a format that this version cannot read.
    """
    return facts_in(current_folder(find_checkpoint(folder)))


COPY_AGAIN = "Copy the checkpoint again, or take another."


def facts_in(folder: Path) -> dict[str, Any]:
    """What the file says, every entry of the kind that it must be."""
    path = folder / FACTS_FILE
    facts = read_fields(path, error=CheckpointError, fix=COPY_AGAIN)
    kind = facts.get("format")
    if kind == ENSEMBLE_FORMAT:
        raise CheckpointError(
            "the folder holds an ensemble, which tags and is evaluated as one model but is no single network",
            where=folder,
            fix="Name one of its members, for example one of the folders in members.",
        )
    if kind == EXPORT_FORMAT:
        raise CheckpointError(
            "the folder holds an exported network, which tags and is evaluated but cannot be trained or changed",
            where=folder,
            fix="Name the model that it was made from.",
        )
    facts.require_format(FORMAT, FORMAT_VERSION, "a checkpoint of audiotag")
    made_by = facts.fields("backbone")
    plugin = made_by.fields("plugin")
    for fields, key in ((facts, "name"), (made_by, "spec"), (plugin, "distribution"), (plugin, "version")):
        fields.text(key)
    for fields, key in ((facts, "metadata"), (made_by, "options"), (made_by, "extra_state")):
        fields.fields(key)
    facts.flag("single_label")
    if "clip_seconds" in facts["metadata"] and facts.fields("metadata").number("clip_seconds") <= 0:
        raise facts.fields("metadata").refuse("clip_seconds", "must be above 0")
    check_classes(facts)
    return dict(facts)


def check_classes(facts: Fields) -> None:
    """Refuse ``labels`` and ``thresholds`` of a facts file that are no classes, or not as many thresholds as classes.

    Raises:
        AudiotagError: As *facts* raises.
    """
    mids = [label.text("mid") for label in facts.records("labels") if label.text("name") is not None]
    if not mids or len(set(mids)) < len(mids):
        raise facts.refuse("labels", "must name at least one class, and none twice")
    if "thresholds" not in facts:
        raise facts.refuse("thresholds", "is missing")
    thresholds = facts.numbers("thresholds", None)
    if thresholds is not None and len(thresholds) != len(mids):
        raise facts.refuse("thresholds", f"must be as many as the classes ({len(mids)}), not {len(thresholds)}")
