"""What of a model's folder is published: its files by name, all of formats that are data and never code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiotag.documents import Fields, read_fields
from audiotag.engines.exported import read_exported
from audiotag.errors import CheckpointError, OptionError
from audiotag.files import file_sha256
from audiotag.folders import current_folder
from audiotag.models.facts import (
    ENSEMBLE_FORMAT,
    EXPORT_FORMAT,
    TRAINING_FILE,
    facts_in,
    folder_format,
    model_folder,
)
from audiotag.printing import few

PAGE_FILE = "README.md"
CHECKSUMS_FILE = "checksums.json"

_FORMAT, _FORMAT_VERSION = "audiotag-published", 1
_SAFE = (".safetensors", ".json", ".onnx")
_PAGES = (PAGE_FILE, ".gitattributes")
"""What the hub shows, or adds by itself."""


@dataclass(frozen=True)
class Package:
    """The files of a model.

    Attributes:
        folder: Where they are.
        names: Their names, without the page and the checksums.
        exported: Whether it is an exported network.
    """

    folder: Path
    names: tuple[str, ...]
    exported: bool

    @classmethod
    def of(cls, source: str | Path) -> Package:
        """That of a checkpoint, a run (its ``best``, else ``last``) or an exported folder.

        What a training goes on from stays behind: it is a pickle.

        Raises:
            CheckpointError: It is none of these, or damaged.
            OptionError: It is an ensemble, or holds files that are not published.
        """
        if folder_format(source) == ENSEMBLE_FORMAT:
            raise OptionError("it is an ensemble", where=source, fix="Publish its members, one by one.")
        folder = current_folder(model_folder(source))
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        names = [name for name in names if name not in (TRAINING_FILE, PAGE_FILE, CHECKSUMS_FILE)]
        require_safe(names, source)
        return cls(folder, tuple(names), require_model(folder))

    def checksums(self) -> dict[str, Any]:
        """The content of `CHECKSUMS_FILE`."""
        paths = [self.folder / name for name in self.names]
        files = {path.name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)} for path in paths}
        return {"format": _FORMAT, "format_version": _FORMAT_VERSION, "files": files}


def require_safe(names: Iterable[str], where: object) -> None:
    """Refuse files that could be code or cannot be known not to be.

    Raises:
        OptionError: Naming them.
    """
    odd = [name for name in names if name not in _PAGES and ("/" in name or not name.endswith(_SAFE))]
    if odd:
        raise OptionError(
            f"files of other formats than {', '.join(ending[1:] for ending in _SAFE)} are neither published nor "
            f"fetched: {few(odd)}",
            where=where,
            fix="Take a folder that audiotag has written, without other files in it.",
        )


def require_model(folder: Path) -> bool:
    """Whether *folder* holds an exported network; refused where it holds no model of ours.

    Raises:
        CheckpointError: It does not, or the model is damaged.
    """
    if folder_format(folder) == EXPORT_FORMAT:
        read_exported(folder)
        return True
    facts_in(folder)
    return False


def read_checksums(path: Path, names: Iterable[str]) -> Mapping[str, Fields]:
    """What `CHECKSUMS_FILE` says of the files *names*, which must be all that it tells of.

    Raises:
        CheckpointError: It is damaged, or tells of others.
    """
    told = read_fields(path, error=CheckpointError, fix="Ask whoever has published the model to push it again.")
    told.require_format(_FORMAT, _FORMAT_VERSION, "a published model of audiotag")
    files = told.fields("files")
    if wrong := sorted({*files} ^ {*names}):
        raise files.refuse(wrong[0], "is told of or there, and not both")
    return {name: files.fields(name) for name in files}


def require_same(path: Path, told: Fields) -> None:
    """Refuse a file that is not the one that was published.

    Raises:
        CheckpointError: It is another.
    """
    if path.stat().st_size != told.integer("bytes") or file_sha256(path) != told.text("sha256"):
        raise CheckpointError(
            "the file is damaged or another than the one that was published",
            where=path.name,
            fix="Try again; if it fails again, ask whoever has published the model to push it again.",
        )
