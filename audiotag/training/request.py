"""What a fine-tuning run is made from, and keeping that with the run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from audiotag.arguments import take
from audiotag.data.clips import ClipSet
from audiotag.data.selection import split_names
from audiotag.data.source import READING, ClipSource, absolute
from audiotag.display import brief_repr
from audiotag.documents import Fields, read_fields
from audiotag.errors import OptionError, TrainingError
from audiotag.files import write_text
from audiotag.host.needs import Note, read_note
from audiotag.labels import LabelSet
from audiotag.training.run_folder import RUN_FILE, has_state

HELD_OUT = 0.15
"""Share of the training clips that is held out for validation where none are given."""


@brief_repr
@dataclass(frozen=True, kw_only=True)
class Request:
    """Model and data of a run.

    Attributes:
        backbone: A published model, a family (fresh parameters), or a checkpoint of ours.
        train: The clips to learn from.
        val: The clips to validate on; None holds out `fold`, or a share of `train`.
        test: Test set, never looked at in training: the models of the finished run are measured on it.
        weights: A published file or checkpoint folder to start from.
        options: Settings of the backbone's family.
        previous_labels: The classes of the weights that are started from, where neither the registry nor a checkpoint
            names them; rows of the head are carried over by mid.
        fold: Fold to validate on.
        val_fraction: Share of `train` to validate on where neither `val` nor `fold` is given, in [0, 1); 0 for none.
        teacher: Models by name or folder that the training clips' soft targets come from, averaged.
        teacher_scores: File of a teacher's scores instead (see `audiotag.data.scores`): an ``.npz``, or an ``.npy`` of
            logits in the order of the data's classes with its map of rows.

    Raises:
        OptionError: What is asked for excludes itself.
    """

    backbone: str
    train: ClipSource
    val: ClipSource | None = None
    test: ClipSource | None = None
    weights: str | Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    previous_labels: str | Path | LabelSet | None = None
    fold: int | None = None
    val_fraction: float = HELD_OUT
    teacher: str | Sequence[str] = ()
    teacher_scores: str | Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.val_fraction < 1:
            raise OptionError(f"val_fraction is {self.val_fraction}", fix="Give a share of the clips, below 1.")
        if self.fold is not None and self.val is not None:
            raise OptionError("a fold and other clips to validate on are given", fix="Give one of them.")
        for purpose, source in (("val", self.val), ("test", self.test)):
            if source is not None and source.split is not None and source.is_part_of(self.train):
                self._require_apart(purpose, source.split)
        if isinstance(self.teacher, str | Path):
            object.__setattr__(self, "teacher", (str(self.teacher),))
        if self.teacher and self.teacher_scores is not None:
            raise OptionError("a teacher and a teacher's scores are given", fix="Give one of them.")

    @classmethod
    def of(
        cls,
        backbone: str,
        train: ClipSource | str | Path | ClipSet,
        *,
        val: ClipSource | str | Path | ClipSet | None = None,
        test: ClipSource | str | Path | ClipSet | None = None,
        val_split: str | None = None,
        test_split: str | None = None,
        **arguments: Any,
    ) -> Request:
        """A request from single arguments.

        Args:
            backbone: As above.
            train: Labelled clips: a file, a folder, a `ClipSet` or a `ClipSource`.
            val: Clips to validate on.
            test: Clips to measure the finished models on.
            val_split: Validate on the clips of this official split of *val*; where none is given, of *train*, whose
                own ``split`` must leave it out.
            test_split: Measure on those of this split of *test*; likewise.
            arguments: Fields of `ClipSource`, which say how all three are read (``split`` is of *train* alone), and of
                this class, whose ``fold`` wins.
        """
        source = ClipSource.of(train, **take(arguments, (name for name in READING if name != "fold")))
        val_source, test_source = source.other(val, val_split), source.other(test, test_split)
        return cls(backbone=backbone, train=source, val=val_source, test=test_source, **arguments)

    def _require_apart(self, purpose: str, split: str) -> None:
        """Refuse to learn from the part of `train` that is to be measured on."""
        learned = None if self.train.split is None else split_names(self.train.split)
        shared = split_names(split) if learned is None else split_names(split) & learned
        if shared:
            names = ", ".join(map(repr, sorted(shared)))
            raise OptionError(
                f"the split {names} would be learned from, and is that of --{purpose}-split",
                fix="Give --split, the part of the clips to learn from, without it.",
            )

    @property
    def repeatable(self) -> bool:
        """Whether it names files only, so that it can be kept and read again."""
        sources = (self.train, self.val, self.test)
        return not isinstance(self.previous_labels, LabelSet) and all(one is None or one.repeatable for one in sources)

    @property
    def validates(self) -> bool:
        """Whether there are clips to validate on."""
        return self.val is not None or self.fold is not None or self.val_fraction > 0

    @property
    def taught(self) -> bool:
        """Whether there is a teacher."""
        return bool(self.teacher) or self.teacher_scores is not None

    def save(self, folder: Path, settings: Mapping[str, Any], plugins: Note) -> None:
        """Keep the request in a run folder; paths become absolute.

        Args:
            folder: The run folder.
            settings: The settings as they were asked for.
            plugins: What the run needs from which distribution and version.
        """
        kept: dict[str, Any] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, ClipSource):
                value = value.to_dict()
            elif one.name in ("backbone", "weights", "previous_labels", "teacher_scores"):
                value = absolute(value)
            kept[one.name] = value
        kept |= {"teacher": [absolute(name) for name in self.teacher], "options": dict(self.options)}
        content = {"request": kept, "settings": dict(settings), "plugins": {**plugins}}
        write_text(folder / RUN_FILE, json.dumps(content, indent=1, allow_nan=False))

    @classmethod
    def load(cls, folder: Path) -> tuple[Request, dict[str, Any], Note]:
        """The request kept in a run folder, the settings that were asked for, and what is needed from plugins.

        Raises:
            TrainingError: The folder holds none, or the file is damaged or of an earlier version.
        """
        path = folder / RUN_FILE
        if not path.exists():
            raise TrainingError(
                "there is no run to resume",
                where=folder,
                fix=f"Give the folder of a run; it holds {RUN_FILE}.",
            )
        fix = "Copy the run again, or start a new one."
        content = read_fields(path, error=TrainingError, fix=fix)
        plugins = read_note(content.fields("plugins", {}))
        kept = content.fields("request")
        if isinstance(kept.get("train"), str):
            raise TrainingError(
                "the run was started with an earlier version of audiotag, whose format differs",
                where=path,
                fix=f"Start a new run from its checkpoint: --backbone={folder / 'last'}."
                if has_state(folder)
                else "It had saved no state to resume from; start a new run.",
            )
        try:
            return cls._from_fields(kept), dict(content.fields("settings")), plugins
        except OptionError as error:
            raise TrainingError(f"the run's record is damaged: {error.what}", where=path, fix=fix) from error

    @classmethod
    def _from_fields(cls, kept: Fields) -> Request:
        for name in kept:
            if name not in cls.__dataclass_fields__:
                raise kept.refuse(name, "is nothing that a run is made from")
        measured = {name: kept.fields(name, None) for name in ("val", "test")}
        sources = {name: None if one is None else ClipSource.from_fields(one) for name, one in measured.items()}
        options = kept.fields("options", {})
        return cls(
            backbone=kept.text("backbone"),
            train=ClipSource.from_fields(kept.fields("train")),
            **sources,
            weights=kept.text("weights", None),
            options={name: tuple(value) if isinstance(value, list) else value for name, value in options.items()},
            previous_labels=kept.text("previous_labels", None),
            fold=kept.integer("fold", None),
            val_fraction=kept.number("val_fraction", HELD_OUT, least=0.0),
            teacher=kept.texts("teacher", []),
            teacher_scores=kept.text("teacher_scores", None),
        )


ARGUMENTS = frozenset({*Request.__dataclass_fields__, *READING, "val_split", "test_split"}) - {"backbone", "train"}
"""What `Request.of` takes by name."""
