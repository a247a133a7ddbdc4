"""One folder of recordings per class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiotag.data.clips import ClipSet, Dataset
from audiotag.data.rows import Row, clips_from_rows
from audiotag.errors import ManifestError
from audiotag.labels import LabelSet

AUDIO_ENDINGS = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".w64", ".caf"}
    | {".m4a", ".aac", ".wma"}
)
"""File endings (lower case) that count as recordings."""


class ClassFolders(Dataset):
    """A folder that holds one folder per class, each with recordings at any depth.

    The name of the folder is the class (a display name or mid of the class list where one is given). Classes
    and clips are sorted by name. Files and folders that begin with a dot, and files that are no recordings,
    are passed over.
    """

    last_resort = True

    def read(
        self,
        source: Path,
        *,
        labels: LabelSet | None = None,
        root: Path | None = None,
        unknown_labels: str = "error",
        single_label: bool = True,
        **options: Any,
    ) -> ClipSet:
        """See `audiotag.data.clips.Dataset.read`; *root* must be None, the recordings are where they are."""
        if not source.is_dir():
            raise ManifestError("the folder of classes does not exist", where=source, fix="Check the path.")
        if root is not None:
            raise ManifestError("a folder of classes has no other root", where=source, fix="Leave the root out.")
        folders = sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith("."))
        loose = sorted(path.name for path in source.iterdir() if path.is_file() and _is_audio(path.name))
        if loose:
            raise ManifestError(
                f"{len(loose)} recordings lie outside the class folders ({', '.join(loose[:3])})",
                where=source,
                fix="Move each into the folder of its class.",
            )
        rows = []
        for folder in folders:
            clips = list(_recordings(folder))
            if not clips and labels is None:
                raise ManifestError(
                    "the class folder holds no recordings",
                    where=folder,
                    fix="Put some into it, remove it, or give a class list.",
                )
            for path in clips:
                relative = path.relative_to(source).as_posix()
                rows.append(Row(where=f"folder {folder.name}", path=relative, labels=(folder.name,)))
        return clips_from_rows(
            rows,
            source=source,
            root=source,
            labels=labels,
            unknown_labels=unknown_labels,
            single_label=single_label,
        )

    def recognises(self, source: Path) -> bool:
        """Whether it is a folder with folders in it."""
        try:
            return any(path.is_dir() and not path.name.startswith(".") for path in source.iterdir())
        except OSError:
            return False


def _is_audio(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in AUDIO_ENDINGS


def _recordings(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if _is_audio(name):
                yield Path(place, name)
