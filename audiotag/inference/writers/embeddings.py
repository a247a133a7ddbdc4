"""Embeddings of recordings in one .npz file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotag.files import atomic_path


class EmbeddingCollector:
    """Collects embeddings, one for each recording or window, and writes them into one file.

    Args:
        path: The .npz file. Its arrays: ``filenames`` (n,) text, ``onsets`` and ``offsets`` float64 (n,) in seconds,
            ``embeddings`` float32 (n, dim), and ``model``, the name of the model.
        model: Name of the model.
    """

    def __init__(self, path: Path, model: str) -> None:
        self._path = path
        self._model = model
        self._filenames: list[str] = []
        self._times: list[tuple[float, float]] = []
        self._embeddings: list[NDArray[np.float32]] = []

    def add(self, path: Path, onset: float, offset: float, embedding: NDArray[np.float32]) -> None:
        """Add one embedding, float32 (dim,)."""
        self._filenames.append(str(path))
        self._times.append((onset, offset))
        self._embeddings.append(embedding)

    def save(self) -> None:
        """Write the file, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        times = np.array(self._times, dtype=np.float64).reshape(-1, 2)
        with atomic_path(self._path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                filenames=np.array(self._filenames, dtype=np.str_),
                onsets=times[:, 0],
                offsets=times[:, 1],
                embeddings=np.array(self._embeddings, dtype=np.float32).reshape(len(times), -1 if len(times) else 0),
                model=np.array(self._model),
            )
