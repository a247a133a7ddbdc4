"""The mark of a folder that ``audiotag data prepare`` has written: which data set lies in it, and what was left out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from audiotag.documents import read_fields
from audiotag.errors import ManifestError
from audiotag.files import write_text

MARKER = "audiotag-dataset.json"
"""The file that says of a folder which data set was prepared into it."""
_FORMAT = "audiotag-dataset"
_FORMAT_VERSION = 1
_FIX = "Restore the file, or prepare the data set again in another folder."


@dataclass(frozen=True)
class LeftOut:
    """A clip whose recording could not be read when the data set was prepared.

    Attributes:
        id: The clip.
        split: Its official split, empty where it has none.
        reason: Why.
    """

    id: str
    split: str
    reason: str


@dataclass(frozen=True)
class Preparation:
    """What the marker of a prepared folder says.

    Attributes:
        dataset: The name of the data set.
        plugin: The distribution that brought it.
        facts: How it was prepared; whoever goes on must do so in the same way.
        single_label: Whether each clip has exactly one class.
        complete: Whether the preparation came to its end.
        left_out: Clips that are not there.
    """

    dataset: str
    plugin: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    single_label: bool = False
    complete: bool = False
    left_out: tuple[LeftOut, ...] = ()

    @property
    def absent(self) -> dict[str, int]:
        """Official split → number of clips left out, as `audiotag.data.clips.ClipSet.absent` has it."""
        return dict(Counter(clip.split for clip in self.left_out))

    def is_same_work(self, other: Preparation) -> bool:
        """Whether one call may go on with what the other began."""
        began = [replace(one, plugin="", complete=False, left_out=(), facts=dict(one.facts)) for one in (self, other)]
        return began[0] == began[1]

    def __str__(self) -> str:
        facts = {"dataset": self.dataset, **self.facts, "single_label": self.single_label}
        return ", ".join(f"{name} {value}" for name, value in facts.items())

    def write(self, folder: Path) -> None:
        """Write the marker of *folder*."""
        content = {
            "format": _FORMAT,
            "format_version": _FORMAT_VERSION,
            "dataset": self.dataset,
            "plugin": self.plugin,
            "complete": self.complete,
            "single_label": self.single_label,
            **self.facts,
            "left_out": [vars(clip) for clip in self.left_out],
        }
        write_text(folder / MARKER, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def read_preparation(folder: Path) -> Preparation | None:
    """What the marker of *folder* says; None where there is none.

    Raises:
        ManifestError: It is damaged, or of a later version.
    """
    path = folder / MARKER
    try:
        if not path.is_file():
            return None
    except OSError:
        return None  # a folder that nobody may look into has no marker that anybody could read
    content = read_fields(path, error=ManifestError, fix=_FIX)
    content.require_format(_FORMAT, _FORMAT_VERSION, "a prepared data set")
    known = {"format", "format_version", "dataset", "plugin", "complete", "single_label", "left_out"}
    return Preparation(
        dataset=content.text("dataset"),
        plugin=content.text("plugin", ""),
        facts={name: value for name, value in content.items() if name not in known},
        single_label=content.flag("single_label", False),
        complete=content.flag("complete"),
        left_out=tuple(
            LeftOut(clip.text("id"), clip.text("split"), clip.text("reason"))
            for clip in content.records("left_out", [])
        ),
    )
