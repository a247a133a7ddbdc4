"""Household-like sounds made from scratch, so that the whole toolkit can be tried without a recording.

The sounds are caricatures: each class has a recognisable shape in time and frequency, with pitch, speed and
loudness drawn anew for every clip. Clips mix up to three of them over noise, at several rates, lengths and channel
counts, because that is what real folders look like.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.encoding import write_sound
from audiotag.files import write_text
from audiotag.labels import Label, LabelSet
from audiotag.seeding import numpy_generator

Waveform = NDArray[np.float64]
Maker = Callable[[NDArray[np.float64], np.random.Generator], Waveform]

RATES = (16_000, 22_050, 32_000, 44_100, 48_000)


def _decay(time: Waveform, start: float, seconds: float) -> Waveform:
    """1 at *start*, falling to a tenth after *seconds*, 0 before."""
    since = time - start
    return np.where(since >= 0, 10.0 ** (-np.maximum(since, 0.0) / seconds), 0.0)


def noise_between(time: Waveform, low: float, high: float, generator: np.random.Generator) -> Waveform:
    """Noise between two frequencies (Hz), peak 1."""
    spectrum = np.fft.rfft(generator.standard_normal(len(time)))
    frequency = np.fft.rfftfreq(len(time), time[1] - time[0])
    spectrum[(frequency < low) | (frequency > high)] = 0.0
    noise: Waveform = np.fft.irfft(spectrum, len(time))
    return noise / max(float(np.abs(noise).max()), 1e-9)


def doorbell(time: Waveform, generator: np.random.Generator) -> Waveform:
    """Ding, dong, again and again: two decaying tones, the second lower."""
    pitch, pause = generator.uniform(600, 800), generator.uniform(0.4, 0.6)
    wave = np.zeros_like(time)
    for start in np.arange(generator.uniform(0.0, 0.4), float(time[-1]), generator.uniform(1.8, 2.4)):
        wave += np.sin(2 * np.pi * pitch * time) * _decay(time, start, 0.7)
        wave += np.sin(2 * np.pi * pitch * 0.8 * time) * _decay(time, start + pause, 0.9)
    return wave


def smoke_alarm(time: Waveform, generator: np.random.Generator) -> Waveform:
    """Short high beeps in a steady rhythm."""
    pitch, period = generator.uniform(2800, 3400), generator.uniform(0.35, 0.5)
    phase = (time + generator.uniform(0, period)) % period
    return np.sign(np.sin(2 * np.pi * pitch * time)) * (phase < 0.5 * period) * 0.7


def kettle(time: Waveform, generator: np.random.Generator) -> Waveform:
    """A hiss with a whistle that climbs."""
    low, climb = generator.uniform(1200, 1600), generator.uniform(150, 350)
    whistle = np.sin(2 * np.pi * (low * time + 0.5 * climb * time**2 + 3.0 * np.sin(2 * np.pi * 6 * time)))
    return 0.7 * whistle + 0.3 * noise_between(time, 3000, 7000, generator)


def running_water(time: Waveform, generator: np.random.Generator) -> Waveform:
    """Broad noise whose level wanders quickly."""
    wander = 1.0 + 0.4 * np.sin(2 * np.pi * generator.uniform(5, 9) * time + generator.uniform(0, 6))
    return noise_between(time, 400, 6500, generator) * wander


def knocking(time: Waveform, generator: np.random.Generator) -> Waveform:
    """Groups of three hard knocks: a click and a short, hollow ring."""
    wave = np.zeros_like(time)
    gap, pitch = generator.uniform(0.14, 0.2), generator.uniform(250, 350)
    click = noise_between(time, 500, 6000, generator)
    for group in np.arange(generator.uniform(0, 0.3), float(time[-1]), generator.uniform(0.9, 1.2)):
        for start in group + gap * np.arange(3):
            wave += np.sin(2 * np.pi * pitch * time) * _decay(time, start, 0.12) + click * _decay(time, start, 0.05)
    return wave


def vacuum_cleaner(time: Waveform, generator: np.random.Generator) -> Waveform:
    """A motor's hum with its harmonics, over a rush of air."""
    pitch = generator.uniform(110, 160)
    hum = sum(np.sin(2 * np.pi * pitch * n * time + n) / n for n in range(1, 9))
    return 0.35 * np.asarray(hum) + 0.4 * noise_between(time, 100, 2500, generator)


def barking(time: Waveform, generator: np.random.Generator) -> Waveform:
    """Short growling bursts that fall in pitch."""
    wave = np.zeros_like(time)
    pitch = generator.uniform(350, 550)
    for start in np.arange(generator.uniform(0, 0.3), float(time[-1]), generator.uniform(0.6, 0.9)):
        since = np.clip(time - start, 0, 0.22)
        tone = sum(np.sin(2 * np.pi * n * (pitch * since - 500 * since**2)) / n for n in range(1, 7))
        wave += np.asarray(tone) * ((time >= start) & (time < start + 0.22)) * np.sin(np.pi * since / 0.22)
    return wave


def microwave(time: Waveform, generator: np.random.Generator) -> Waveform:
    """A steady low hum with two far harmonics, beating slowly."""
    pitch, beat = generator.uniform(95, 105), generator.uniform(1.0, 2.0)
    hum = np.sin(2 * np.pi * pitch * time) + 0.5 * np.sin(2 * np.pi * 3 * pitch * time)
    return hum * (0.8 + 0.2 * np.sin(2 * np.pi * beat * time)) + 0.15 * np.sin(2 * np.pi * 20 * pitch * time)


CLASSES: dict[str, tuple[str, Maker]] = {
    "/m/03wwcy": ("Doorbell", doorbell),
    "/m/01y3hg": ("Smoke detector, smoke alarm", smoke_alarm),
    "/m/06hck5": ("Steam whistle", kettle),
    "/m/02jz0l": ("Water tap, faucet", running_water),
    "/m/07r4wb8": ("Knock", knocking),
    "/m/0d31p": ("Vacuum cleaner", vacuum_cleaner),
    "/m/05tny_": ("Bark", barking),
    "/m/0fx9l": ("Microwave oven", microwave),
}
"""mid → (display name, what makes the sound)."""


def demo_labels() -> LabelSet:
    """The classes of the made-up set."""
    return LabelSet([Label(mid, name) for mid, (name, _) in CLASSES.items()], "synthetic sounds")


@dataclass(frozen=True)
class SyntheticSet:
    """Where a made-up set was written.

    Attributes:
        labels: ``class_labels_indices.csv``.
        train: Manifest of the clips to learn from.
        val: Manifest of the clips to choose the best epoch on.
        test: Manifest of the clips to measure on, heard in no other.
        recording: A long recording.
        events: What is heard in it and when: TSV of filename, onset, offset, event_label.
    """

    labels: Path
    train: Path
    val: Path
    test: Path
    recording: Path
    events: Path


def mix_clip(mids: list[str], rate: int, seconds: float, channels: int, generator: np.random.Generator) -> Waveform:
    """Sounds of the classes *mids* over faint noise, float64 (samples, channels) in [−1, 1]."""
    time = np.arange(round(rate * seconds)) / rate
    wave = 0.01 * generator.standard_normal(len(time))
    for mid in mids:
        sound = CLASSES[mid][1](time, generator)
        wave = wave + sound / max(float(np.abs(sound).max()), 1e-9) * 10 ** (generator.uniform(-6, 0) / 20)
    wave = wave / float(np.abs(wave).max()) * generator.uniform(0.3, 0.95)
    balance = generator.uniform(0.5, 1.0, size=channels)
    return wave[:, None] * balance


def write_set(folder: str | Path, *, clips: int = 320, seed: int = 0, minutes: float = 2.0) -> SyntheticSet:
    """Write a labelled set: clips of one to three overlapping sounds, and a long recording.

    Args:
        folder: Made where it does not exist.
        clips: Number of clips; five eighths to learn from, an eighth to validate on, a quarter to measure on.
        seed: Seed of everything.
        minutes: Length of the long recording.
    """
    folder = Path(folder)
    labels = demo_labels()
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    entries = []
    for number in range(clips):
        generator = numpy_generator(seed, "clip", number)
        # The first class takes turns, so that every class is heard in every part.
        mids = [labels.mids[number % len(labels)]]
        others = [mid for mid in labels.mids if mid not in mids]
        mids += [
            str(mid)
            for mid in generator.choice(others, size=generator.choice([0, 1, 2], p=[0.4, 0.45, 0.15]), replace=False)
        ]
        rate, channels = int(generator.choice(RATES)), int(generator.choice([1, 1, 2]))
        wave = mix_clip(mids, rate, float(generator.uniform(2.0, 5.0)), channels, generator)
        name = f"audio/clip_{number:04d}.{generator.choice(['wav', 'flac'])}"
        write_sound(folder / name, wave, rate, str(generator.choice(["PCM_16", "PCM_24"])))
        entries.append({"video_id": f"clip_{number:04d}", "wav": name, "labels": ",".join(mids)})
    labels.to_csv(folder / "class_labels_indices.csv")
    # Parts are cut in blocks of eight, so that the turns of the classes stay whole.
    place = [number // len(labels) % 8 for number in range(clips)]
    parts = {"train": range(5), "val": range(5, 6), "test": range(6, 8)}
    for name, blocks in parts.items():
        part = [entry for entry, block in zip(entries, place, strict=True) if block in blocks]
        write_text(folder / f"{name}.json", json.dumps({"data": part}, indent=1, allow_nan=False))
    _write_recording(folder, labels, minutes, seed)
    return SyntheticSet(
        labels=folder / "class_labels_indices.csv",
        train=folder / "train.json",
        val=folder / "val.json",
        test=folder / "test.json",
        recording=folder / "recording.flac",
        events=folder / "recording.tsv",
    )


def _write_recording(folder: Path, labels: LabelSet, minutes: float, seed: int, rate: int = 32_000) -> None:
    """A long recording of sounds one after another with pauses between, and what was put where."""
    generator = numpy_generator(seed, "recording")
    wave = 0.005 * generator.standard_normal(round(rate * 60 * minutes))
    rows = ["filename\tonset\toffset\tevent_label"]
    at = 2.0
    while True:
        seconds = float(generator.uniform(4.0, 8.0))
        if at + seconds > 60 * minutes:
            break
        mid = str(generator.choice(labels.mids))
        sound = mix_clip([mid], rate, seconds, 1, generator)[:, 0]
        begin = round(at * rate)
        wave[begin : begin + len(sound)] += sound
        rows.append(f"recording.flac\t{at:.3f}\t{at + seconds:.3f}\t{CLASSES[mid][0]}")
        at += seconds + float(generator.uniform(1.0, 4.0))
    write_sound(folder / "recording.flac", np.clip(wave, -1.0, 1.0), rate, "PCM_16")
    write_text(folder / "recording.tsv", "\n".join(rows) + "\n")
