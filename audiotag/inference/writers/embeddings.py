"""Embeddings of recordings in one .npz file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from audiotag.data.clips import Clip
from audiotag.errors import AudioError, AudiotagError
from audiotag.files import atomic_path
from audiotag.inference.writers.rows import NOT_FINITE, clip_path


class EmbeddingCollector:
    """Collects embeddings, one for each recording or window, and writes them into one file.

    The arrays of the file: ``ids`` and ``filenames`` (n,) text, ``onsets`` and ``offsets`` float64 (n,) in seconds
    from the beginning of the recording, ``embeddings`` float32 (n, dim), and ``model``, the name of the model.

    Args:
        model: Name of the model.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._names: list[tuple[str, str]] = []
        self._times: list[tuple[float, float]] = []
        self._embeddings: list[NDArray[np.float32]] = []

    def add(self, clip: Clip, onset: float, offset: float, embedding: NDArray[np.float32]) -> None:
        """Add one embedding, float32 (dim,), of the part of the recording of *clip* from *onset* to *offset*.

        Raises:
            AudioError: It is not finite.
        """
        if not np.isfinite(embedding).all():
            raise AudioError("its embedding is not finite", where=clip_path(clip), fix=NOT_FINITE)
        self._names.append((clip.id, str(clip_path(clip))))
        self._times.append((onset, offset))
        self._embeddings.append(embedding)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._embeddings)

    @property
    def values(self) -> int:
        """How many numbers they have together."""
        return self.count * self._embeddings[0].size if self._embeddings else 0

    def cut(self, count: int) -> None:
        """Forget all but the first *count*."""
        for kept in (self._names, self._times, self._embeddings):
            del kept[count:]

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            AudiotagError: It cannot be written.
        """
        try:
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                self._write(file)
        except OSError as error:
            what = f"the embeddings cannot be written: {error.strerror or error}"
            raise AudiotagError(what, where=path, fix="Free some space there.") from error

    def content(self) -> bytes:
        """The file in memory."""
        file = io.BytesIO()
        self._write(file)
        return file.getvalue()

    def _write(self, file: IO[bytes]) -> None:
        names = np.array(self._names, dtype=np.str_).reshape(-1, 2)
        times = np.array(self._times, dtype=np.float64).reshape(-1, 2)
        embeddings = np.array(self._embeddings, dtype=np.float32).reshape(len(times), -1 if len(times) else 0)
        np.savez(
            file,
            ids=names[:, 0],
            filenames=names[:, 1],
            onsets=times[:, 0],
            offsets=times[:, 1],
            embeddings=embeddings,
            model=np.array(self._model),
        )
