"""An engine in plain NumPy: it hears three tones, as the network of tests/inference/conftest.py does."""

from __future__ import annotations

import numpy as np

from audiotag.audio import PassLengths
from audiotag.engines import Engine, EngineFacts, EngineOutput
from audiotag.labels import Label, LabelSet

RATE = 8000
FRAME = 400
TONES = (400, 1200, 2400)
LABELS = LabelSet([Label("/m/low", "Low"), Label("/m/mid", "Middle, of three"), Label("/m/high", "High")])


def tones(seconds: float, *parts: tuple[int, float, float]) -> np.ndarray:
    """Sound with tone number *k* from *onset* to *offset* for each (k, onset, offset)."""
    times = np.arange(round(seconds * RATE)) / RATE
    sound = np.zeros(times.size)
    for index, onset, offset in parts:
        sound += 0.3 * np.sin(2 * np.pi * TONES[index] * times) * ((times >= onset) & (times < offset))
    return sound.astype(np.float32)


class BandEngine(Engine):
    """Logit of a class: −4 without its tone, and the more above 0 the longer and louder it sounds."""

    def __init__(self, name: str = "bands") -> None:
        lengths = PassLengths.of(RATE, shortest=1.0, clip=2.0, longest=4.0)
        self.facts = EngineFacts(name=name, labels=LABELS, lengths=lengths, embedding_dim=3)
        self.shapes: list[tuple[int, ...]] = []

    def forward(
        self, waveforms: np.ndarray | None, video: np.ndarray | None = None, *, embed: bool = False
    ) -> EngineOutput:
        frames, _ = self.frames(waveforms, video)
        pooled = frames.mean(axis=1)
        return EngineOutput(80 * pooled - 4, pooled if embed else None)

    def frames(self, waveforms: np.ndarray | None, video: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        assert waveforms is not None and waveforms.dtype == np.float32
        self.shapes.append(waveforms.shape)
        count = waveforms.shape[1] // FRAME
        cut = waveforms[:, : count * FRAME].reshape(len(waveforms), count, FRAME)
        basis = np.exp(2j * np.pi * np.outer(np.arange(FRAME), TONES) / RATE)
        powers = 4 * np.abs(cut @ basis / FRAME) ** 2
        return powers.astype(np.float32), (np.arange(count) + 0.5) * FRAME / RATE

    def fingerprint(self) -> str:
        return "bands"

    def code_fingerprint(self) -> str:
        return "1"
