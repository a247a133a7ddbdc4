"""Made-up soundscapes with strong labels, to teach models that say *when*, and to measure them, without a download.

Ten classes that differ in their shape in time and frequency, not in how long they last: which one is heard can be told
from a window that holds the event, when it is heard only from frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.encoding import write_sound
from audiotag.csv_text import csv_text
from audiotag.data.synthesis import noise_between
from audiotag.files import write_text
from audiotag.labels import Label, LabelSet
from audiotag.seeding import numpy_generator

Waveform = NDArray[np.float64]

RATE = 16_000
SECONDS = 10.0
_LENGTHS = (0.2, 4.0)
"""Seconds of an event, drawn so that each doubling is as likely."""
_MEAN_EVENTS = 4.0
_SILENT = 0.1
"""Share of the files in which nothing happens."""
_APART = 0.3
"""Seconds at least between two events of a class."""
_NOISE_DB = (-48.0, -32.0)
"""Level of the noise, in dB of full scale."""
_ABOVE_NOISE_DB = (3.0, 21.0)
"""Level of an event above the noise of its file."""
_FADE = 0.005
_SPLITS = (("train", range(5)), ("validation", range(5, 6)), ("test", range(6, 8)))
"""Part → which of every eight files are in it."""


def _phase(frequency: Waveform) -> Waveform:
    return 2 * np.pi * np.cumsum(frequency) / RATE


def beep(time: Waveform, generator: np.random.Generator) -> Waveform:
    """A steady tone."""
    pitch = generator.uniform(900, 1500)
    return np.sin(2 * np.pi * pitch * time) + 0.3 * np.sin(4 * np.pi * pitch * time)


def foghorn(time: Waveform, generator: np.random.Generator) -> Waveform:
    """A steady low tone with many harmonics."""
    pitch = generator.uniform(120, 200)
    return np.asarray(sum(np.sin(2 * np.pi * n * pitch * time + n) / n for n in range(1, 16)))


def siren(time: Waveform, generator: np.random.Generator) -> Waveform:
    """A tone that swings up and down."""
    middle, swings = generator.uniform(600, 900), generator.uniform(2.5, 4.0)
    return np.sin(_phase(middle * (1 + 0.4 * np.sin(2 * np.pi * swings * time + generator.uniform(0, 6)))))


def chirp_tone(time: Waveform, generator: np.random.Generator) -> Waveform:
    """Rising sweeps, one right after the other."""
    low, period = generator.uniform(1200, 1800), generator.uniform(0.12, 0.18)
    return np.sin(_phase(low * (1 + 1.5 * (time % period) / period)))


def whistle(time: Waveform, generator: np.random.Generator) -> Waveform:
    """A high tone with vibrato."""
    pitch, rate = generator.uniform(2600, 3600), generator.uniform(6, 9)
    return np.sin(_phase(pitch * (1 + 0.05 * np.sin(2 * np.pi * rate * time))))


def hiss(time: Waveform, generator: np.random.Generator) -> Waveform:
    """High noise."""
    return noise_between(time, generator.uniform(3500, 4500), 7000, generator)


def rumble(time: Waveform, generator: np.random.Generator) -> Waveform:
    """Low noise."""
    return noise_between(time, 60, generator.uniform(250, 400), generator)


def rattle(time: Waveform, generator: np.random.Generator) -> Waveform:
    """Noise in the middle, switched on and off quickly."""
    period = 1 / generator.uniform(14, 20)
    return noise_between(time, 800, 3000, generator) * (time % period < 0.5 * period)


def clicking(time: Waveform, generator: np.random.Generator) -> Waveform:
    """Sharp clicks in a steady rhythm."""
    period = 1 / generator.uniform(8, 12)
    return noise_between(time, 300, 7000, generator) * np.exp(-(time % period) / 0.006)


def buzz(time: Waveform, generator: np.random.Generator) -> Waveform:
    """A rough tone of odd harmonics."""
    pitch, beats = generator.uniform(280, 420), generator.uniform(35, 50)
    tone = np.asarray(sum(np.sin(2 * np.pi * n * pitch * time) / n for n in range(1, 14, 2)))
    wave: Waveform = tone * (1 + np.sin(2 * np.pi * beats * time))
    return wave


SOUNDS: dict[str, tuple[str, Callable[[Waveform, np.random.Generator], Waveform]]] = {
    "/m/02fs_r": ("Beep, bleep", beep),
    "/m/04fq5q": ("Foghorn", foghorn),
    "/m/03kmc9": ("Siren", siren),
    "/m/0hdsk": ("Chirp tone", chirp_tone),
    "/m/0l156k": ("Whistle", whistle),
    "/m/07rjwbb": ("Hiss", hiss),
    "/m/07phhsh": ("Rumble", rumble),
    "/m/07qn4z3": ("Rattle", rattle),
    "/m/07qc9xj": ("Clicking", clicking),
    "/m/07pjwq1": ("Buzz", buzz),
}
"""mid → (display name, what makes the sound from first to last sample)."""


class Placed(NamedTuple):
    """An event of a soundscape: seconds from its beginning, and mid."""

    onset: float
    offset: float
    mid: str


@dataclass(frozen=True)
class SoundscapeSet:
    """Where a made-up set with strong labels was written.

    Attributes:
        labels: ``class_labels_indices.csv``.
        train: Table of the events to learn from; ``train_durations.tsv`` beside it lists the files without events too.
        validation: Table of those to choose epochs and thresholds on.
        test: Table of those to measure on.
    """

    labels: Path
    train: Path
    validation: Path
    test: Path


def soundscape(*seed: int | str) -> tuple[Waveform, tuple[Placed, ...]]:
    """Ten seconds of noise with up to a dozen events that may overlap.

    Args:
        seed: What it is drawn from.

    Returns:
        float64 (samples,) in [−1, 1] at 16 kHz, and its events in order.
    """
    generator = numpy_generator("soundscape", *seed)
    time = np.arange(round(SECONDS * RATE)) / RATE
    noise = _coloured_noise(len(time), generator)
    level = 10 ** (generator.uniform(*_NOISE_DB) / 20)
    wave = level * noise
    placed = tuple(sorted(_places(generator)))
    for onset, offset, mid in placed:
        begin, end = round(onset * RATE), round(offset * RATE)
        sound = _faded(SOUNDS[mid][1](time[: end - begin], generator))
        loudness = level * 10 ** (generator.uniform(*_ABOVE_NOISE_DB) / 20)
        wave[begin:end] += sound / _rms(sound) * loudness
    return wave / max(1.0, float(np.abs(wave).max()) / 0.95), placed


def _places(generator: np.random.Generator) -> Iterator[Placed]:
    count = 0 if generator.random() < _SILENT else 1 + min(int(generator.poisson(_MEAN_EVENTS - 1)), 11)
    taken: list[Placed] = []
    shortest, longest = np.log(_LENGTHS)
    for _ in range(count):
        mid = str(generator.choice(list(SOUNDS)))
        length = float(np.exp(generator.uniform(shortest, longest)))
        onset = round(float(generator.uniform(0.0, SECONDS - length)), 3)
        event = Placed(onset, round(onset + length, 3), mid)
        if all(
            other.mid != mid or other.offset + _APART < event.onset or event.offset + _APART < other.onset
            for other in taken
        ):
            taken.append(event)
            yield event


def _coloured_noise(samples: int, generator: np.random.Generator) -> Waveform:
    """Noise that falls by 0 to 6 dB an octave above 100 Hz; its root mean square is 1."""
    spectrum = np.fft.rfft(generator.standard_normal(samples))
    frequency = np.fft.rfftfreq(samples, 1 / RATE)
    noise: Waveform = np.fft.irfft(spectrum * np.maximum(frequency, 100.0) ** -generator.uniform(0.0, 1.0), samples)
    return noise / _rms(noise)


def _rms(wave: Waveform) -> float:
    return max(float(np.sqrt(np.mean(wave**2))), 1e-9)


def _faded(wave: Waveform) -> Waveform:
    ramp = np.linspace(0.0, 1.0, round(_FADE * RATE))
    wave = wave.copy()
    wave[: len(ramp)] *= ramp
    wave[-len(ramp) :] *= ramp[::-1]
    return wave


def write_soundscapes(folder: str | Path, *, files: int = 480, seed: int = 0) -> SoundscapeSet:
    """Write soundscapes with strong labels, laid out as DESED is, to a new *folder*.

    Args:
        folder: Made where it does not exist.
        files: How many of ten seconds (0.3 MB each); five eighths to learn from, an eighth to validate on, a quarter to
            measure on. The first ones are the same for every number of files.
        seed: Seed of everything.
    """
    folder = Path(folder)
    tables = {name: folder / "metadata" / f"{name}.tsv" for name, _ in _SPLITS}
    heard = dict.fromkeys(tables, 0)
    for name, turns in _SPLITS:
        numbers = [number for number in range(files) if number % 8 in turns]
        heard[name] = _write_part(tables[name], folder / "audio" / name, numbers, seed)
    labels = LabelSet([Label(mid, name) for mid, (name, _) in SOUNDS.items()], "made-up soundscapes")
    labels.to_csv(folder / "class_labels_indices.csv")
    write_text(folder / "README.md", _README.format(files=files, seed=seed, **heard))
    return SoundscapeSet(labels=folder / "class_labels_indices.csv", **tables)


def _write_part(table: Path, audio: Path, numbers: Sequence[int], seed: int) -> int:
    """Write recordings, the table of their events and that of their lengths; gives the number of events."""
    events, durations = [], []
    for number in numbers:
        name = f"{number:05d}.wav"
        wave, placed = soundscape(seed, number)
        write_sound(audio / name, wave, RATE, "PCM_16")
        events += [(name, f"{onset:.3f}", f"{offset:.3f}", SOUNDS[mid][0]) for onset, offset, mid in placed]
        durations.append((name, f"{SECONDS:.3f}"))
    write_text(table, csv_text([("filename", "onset", "offset", "event_label"), *events], delimiter="\t"))
    beside = table.with_name(f"{table.stem}_durations.tsv")
    write_text(beside, csv_text([("filename", "duration"), *durations], delimiter="\t"))
    return len(events)


_README = """# Made-up soundscapes with strong labels

{files} files of ten seconds, made by `audiotag data tiny --strong --files {files} --seed {seed}`: noise with events of
ten classes, each 0.2 to 4 s long and 3 to 21 dB above the noise, alone and overlapping; a tenth of the files has none.
The classes carry AudioSet's names and are caricatures of them. No recording went into it; use it as you like.

| part | events | table | recordings |
|---|---|---|---|
| train | {train} | metadata/train.tsv | audio/train |
| validation | {validation} | metadata/validation.tsv | audio/validation |
| test | {test} | metadata/test.tsv | audio/test |

Tables have the columns filename, onset, offset (seconds) and event_label; the files without events are in the tables of
durations beside them.
"""
