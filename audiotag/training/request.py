"""What a fine-tuning run is made from, and keeping that with the run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from audiotag.data.clips import ClipSet
from audiotag.data.selection import split_names
from audiotag.documents import Fields, read_json
from audiotag.errors import OptionError, TrainingError
from audiotag.files import write_text
from audiotag.labels import LabelSet
from audiotag.places import exists
from audiotag.training.run_folder import RUN_FILE

HELD_OUT = 0.15
"""Share of the training clips that is held out for validation where none are given."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Model and data of a run.

    Attributes:
        backbone: A published model, a family (fresh parameters), or a checkpoint of ours.
        train: Labelled clips: a file, a folder or a `ClipSet`.
        val: Clips to validate on; None takes `val_split` of `train`, or holds out `fold`, or a share of `train`.
        weights: A published file or checkpoint folder to start from.
        options: Settings of the backbone's family.
        labels: The classes: a CSV, a known list or a `LabelSet`; None takes those of the data.
        previous_labels: The classes of the weights that are started from, where neither the registry nor a checkpoint
            names them; rows of the head are carried over by mid.
        format: Format of `train` and `val`; None recognises it.
        root: Folder that relative paths start from.
        fold: Fold to validate on.
        val_fraction: Share of `train` to validate on where neither `val` nor `fold` is given, in [0, 1); 0 for none.
        unknown_labels: ``error`` or ``skip``.
        single_label: Whether each clip has exactly one class; None asks the data.
        frames: Pictures of a clip there are to choose from (see `audiotag.data.reading.read_clips`).
        teacher: Models by name or folder that the training clips' soft targets come from, averaged.
        teacher_scores: File of a teacher's scores instead (see `audiotag.data.scores`): an ``.npz``, or an ``.npy`` of
            logits in the order of the data's classes with its map of rows.
        eval: Evaluation set, never looked at in training: the models of the finished run are measured on it. None takes
            `eval_split` of `train`, if that is given.
        train_split: Learn from the clips of this official split of `train` (or several, with commas between them).
        val_split: Validate on those of this split of `val`; where that is `train`, `train_split` must leave it out.
        eval_split: Measure on those of this split of `eval`; likewise.

    Raises:
        OptionError: What is asked for excludes itself.
    """

    backbone: str
    train: str | Path | ClipSet
    val: str | Path | ClipSet | None = None
    weights: str | Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    labels: str | Path | LabelSet | None = None
    previous_labels: str | Path | LabelSet | None = None
    format: str | None = None
    root: str | Path | None = None
    fold: int | None = None
    val_fraction: float = HELD_OUT
    unknown_labels: str = "error"
    single_label: bool | None = None
    frames: int | None = None
    teacher: str | Sequence[str] = ()
    teacher_scores: str | Path | None = None
    eval: str | Path | ClipSet | None = None
    train_split: str | None = None
    val_split: str | None = None
    eval_split: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.val_fraction < 1:
            raise OptionError(f"val_fraction is {self.val_fraction}", fix="Give a share of the clips, below 1.")
        if self.fold is not None and self.val_source is not None:
            raise OptionError("a fold and other clips to validate on are given", fix="Give one of them.")
        for purpose, source, split in (("val", self.val, self.val_split), ("eval", self.eval, self.eval_split)):
            if source is None and split is not None:
                self._require_apart(purpose, split)
        if isinstance(self.teacher, str | Path):
            object.__setattr__(self, "teacher", (str(self.teacher),))
        if self.teacher and self.teacher_scores is not None:
            raise OptionError("a teacher and a teacher's scores are given", fix="Give one of them.")

    def _require_apart(self, purpose: str, split: str) -> None:
        """Refuse to learn from the part of `train` that is to be measured on."""
        learned = None if self.train_split is None else split_names(self.train_split)
        shared = split_names(split) if learned is None else split_names(split) & learned
        if shared:
            raise OptionError(
                f"the split {', '.join(map(repr, sorted(shared)))} would be learned from, and is the {purpose}_split",
                fix="Give --split (train_split), the part of the clips to learn from, without it.",
            )

    @property
    def repeatable(self) -> bool:
        """Whether it names files only, so that it can be kept and read again."""
        return not any(isinstance(value, ClipSet | LabelSet) for value in vars(self).values())

    @property
    def val_source(self) -> str | Path | ClipSet | None:
        """What the clips to validate on are read from; None where they are held out of the training clips."""
        return self.train if self.val is None and self.val_split is not None else self.val

    @property
    def eval_source(self) -> str | Path | ClipSet | None:
        """What the evaluation set is read from; None where there is none."""
        return self.train if self.eval is None and self.eval_split is not None else self.eval

    @property
    def taught(self) -> bool:
        """Whether there is a teacher."""
        return bool(self.teacher) or self.teacher_scores is not None

    def save(self, folder: Path, settings: Mapping[str, Any], plugins: Mapping[str, Sequence[str]]) -> None:
        """Keep the request in a run folder; paths become absolute.

        Args:
            folder: The run folder.
            settings: The settings as they were asked for.
            plugins: What the run needs from which distribution and version.
        """
        plain = {one.name: getattr(self, one.name) for one in fields(self)}
        for name in (
            "backbone",
            "train",
            "val",
            "weights",
            "labels",
            "previous_labels",
            "root",
            "teacher_scores",
            "eval",
        ):
            value = plain[name]
            if isinstance(value, str | Path) and exists(value):
                plain[name] = str(Path(value).resolve())
        plain["teacher"] = [str(Path(name).resolve()) if exists(name) else name for name in self.teacher]
        plain["options"] = dict(self.options)
        content = {"request": plain, "settings": dict(settings), "plugins": {**plugins}}
        write_text(folder / RUN_FILE, json.dumps(content, indent=1, allow_nan=False))

    @classmethod
    def load(cls, folder: Path) -> tuple[Request, dict[str, Any], dict[str, tuple[str, str]]]:
        """The request kept in a run folder, the settings that were asked for, and what is needed from plugins.

        Raises:
            TrainingError: The folder holds none, or the file is damaged.
        """
        path = folder / RUN_FILE
        if not path.exists():
            raise TrainingError(
                "there is no run to go on with",
                where=folder,
                fix=f"Give the folder of a run; it holds {RUN_FILE}.",
            )
        fix = "Copy the run again, or start a new one."
        content = Fields(read_json(path, error=TrainingError, fix=fix), where=path, error=TrainingError, fix=fix)
        kept = content.fields("request")
        for name in kept:
            if name not in cls.__dataclass_fields__:
                raise kept.refuse(name, "is nothing that a run is made from")
        values: dict[str, Any] = {name: kept.text(name, None) for name in _TEXTS}
        values |= {"backbone": kept.text("backbone"), "train": kept.text("train")}
        values |= {name: kept.integer(name, None) for name in ("fold", "frames")}
        values["val_fraction"] = kept.number("val_fraction", HELD_OUT, least=0.0)
        values["unknown_labels"] = kept.text("unknown_labels", "error")
        values["single_label"] = kept.flag("single_label", None)
        values["teacher"] = kept.texts("teacher", [])
        values["options"] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in kept.fields("options").items()
        }
        plugins: dict[str, tuple[str, str]] = {}
        needed = content.fields("plugins", {})
        for name in needed:
            pair = needed.texts(name)
            if len(pair) != 2:
                raise needed.refuse(name, "must be a distribution and its version")
            plugins[name] = (pair[0], pair[1])
        try:
            return cls(**values), dict(content.fields("settings")), plugins
        except OptionError as error:
            raise TrainingError(f"the run's record is damaged: {error.what}", where=path, fix=fix) from error


_TEXTS = tuple(
    one.name for one in fields(Request) if one.default is None and one.name not in ("fold", "frames", "single_label")
)
"""Fields that are a text or none."""
