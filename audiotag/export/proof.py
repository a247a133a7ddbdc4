"""The proof beside an exported network: how far its answers are from those of torch, on which sounds, and how fast."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audiotag.audio.arrays import Waveform
from audiotag.data.clips import ClipSet
from audiotag.data.source import ClipSource
from audiotag.data.synthesis import CLASSES, mix_clip
from audiotag.display import brief_repr
from audiotag.engines.interface import Engine, Floats
from audiotag.engines.onnx_engine import OnnxEngine
from audiotag.engines.torch_engine import TorchEngine
from audiotag.errors import AudiotagError
from audiotag.evaluation.evaluation import evaluate_scores
from audiotag.evaluation.scoring import clips_for
from audiotag.inference.combine import probabilities
from audiotag.inference.scorer import Scorer
from audiotag.inference.sound import Sound
from audiotag.inference.tagger import Tagger
from audiotag.seeding import numpy_generator

_MADE_UP = 24
_FEATURES_OF = 16
_TIMED = 7


@dataclass(frozen=True)
class Difference:
    """How far the numbers of two engines are apart.

    Attributes:
        largest: Of any two numbers.
        relative: That, as a share of the largest number of torch's.
    """

    largest: float
    relative: float

    @classmethod
    def of(cls, wanted: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]]) -> Difference:
        """Between arrays of the same shapes."""
        largest = max(float(np.abs(one - other).max()) for one, other in zip(wanted, found, strict=True))
        return cls(largest, largest / max(1e-12, *(float(np.abs(one).max()) for one in wanted)))


@brief_repr
@dataclass(frozen=True, kw_only=True)
class Proof:
    """What ``parity.json`` says.

    Attributes:
        sounds: What was compared on: the list of clips, or that the sounds are made up.
        clips: How many.
        features: Spectrograms; None for a network without a front end.
        logits: Logits.
        scores: Probabilities.
        top_class: Share of clips whose highest class is the same.
        decisions: Share of decisions (clip and class) at the thresholds that are the same; None for single-label
            models.
        threshold: ``"tuned"``, or the one number for all classes.
        check: Measures on labelled clips, name → (torch's, the export's); None where none were given.
        bytes: Of the network's file, and of the network's parameters in float32.
        milliseconds: For one clip of the usual length and one thread, median of several: front end and network
            together, by torch's accelerated copy and by this.
        calibrated: What int8 weights were rounded for (``sounds``), and how many passes through the network that made;
            None for other precisions.
    """

    sounds: str
    clips: int
    features: Difference | None
    logits: Difference
    scores: Difference
    top_class: float
    decisions: float | None
    threshold: float | str | None
    check: dict[str, tuple[float | None, float | None]] | None
    bytes: dict[str, int]
    milliseconds: dict[str, float]
    calibrated: dict[str, str | int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self)


def prove(before: TorchEngine, after: OnnxEngine, check: ClipSource | None = None) -> Proof:
    """Compare two engines of one model.

    Args:
        before: With torch.
        after: The exported network.
        check: Labelled clips; None for synthetic sounds.

    Raises:
        AudiotagError: *check* is wrong, or none of its clips can be read.
    """
    taggers = Tagger(before), Tagger(after)
    clips = None if check is None else clips_for(taggers[0], check)
    if clips is None:
        sounds = list(_made_up(before))
        logits = [
            np.concatenate([scorer.score([sound], 1).logits for sound in sounds])
            for scorer in (Scorer([before]), Scorer([after]))
        ]
        rows = np.arange(len(sounds))
    else:
        logits = [tagger.score_clips(clips)[0] for tagger in taggers]
        rows = np.flatnonzero(np.isfinite(logits[0]).all(axis=1) & np.isfinite(logits[1]).all(axis=1))
        if not len(rows):
            raise AudiotagError("none of its clips could be read", where=clips.source)
        reader = Scorer([before]).reader
        sounds = [reader.read(clips[int(row)]) for row in rows[:_FEATURES_OF]]
    wanted, found = (one[rows] for one in logits)
    facts = before.facts
    scores = [probabilities(one, facts.single_label) for one in (wanted, found)]
    thresholds = 0.5 if facts.thresholds is None else facts.thresholds
    decided = [one >= thresholds for one in scores]
    parameters = sum(parameter.numel() for parameter in before.model.backbone.parameters())
    return Proof(
        sounds="synthetic sounds" if clips is None else clips.source,
        clips=len(rows),
        features=_features(before, after, sounds),
        logits=Difference.of([wanted], [found]),
        scores=Difference.of([scores[0]], [scores[1]]),
        top_class=float((wanted.argmax(axis=1) == found.argmax(axis=1)).mean()),
        decisions=None if facts.single_label else float((decided[0] == decided[1]).mean()),
        threshold=None if facts.single_label else 0.5 if facts.thresholds is None else "tuned",
        check=None if clips is None else _check(clips, rows, scores, taggers[0]),
        bytes={"network": after.exported.network.stat().st_size, "parameters": 4 * parameters},
        milliseconds=_milliseconds(before, after),
    )


def _made_up(engine: Engine) -> Iterator[Sound]:
    """Household-like sounds of several lengths, with pictures of noise where the engine sees."""
    generator = numpy_generator(0, "proof")
    lengths, shape = engine.facts.lengths, engine.facts.video_shape
    names = sorted(CLASSES)
    for number in range(_MADE_UP):
        seconds = max(lengths.shortest, lengths.clip * generator.uniform(0.3, 1.0))
        mids = [names[index] for index in generator.choice(len(names), size=1 + number % 3, replace=False)]
        wave = mix_clip(mids, lengths.sample_rate, seconds, 1, generator).reshape(-1).astype(np.float32)
        picture = None if shape is None else generator.standard_normal(shape).astype(np.float32)
        yield Sound.in_memory(Waveform(wave, lengths.sample_rate), picture)


def _features(before: TorchEngine, after: OnnxEngine, sounds: Sequence[Sound]) -> Difference | None:
    front_end = before.model.backbone.front_end
    if front_end is None or after.exported.front_end is None:
        return None
    wanted: list[Floats] = []
    found: list[Floats] = []
    for batch in Scorer([before]).passes(before, [one for one in sounds if not one.is_long], 1):
        assert batch.waveforms is not None  # it has a front end
        with torch.inference_mode():
            wanted.append(front_end(torch.from_numpy(batch.waveforms)).numpy())
        found.append(after.spectrograms(batch.waveforms))
    return Difference.of(wanted, found) if wanted else None


def _check(
    clips: ClipSet, rows: NDArray[np.intp], scores: Sequence[NDArray[np.float64]], tagger: Tagger
) -> dict[str, tuple[float | None, float | None]]:
    known = clips.known()
    thresholds = None if clips.single_label else tagger.event_thresholds()
    before, after = (
        evaluate_scores(
            clips.targets()[rows] > 0,
            one,
            tagger.labels,
            single_label=clips.single_label,
            thresholds=thresholds,
            known=None if known is None else known[rows],
        ).summary
        for one in scores
    )
    return {name: (before[name], after[name]) for name in before}


def _milliseconds(before: TorchEngine, after: OnnxEngine) -> dict[str, float]:
    """One thread each, turn by turn, so that what else the machine does is shared."""
    facts = before.facts
    waveform = video = None
    if "waveform" in facts.inputs:
        waveform = numpy_generator(0, "speed").uniform(-0.1, 0.1, (1, facts.lengths.clip_samples)).astype(np.float32)
    if facts.video_shape is not None:
        video = np.zeros((1, *facts.video_shape), dtype=np.float32)
    single = OnnxEngine(after.exported, threads=1)
    used = torch.get_num_threads()
    times: dict[str, list[float]] = {"torch": [], "onnx": []}
    try:
        torch.set_num_threads(1)
        for _ in range(_TIMED):
            for name, engine in (("torch", before), ("onnx", single)):
                started = time.perf_counter()
                engine.forward(waveform, video)
                times[name].append(1000 * (time.perf_counter() - started))
    finally:
        torch.set_num_threads(used)
    return {name: round(float(np.median(found[2:])), 2) for name, found in times.items()}
