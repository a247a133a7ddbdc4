"""One engine for several threads, which take turns pass by pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from numpy import float64
from numpy.typing import NDArray

from audiotag.engines.interface import Engine, EngineOutput, Floats

Turn = Callable[[], AbstractContextManager[object]]
"""Gives what a thread enters around each pass and lets one in at a time; what it raises ends that thread's work."""


class TurnsEngine(Engine):
    """*engine*, each of whose passes is a *turn*."""

    def __init__(self, engine: Engine, turn: Turn) -> None:
        self.facts = engine.facts
        self._engine = engine
        self._turn = turn

    def forward(self, waveforms: Floats | None, video: Floats | None = None, *, embed: bool = False) -> EngineOutput:
        """See `Engine.forward`."""
        with self._turn():
            return self._engine.forward(waveforms, video, embed=embed)

    def spectrograms(self, waveforms: Floats) -> Floats:
        """See `Engine.spectrograms`."""
        with self._turn():
            return self._engine.spectrograms(waveforms)

    def forward_spectrograms(
        self, spectrograms: Floats, video: Floats | None = None, *, embed: bool = False
    ) -> EngineOutput:
        """See `Engine.forward_spectrograms`."""
        with self._turn():
            return self._engine.forward_spectrograms(spectrograms, video, embed=embed)

    def frames(self, waveforms: Floats | None, video: Floats | None = None) -> tuple[Floats, NDArray[float64]]:
        """See `Engine.frames`."""
        with self._turn():
            return self._engine.frames(waveforms, video)

    def frame_logits(self, waveforms: Floats) -> Floats:
        """See `Engine.frame_logits`."""
        with self._turn():
            return self._engine.frame_logits(waveforms)

    def head_input(
        self, waveforms: Floats | None, video: Floats | None = None, *, embed: bool = False
    ) -> tuple[Floats, Floats | None]:
        """See `Engine.head_input`."""
        with self._turn():
            return self._engine.head_input(waveforms, video, embed=embed)

    def feature_map(self, waveforms: Floats | None, video: Floats | None = None) -> tuple[Floats, NDArray[float64]]:
        """See `Engine.feature_map`."""
        with self._turn():
            return self._engine.feature_map(waveforms, video)

    def fingerprint(self) -> str:
        """See `Engine.fingerprint`."""
        return self._engine.fingerprint()

    def embedding_fingerprint(self) -> str:
        """See `Engine.embedding_fingerprint`."""
        return self._engine.embedding_fingerprint()

    def code_fingerprint(self) -> str:
        """See `Engine.code_fingerprint`."""
        return self._engine.code_fingerprint()
