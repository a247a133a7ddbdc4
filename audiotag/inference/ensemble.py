"""Several models as one: a folder that is loaded wherever a model's name or folder is taken for tagging.

    audiotag.json   format, rule, members, classes, thresholds
    members/        copies of the checkpoints among the members

A member is a copy, a registered model by its name, or a checkpoint elsewhere by its absolute path; the folder can be
moved, and with copies or names only, to another machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from audiotag.documents import Fields, plain_json
from audiotag.engines.interface import Engine
from audiotag.engines.opening import open_engine
from audiotag.errors import CheckpointError, OptionError
from audiotag.files import write_text
from audiotag.folders import atomic_folder, check_new_folder, current_folder, path_inside
from audiotag.host import get_host
from audiotag.inference.combine import EnsembleMode, check_ensemble
from audiotag.labels import LabelSet, read_labels
from audiotag.models.facts import (
    ENSEMBLE_FORMAT,
    FACTS_FILE,
    FORMAT_VERSION,
    Classes,
    find_checkpoint,
    folder_format,
    model_folder,
    open_facts,
    read_classes,
)

if TYPE_CHECKING:
    from audiotag.models.loading import Labels
    from audiotag.models.model import Model

MEMBERS = "members"


@dataclass(frozen=True)
class Ensemble:
    """What the folder says; see the module.

    Attributes:
        folder: Where it is.
        name: What outputs call it.
        combine: ``"logits"`` or ``"probabilities"``: what is averaged.
        members: Names of registered models and folders of checkpoints, in order.
        labels: The classes, in the order of the scores.
        single_label: Whether scores are a softmax over classes.
        thresholds: Tuned thresholds, float64 (classes,), or None.
        metadata: More about it, such as what the thresholds were tuned on.
    """

    folder: Path
    name: str
    combine: EnsembleMode
    members: tuple[str, ...]
    labels: LabelSet
    single_label: bool
    thresholds: NDArray[np.float64] | None
    metadata: Mapping[str, Any]

    def load(
        self, *, device: str = "auto", precision: str = "32", engine: str = "auto", progress: bool = False
    ) -> list[Engine]:
        """The members' engines.

        Args:
            device: As `open_engine` takes it.
            precision: As `open_engine` takes it.
            engine: As `open_engine` takes it.
            progress: Draw a progress bar while weights are downloaded.

        Raises:
            CheckpointError: A member is gone, damaged, or has other classes than when the ensemble was made.
            OptionError: *device* or *precision* cannot be.
            WeightsError: The weights of a registered model cannot be had.
        """
        engines = [
            open_engine(one, device=device, precision=precision, engine=engine, progress=progress)
            for one in self.members
        ]
        facts = [engine.facts for engine in engines]
        changed = [one.name for one in facts if set(one.labels.mids) != set(self.labels.mids)]
        if facts[0].labels.mids != self.labels.mids or changed:
            raise CheckpointError(
                f"the classes of {changed[0] if changed else facts[0].name} are not those that the ensemble had",
                where=self.folder,
                fix="Make the ensemble again (audiotag models ensemble).",
            )
        return engines


def is_ensemble(source: object) -> bool:
    """Whether *source* is the folder of an ensemble (or a file in one). Registered names go first, as for models."""
    return folder_format(source) == ENSEMBLE_FORMAT


def save_ensemble(
    members: Sequence[str | Path],
    output: str | Path,
    *,
    combine: EnsembleMode = "logits",
    copy: bool = True,
    progress: bool = False,
) -> Ensemble:
    """Write an ensemble.

    Args:
        members: Two or more: registered models, checkpoint folders, run folders (their ``best``). They have the same
            classes in any order, matched by mid; families and sample rates may differ.
        output: The new folder; it must not exist yet.
        combine: Average ``"logits"`` (EfficientAT) or ``"probabilities"`` (PSLA).
        copy: Copy the checkpoints into the folder; otherwise it refers to where they are now.
        progress: Draw a progress bar while weights are downloaded.

    Raises:
        OptionError: There are fewer than two members, one is an ensemble itself, *combine* is unknown, or *output*
            exists.
        LabelError: The members do not have the same classes.
        AudiotagError: A member cannot be loaded.
    """
    from audiotag.models.loading import load_model

    output = Path(output)
    if len(members) < 2:
        raise OptionError(f"an ensemble of {len(members)} models is too small", fix="Name two models or more.")
    if combine not in get_args(EnsembleMode):
        raise OptionError(f"there is no way to combine called {combine!r}", fix="Use logits or probabilities.")
    check_new_folder(output)
    refuse_nesting(members)
    first: Model | None = None
    entries: list[dict[str, str]] = []
    with atomic_folder(output) as partial:
        for number, member in enumerate(members, start=1):
            model = load_model(member, progress=progress)
            first = first or model
            check_ensemble([first, model], combine)
            entries.append(_entry(member, model, number, partial, copy))
        assert first is not None
        ensemble = Ensemble(output, output.name, combine, (), first.labels, first.single_label, None, {})
        (partial / FACTS_FILE).write_text(ensemble_text(ensemble, entries), encoding="utf-8")
    return read_ensemble(output)


def refuse_nesting(members: Sequence[object]) -> None:
    """Refuse an ensemble as one of several models: nobody could tell how much its members count.

    Raises:
        OptionError: There is one.
    """
    for member in members:
        if is_ensemble(member):
            raise OptionError(
                "an ensemble cannot be a member of another",
                where=str(member),
                fix="Name its members instead, each once.",
            )


def _entry(member: str | Path, model: Model, number: int, partial: Path, copy: bool) -> dict[str, str]:
    if isinstance(member, str) and member in get_host().backbones:
        return {"model": member}
    from audiotag.models.checkpoint import save_checkpoint

    folder = find_checkpoint(member)
    if not copy:
        return {"path": str(folder.resolve())}
    inside = f"{MEMBERS}/{number:02d}"
    save_checkpoint(partial / inside, model)
    return {"folder": inside, "from": str(member)}


def ensemble_text(ensemble: Ensemble, entries: Sequence[Mapping[str, str]]) -> str:
    """The facts file of an ensemble whose members are *entries*, as `read_ensemble` takes it back."""
    content = {
        "format": ENSEMBLE_FORMAT,
        "format_version": FORMAT_VERSION,
        "audiotag": version("audiotag"),
        "name": ensemble.name,
        "combine": ensemble.combine,
        "members": list(entries),
        **Classes(ensemble.labels, ensemble.single_label, ensemble.thresholds).to_dict(),
        "metadata": plain_json(ensemble.metadata, "metadata", error=CheckpointError),
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_ensemble(folder: str | Path, labels: Labels | None = None) -> Ensemble:
    """What the folder of an ensemble says, without loading its members.

    Args:
        folder: Where it is.
        labels: The classes, for other display names; they must be its own, in its order.

    Raises:
        CheckpointError: The file is damaged, or of a version that this audiotag cannot read.
        LabelError: *labels* are other classes.
    """
    folder = model_folder(folder)
    content = _content(folder)
    classes = read_classes(content, folder)
    if content.text("combine") not in get_args(EnsembleMode):
        raise content.refuse("combine", f"must be {' or '.join(get_args(EnsembleMode))}")
    members = tuple(_member(entry, folder) for entry in content.records("members"))
    if len(members) < 2:
        raise content.refuse("members", "must be two or more")
    ensemble = Ensemble(
        folder=folder,
        name=content.text("name"),
        combine=cast(EnsembleMode, content.text("combine")),
        members=members,
        **classes._asdict(),
        metadata=dict(content.fields("metadata")),
    )
    if labels is None:
        return ensemble
    return replace(ensemble, labels=read_labels(labels).required(ensemble.labels, where=folder))


def _content(folder: Path) -> Fields:
    fix = "Copy the folder again, or make the ensemble again (audiotag models ensemble)."
    return open_facts(current_folder(folder) / FACTS_FILE, ENSEMBLE_FORMAT, "an ensemble", fix)


def _member(entry: Fields, folder: Path) -> str:
    if "model" in entry:
        return entry.text("model")
    if "path" in entry:
        return entry.text("path")
    name = entry.text("folder")
    return str(path_inside(current_folder(folder), name, error=CheckpointError, where=folder).absolute())


def keep_ensemble(
    folder: str | Path, metadata: Mapping[str, Any], thresholds: NDArray[np.float64] | None = None
) -> None:
    """Write what was tuned into an ensemble.

    Args:
        folder: The ensemble.
        metadata: What was tuned, and on what; takes its place among its metadata.
        thresholds: float (classes,); None for those that there are.

    Raises:
        CheckpointError: The folder holds no ensemble.
    """
    ensemble = read_ensemble(folder)
    content = _content(ensemble.folder)
    kept = ensemble.thresholds if thresholds is None else thresholds
    changed = replace(ensemble, thresholds=kept, metadata={**ensemble.metadata, **metadata})
    text = ensemble_text(changed, content["members"])
    write_text(current_folder(ensemble.folder) / FACTS_FILE, text)
