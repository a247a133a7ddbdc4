"""Embeddings of recordings in one .npz file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotag.data.clips import Clip
from audiotag.errors import AudioError, AudiotagError
from audiotag.files import atomic_path
from audiotag.inference.writers.rows import NOT_FINITE, clip_path


class EmbeddingCollector:
    """Collects embeddings, one for each recording or window, and writes them into one file.

    Args:
        path: The .npz file. Its arrays: ``ids`` and ``filenames`` (n,) text, ``onsets`` and ``offsets`` float64 (n,) in
            seconds from the beginning of the recording, ``embeddings`` float32 (n, dim), and ``model``, the name of the
            model.
        model: Name of the model.
    """

    def __init__(self, path: Path, model: str) -> None:
        self._path = path
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

    def save(self) -> None:
        """Write the file, whole or not at all.

        Raises:
            AudiotagError: It cannot be written.
        """
        names = np.array(self._names, dtype=np.str_).reshape(-1, 2)
        times = np.array(self._times, dtype=np.float64).reshape(-1, 2)
        embeddings = np.array(self._embeddings, dtype=np.float32).reshape(len(times), -1 if len(times) else 0)
        try:
            with atomic_path(self._path) as temporary, temporary.open("wb") as file:
                np.savez(
                    file,
                    ids=names[:, 0],
                    filenames=names[:, 1],
                    onsets=times[:, 0],
                    offsets=times[:, 1],
                    embeddings=embeddings,
                    model=np.array(self._model),
                )
        except OSError as error:
            what = f"the embeddings cannot be written: {error.strerror or error}"
            raise AudiotagError(what, where=self._path, fix="Free some space there.") from error
