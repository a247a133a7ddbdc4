"""Checks of backbones on sound as it comes: through the tagger, as ``audiotag infer`` hears it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audiotag.errors import AudioError
from audiotag.inference.tagger import Tagger
from audiotag.seeding import numpy_generator
from audiotag.testing.check import check, refused, require, skip
from audiotag.testing.networks import CLASSES, front_end_of, longest_of, model_of, seconds_of, settled
from audiotag.testing.subjects import Subject


class _Hearing:
    """A tagger of the network, with pictures at hand where it takes them, and the usual number of samples."""

    def __init__(self, subject: Subject) -> None:
        self.network = settled(subject)
        front_end_of(self.network)
        self.rate = self.network.sample_rate
        self.usual = round(seconds_of(subject, self.network) * self.rate)
        self.tagger = Tagger(model_of(subject, self.network), accelerate=False)
        self.video = None
        if self.network.video_shape is not None:
            self.video = numpy_generator("video").standard_normal((1, *self.network.video_shape)).astype(np.float32)

    def logits(self, waveform: NDArray[np.float32], what: str) -> NDArray[np.float32]:
        """Logits of one waveform, which must be a finite row."""
        logits = self.tagger.logits(waveform, self.rate, video=self.video)
        require(logits.shape == (1, CLASSES), f"{what}: the logits have the shape {logits.shape}")
        require(bool(np.isfinite(logits).all()), f"{what}: the logits are not finite")
        frames, times = self.tagger.embed(waveform, self.rate, kind="frame", video=self.video)
        require(bool(np.isfinite(frames).all()), f"{what}: the frame embeddings are not finite")
        require(frames.shape[1] == len(times) > 0, f"{what}: there are {frames.shape[1]} frames at {len(times)} times")
        return logits


def _noise(count: int) -> NDArray[np.float32]:
    return (0.1 * numpy_generator("noise", count).standard_normal(count)).astype(np.float32)


@check("backbone")
def it_takes_a_single_sample(subject: Subject) -> None:
    """A recording of one sample is tagged."""
    _Hearing(subject).logits(_noise(1), "one sample")


@check("backbone")
def it_takes_silence(subject: Subject) -> None:
    """Digital silence has finite scores."""
    hearing = _Hearing(subject)
    hearing.logits(np.zeros(hearing.usual, dtype=np.float32), "silence")


@check("backbone")
def it_takes_odd_lengths(subject: Subject) -> None:
    """Lengths that are no multiple of any hop or stride are tagged."""
    hearing = _Hearing(subject)
    for count in (2, 997, hearing.usual - 1, hearing.usual + 1):
        hearing.logits(_noise(max(1, count)), f"{count} samples")


@check("backbone")
def it_takes_sound_longer_than_its_clip(subject: Subject) -> None:
    """Sound longer than the trained clip, and longer than one pass, is tagged."""
    hearing = _Hearing(subject)
    longest = longest_of(subject, hearing.network)
    clip = min(subject.spec.clip_seconds, longest)
    for seconds in sorted({min(1.1 * clip, longest), 1.02 * longest}):
        hearing.logits(_noise(round(seconds * hearing.rate)), f"{seconds:.3g} s")


@check("backbone")
def it_hears_loud_and_faint_sound(subject: Subject) -> None:
    """Full scale, clipped and hardly audible sound have finite scores."""
    hearing = _Hearing(subject)
    noise = _noise(hearing.usual)
    for gain, what in ((1e-6, "sound at -140 dB"), (1e3, "sound beyond full scale, clipped")):
        hearing.logits(np.clip(gain * noise, -1, 1).astype(np.float32), what)


@check("backbone")
def broken_samples_are_refused(subject: Subject) -> None:
    """NaN and infinite samples are an error that says so, never a score."""
    hearing = _Hearing(subject)
    noise = _noise(hearing.usual)
    for value in (np.nan, np.inf):
        broken = noise.copy()
        broken[len(broken) // 2] = value
        with refused(AudioError, f"a waveform with {value} gets scores; do not catch AudioError"):
            hearing.tagger.logits(broken, hearing.rate, video=hearing.video)


@check("backbone")
def louder_sound_does_not_leak_between_clips(subject: Subject) -> None:
    """A clip's scores stay the same when another clip of the batch is made a hundred times louder."""
    hearing = _Hearing(subject)
    if hearing.video is not None:
        skip("it takes pictures with the sound")
    noise = _noise(hearing.usual)
    alone = hearing.tagger.logits(noise, hearing.rate)
    pair = hearing.tagger.logits(np.stack([noise, np.clip(100 * noise, -1, 1)]), hearing.rate)
    difference, scale = float(np.abs(pair[0] - alone[0]).max()), max(float(np.abs(alone).max()), 1e-3)
    require(difference <= 1e-3 * scale, f"its logits change by {difference:.3g}; normalise each clip by itself")
