"""Scores of the frames of many files, to be read again class by class, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from audiotag.errors import AudiotagError

IN_MEMORY = 256 << 20
"""Bytes that are kept in memory; what is more lies in a temporary file, which is gone when the store is closed."""

_TOGETHER = 1 << 20
"""Bytes that are written at a time, by class."""


class ScoreStore:
    """Scores of frames, appended file by file.

    Args:
        classes: Number of classes.
        dtype: Of the scores.

    Attributes:
        classes: As above.
        dtype: As above.
        frames: Number of frames that were added, with those dropped.
    """

    def __init__(self, classes: int, dtype: DTypeLike = np.float32) -> None:
        self.classes = classes
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._kept = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 # closed by close
        self._waiting: list[NDArray[Any]] = []
        self._frames: list[int] = []  # of each part that was written
        self._dropped: list[tuple[int, int]] = []
        self.frames = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the scores."""
        self._kept.close()

    def add(self, scores: NDArray[Any]) -> None:
        """Append (frames, classes).

        Raises:
            AudiotagError: There is no room for a temporary file.
        """
        self._waiting.append(scores.astype(self.dtype))
        self.frames += len(scores)
        if sum(one.nbytes for one in self._waiting) >= _TOGETHER:
            self._write()

    def drop_from(self, frame: int) -> None:
        """Take what was added from *frame* on for not added."""
        self._dropped.append((frame, self.frames))

    def _write(self) -> None:
        if not self._waiting:
            return
        part = np.concatenate(self._waiting)
        try:
            self._kept.seek(0, 2)
            self._kept.write(np.ascontiguousarray(part.T).tobytes())
        except OSError as error:
            raise AudiotagError(
                f"the scores of {sum(self._frames)} frames cannot be kept: {error.strerror or error}",
                fix="Make room in the folder for temporary files, or name another one by TMPDIR.",
            ) from error
        self._frames.append(len(part))
        self._waiting = []

    def column(self, index: int) -> NDArray[Any]:
        """The scores of a class, (frames of all files,)."""
        self._write()
        parts, begin = [np.zeros(0, self.dtype)], 0
        for frames in self._frames:
            self._kept.seek((begin * self.classes + index * frames) * self.dtype.itemsize)
            parts.append(np.frombuffer(self._kept.read(frames * self.dtype.itemsize), self.dtype))
            begin += frames
        whole = np.concatenate(parts)
        return np.delete(whole, np.r_[tuple(slice(*one) for one in self._dropped)]) if self._dropped else whole


def stored(
    scores: Mapping[str, ArrayLike], files: Iterable[str], classes: Sequence[str]
) -> tuple[ScoreStore, dict[str, int]]:
    """The *scores* of *files*, (frames, classes) each, and their numbers of frames.

    Raises:
        AudiotagError: They have another shape, or one is no finite number.
    """
    arrays = {file: np.asarray(scores[file], dtype=np.float64) for file in files}
    for file, array in arrays.items():
        if array.ndim != 2 or array.shape[1] != len(classes):
            raise AudiotagError(f"scores of shape {array.shape} for {len(classes)} classes", where=file)
        if not np.isfinite(array).all():
            raise AudiotagError("a score is not a finite number", where=file)
    store = ScoreStore(len(classes), np.float64)
    for array in arrays.values():
        store.add(array)
    return store, {file: len(array) for file, array in arrays.items()}
