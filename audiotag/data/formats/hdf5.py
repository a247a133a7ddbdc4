"""HDF5 files of MP3s, as the EfficientAT and PaSST trainers use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from audiotag.audio.encoding import encode_mp3
from audiotag.data.archive import read_index, writing
from audiotag.data.clips import ClipSet, Dataset
from audiotag.data.rows import Row, clips_from_rows
from audiotag.data.sets.tiny import tiny_sound
from audiotag.errors import ManifestError
from audiotag.labels import LabelSet, known_labels

_CLASSES = "class_labels_indices.csv"
_TINY_CLASSES = ("bell", "alarm", "whistle")
_TINY_RATE = 32_000


class Hdf5Archive(Dataset):
    """Arrays ``audio_name``, ``mp3`` (bytes of each recording) and ``target`` (classes, packed by `numpy.packbits`).

    The file does not say what its classes are: they are those of ``class_labels_indices.csv`` beside it, or AudioSet's
    where there is none and ``target`` has AudioSet's 66 bytes. Given classes are matched to them by mid. A clip's id is
    its name without ``.mp3``.
    """

    def read(self, source: Path, *, root: Path | None = None, single_label: bool = False, **reading: Any) -> ClipSet:
        """See `audiotag.data.clips.Dataset.read`; *root* must be None, the recordings are in the file.

        Raises:
            MissingExtraError: h5py is not installed.
        """
        if root is not None:
            raise ManifestError("an archive has no other root", where=source, fix="Leave the root out.")
        index = read_index(source)
        own = _own_labels(source, index.targets.shape[1] // 8)
        if index.targets[:, len(own) :].any():
            raise ManifestError(
                f"a clip has a class beyond the {len(own)} of {own.source}",
                where=source,
                fix=f"Put the list of its classes beside it as {_CLASSES}.",
            )
        rows = (
            Row(
                where=f"row {row}",
                path=source.name,
                labels=tuple(own.mids[column] for column in np.flatnonzero(index.targets[row])),
                id=name.removesuffix(".mp3"),
                member=str(row),
            )
            for row, name in enumerate(index.names)
        )
        return clips_from_rows(rows, source=source, own_labels=own, single_label=single_label, **reading)

    def recognises(self, source: Path) -> bool:
        """Whether it begins as an HDF5 file does."""
        try:
            with source.open("rb") as file:
                return file.read(8) == b"\x89HDF\r\n\x1a\n"
        except OSError:
            return False

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """Write an archive of a few made-up clips, with its class list, to a new *folder*, and return its path.

        Raises:
            MissingExtraError: h5py is not installed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        classes = LabelSet.from_names(_TINY_CLASSES)
        classes.to_csv(folder / _CLASSES)
        with writing(folder / "clips_mp3.hdf") as file:
            for number in range(6):
                labels = (number % len(classes),)
                sound = encode_mp3(tiny_sound(labels, seed, number, rate=_TINY_RATE), _TINY_RATE)
                file.add(f"clip{number}.mp3", sound, labels, len(classes))
        return folder / "clips_mp3.hdf"


def _own_labels(source: Path, columns: int) -> LabelSet:
    beside = source.with_name(_CLASSES)
    own = LabelSet.from_csv(beside) if beside.is_file() else known_labels("audioset")
    if -(-len(own) // 8) != columns:
        raise ManifestError(
            f"its targets have {columns} bytes, room for {8 * columns - 7} to {8 * columns} classes, and {own.source} "
            f"has {len(own)}",
            where=source,
            fix=f"Put the list of its classes beside it as {_CLASSES}.",
        )
    return own
