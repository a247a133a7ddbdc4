"""Files of a teacher's scores of frames, as the authors of EfficientSED publish those of their ensemble."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.data.archive import require_h5py
from audiotag.data.clips import Clip
from audiotag.errors import ManifestError

ENDINGS = (".h5", ".hdf5", ".hdf")
SECONDS = 10.0
"""Length of the clips whose scores the file holds."""

_SHAPE = (
    "It holds filenames (clips,) and strong_logits, float (clips, classes, frames), as Zenodo record 14626113 does."
)


class FrameScoresFile:
    """Logits of frames of ten-second clips in an HDF5 file, of which one clip's at a time are read.

    Clips are found by id, by the name of their recording, and by that without its ending.

    Args:
        path: The file.

    Raises:
        ManifestError: It is no such file.
        MissingExtraError: h5py is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        h5py = require_h5py(f"reading {path}")
        try:
            self._file: Any = h5py.File(self.path, "r", locking=False)
            names, self._logits = self._file["filenames"], self._file["strong_logits"]
            decoded = [name.decode() if isinstance(name, bytes) else str(name) for name in names[:]]
            usable = self._logits.ndim == 3 and self._logits.dtype.kind == "f" and len(decoded) == len(self._logits)
        except (OSError, KeyError, ValueError, RuntimeError, AttributeError, TypeError) as error:
            raise ManifestError(f"the scores cannot be read: {error}", where=self.path, fix=_SHAPE) from error
        if not usable or 0 in self._logits.shape:
            raise ManifestError(f"strong_logits are {self._logits.shape}", where=self.path, fix=_SHAPE)
        self._rows = {_stem(name): row for row, name in enumerate(decoded)}

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self._logits.shape[1])

    @property
    def frame_seconds(self) -> float:
        """Length of a frame."""
        return SECONDS / int(self._logits.shape[2])

    def row(self, clip: Clip) -> int | None:
        """Where the scores of *clip* stand; None where there are none."""
        return next((self._rows[name] for name in (_stem(clip.id), clip.path.stem) if name in self._rows), None)

    def logits(self, row: int) -> NDArray[np.float32]:
        """The logits of a clip, float32 (frames, classes).

        Raises:
            ManifestError: They cannot be read, or one is not a number.
        """
        try:
            values: NDArray[np.float32] = np.asarray(self._logits[row], dtype=np.float32).T
        except (OSError, ValueError, RuntimeError) as error:
            raise ManifestError(f"the scores of row {row} cannot be read: {error}", where=self.path) from error
        if np.isnan(values).any():
            raise ManifestError(f"there are NaN among the logits of row {row}", where=self.path)
        return values

    def digest(self) -> str:
        """Names the file by its size, its names and the logits of its first clip."""
        parts = (str(self.path.stat().st_size), "\n".join(self._rows), self.logits(0).tobytes().hex())
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _stem(name: str) -> str:
    return Path(name).stem if Path(name).suffix in (".mp3", ".wav", ".flac", ".ogg", ".m4a") else Path(name).name
