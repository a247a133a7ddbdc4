"""One folder of recordings per class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audiotag.data.checking import is_recording_name, recordings_below
from audiotag.data.clips import ClipSet, Dataset
from audiotag.data.rows import Row, clips_from_rows
from audiotag.data.sets.tiny import write_tiny_recordings
from audiotag.errors import ManifestError
from audiotag.labels import LabelSet


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
        single_label: bool = True,
        **reading: Any,
    ) -> ClipSet:
        """See `audiotag.data.clips.Dataset.read`; *root* must be None, the recordings are where they are."""
        if not source.is_dir():
            raise ManifestError("the folder of classes does not exist", where=source, fix="Check the path.")
        if root is not None:
            raise ManifestError("a folder of classes has no other root", where=source, fix="Leave the root out.")
        try:
            inside = sorted(path for path in source.iterdir() if not path.name.startswith("."))
        except OSError as error:
            raise ManifestError(f"the folder cannot be listed: {error.strerror}", where=source) from error
        folders = [path for path in inside if path.is_dir()]
        loose = [path.name for path in inside if path.is_file() and is_recording_name(path.name)]
        if loose:
            raise ManifestError(
                f"{len(loose)} recordings lie outside the class folders ({', '.join(loose[:3])})",
                where=source,
                fix="Move each into the folder of its class.",
            )
        rows = []
        for folder in folders:
            clips = list(recordings_below(folder))
            if not clips and labels is None:
                raise ManifestError(
                    "the class folder holds no recordings",
                    where=folder,
                    fix="Put some into it, remove it, or give a class list.",
                )
            for path in clips:
                relative = path.relative_to(source).as_posix()
                rows.append(Row(where=f"folder {folder.name}", path=relative, labels=(folder.name,)))
        return clips_from_rows(rows, source=source, root=source, labels=labels, single_label=single_label, **reading)

    def recognises(self, source: Path) -> bool:
        """Whether it is a folder with folders in it."""
        try:
            return any(path.is_dir() and not path.name.startswith(".") for path in source.iterdir())
        except OSError:
            return False

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """Write folders of a few made-up clips to a new *folder*, and return it."""
        for name, label in write_tiny_recordings(folder, seed):
            (folder / label).mkdir(exist_ok=True)
            (folder / name).rename(folder / label / name)
        return folder
