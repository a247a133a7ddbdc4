"""Scores of frames over recordings of any length."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotag import create_backbone
from audiotag.audio.windows import PassLengths, iterate_blocks
from audiotag.cli.main import main
from audiotag.engines.interface import Engine, EngineFacts, EngineOutput, Floats
from audiotag.errors import AudioError, OptionError
from audiotag.host import get_host
from audiotag.inference.decoding import Decoding
from audiotag.inference.events import Events, detect_events
from audiotag.inference.frame_scores import frame_cells
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.models.loading import numbered_labels
from audiotag.models.model import Model

RATE, FRAME = 8000, 800
BLOCK = 20


class Level(Engine):
    """Scores the level of frames of 0.1 s in blocks of 2 s.

    Args:
        context: How much the mean of the block counts, as in squeeze-and-excitation.
        blind: Frames at either edge of a block that hear nothing.
        extra: Frames more (or fewer) than the block has.
    """

    def __init__(self, context: float = 0.0, blind: int = 0, extra: int = 0, clip: float = 2.0) -> None:
        self.context, self.blind, self.extra = context, blind, extra
        self.passes: list[int] = []
        self.facts = EngineFacts(
            name="level",
            labels=LabelSet.from_names(["sound", "silence"]),
            lengths=PassLengths.of(RATE, shortest=0.5, clip=clip, longest=clip),
            embedding_dim=1,
            frame_seconds=FRAME / RATE,
        )

    def forward(self, waveforms: Floats | None, video: Floats | None = None, *, embed: bool = False) -> EngineOutput:
        assert waveforms is not None
        return EngineOutput(self.frame_logits(waveforms).mean(1))

    def frame_logits(self, waveforms: Floats) -> Floats:
        self.passes.append(len(waveforms))
        short = -waveforms.shape[1] % FRAME
        padded = np.pad(waveforms, ((0, 0), (0, short)))
        level = np.abs(padded.reshape(len(waveforms), -1, FRAME)).mean(2)
        level = level + self.context * level.mean(1, keepdims=True)
        if self.blind:
            level[:, : self.blind] = level[:, -self.blind :] = 0
        if self.extra:
            level = level[:, : self.extra] if self.extra < 0 else np.pad(level, ((0, 0), (0, self.extra)))
        logits: Floats = (20 * (level - 0.25)).astype(np.float32)
        return np.stack([logits, -logits], axis=2)

    def fingerprint(self) -> str:
        return "level"

    def code_fingerprint(self) -> str:
        return "1"


def noise(frames: float, seed: int = 0) -> Floats:
    """Noise whose level changes from frame to frame."""
    generator = np.random.default_rng(seed)
    samples = round(frames * FRAME)
    level = np.repeat(generator.random(math.ceil(frames)), FRAME)[:samples]
    return (level * generator.uniform(-1, 1, samples)).astype(np.float32)


def expected(waveform: Floats) -> Floats:
    """What `Level` without context says of each frame."""
    padded = np.pad(waveform, (0, -waveform.size % FRAME))
    logits = 20 * (np.abs(padded.reshape(-1, FRAME)).mean(1) - 0.25)
    return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float32)


@given(
    pieces=st.lists(st.integers(0, 70), min_size=1, max_size=12),
    size=st.integers(1, 40),
    step=st.integers(1, 40),
)
def test_blocks_do_not_depend_on_the_pieces_that_sound_comes_in(pieces: list[int], size: int, step: int) -> None:
    step = min(step, size)
    sound = np.arange(1, sum(pieces) + 1, dtype=np.float32)
    parts = np.split(sound, np.cumsum(pieces)[:-1])
    blocks = [(one.start, own, one.samples.tolist()) for one, own in iterate_blocks(parts, size, step)]
    assert blocks == [(one.start, own, one.samples.tolist()) for one, own in iterate_blocks([sound], size, step)]
    assert [start for start, _, _ in blocks] == [step * number for number in range(len(blocks))]
    covered = set()
    for start, own, samples in blocks:
        assert len(samples) == size
        assert samples[:own] == sound[start : start + own].tolist()
        assert not any(samples[own:])
        covered |= set(range(start, start + own))
    assert covered == set(range(sound.size))
    if len(blocks) > 1:  # none begins where all has been heard
        assert blocks[-2][0] + size < sound.size


@settings(max_examples=30)
@given(
    frames=st.floats(0.1, 95),
    overlap=st.floats(0, 1),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 5),
    extra=st.integers(0, 2),
)
def test_what_needs_no_context_is_the_same_on_any_grid(
    frames: float, overlap: float, batch_size: int, seed: int, extra: int
) -> None:
    waveform = noise(max(frames, 1 / FRAME), seed)
    tagger = Tagger(Level(extra=extra))
    scores, times = tagger.frame_scores(waveform, RATE, overlap=overlap, batch_size=batch_size)
    np.testing.assert_allclose(scores[:, 0], expected(waveform), atol=1e-5)
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(times, 0.1 * np.arange(len(scores)) + 0.05, atol=1e-9)


@settings(max_examples=15)
@given(frames=st.floats(21, 130), sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_the_batch_changes_nothing_where_context_counts(frames: float, sizes: tuple[int, int]) -> None:
    tagger = Tagger(Level(context=1.0))
    one, other = (tagger.frame_scores(noise(frames), RATE, batch_size=size)[0] for size in sizes)
    np.testing.assert_array_equal(one, other)


def test_a_file_scores_as_the_same_sound_in_memory(tmp_path: Path) -> None:
    waveform = noise(470.3)
    soundfile.write(tmp_path / "a.wav", waveform, RATE, subtype="FLOAT")
    tagger = Tagger(Level(context=1.0))
    parts = list(tagger.score_frames(tmp_path / "a.wav"))
    scores, times = tagger.frame_scores(waveform, RATE)
    np.testing.assert_array_equal(np.concatenate([part.scores for part in parts]), scores)
    np.testing.assert_array_equal(np.concatenate([part.times for part in parts]), times)
    assert len(scores) == 471
    assert parts[-1].end == pytest.approx(47.03)


def test_sound_is_read_as_it_is_asked_for(tmp_path: Path) -> None:
    engine = Level()
    soundfile.write(tmp_path / "a.wav", noise(6000), RATE)
    parts = Tagger(engine).score_frames(tmp_path / "a.wav", batch_size=2)
    first = next(parts)
    assert len(first.scores) == 18  # blocks of 20 frames overlap by a tenth
    assert engine.passes == [2]


def test_blocks_fade_into_each_other() -> None:
    """Two blocks of different context: in the four frames that both have, the first gives way to the second."""
    waveform = np.concatenate([np.zeros(20 * FRAME), np.full(16 * FRAME, 0.4)]).astype(np.float32)
    engine = Level(context=1.0)
    scores, _ = Tagger(engine).frame_scores(waveform, RATE, overlap=0.4)
    first = expected(np.zeros(FRAME, dtype=np.float32))[0]
    second = 1 / (1 + np.exp(-20 * (0.4 * 16 / 20 - 0.25)))
    shares = (np.arange(4) + 0.5) / 4
    np.testing.assert_allclose(scores[:16, 0], first, rtol=1e-4)
    np.testing.assert_allclose(scores[16:20, 0], first + shares * (second - first), rtol=1e-4)


def test_frames_that_a_network_rounds_away_repeat_the_last_one() -> None:
    waveform = noise(20)
    scores, _ = Tagger(Level(extra=-1)).frame_scores(waveform, RATE)
    np.testing.assert_allclose(scores[:19, 0], expected(waveform)[:19], atol=1e-5)
    np.testing.assert_array_equal(scores[19], scores[18])


@settings(max_examples=20)
@given(frames=st.floats(1, 90), overlap=st.floats(0, 1))
def test_blocks_that_are_no_multiple_of_a_frame_leave_no_gap(frames: float, overlap: float) -> None:
    waveform = noise(frames)
    scores, _ = Tagger(Level(clip=2.03)).frame_scores(waveform, RATE, overlap=overlap)
    assert len(scores) == math.ceil(waveform.size / FRAME)
    whole = waveform.size // FRAME
    # The last frame of a block ends after it: what the block lacks of it is silence, until the next block has it.
    inner = [index for index in range(whole) if index % 20]
    if overlap == 0:
        np.testing.assert_allclose(scores[inner, 0], expected(waveform)[inner], atol=1e-5)


@pytest.mark.parametrize("overlap", [-0.1, 1.1, math.nan, "1"])
def test_overlaps_that_cannot_be(overlap: object) -> None:
    with pytest.raises(OptionError, match="overlap"):
        Tagger(Level()).frame_scores(noise(30), RATE, overlap=overlap)  # type: ignore[arg-type]


def test_a_model_that_scores_clips_only_says_so() -> None:
    class Deaf(Level):
        def __init__(self) -> None:
            super().__init__()
            self.facts = EngineFacts(name="deaf", labels=self.facts.labels, lengths=self.facts.lengths, embedding_dim=1)

    tagger = Tagger(Deaf())
    assert tagger.frame_seconds is None
    with pytest.raises(OptionError, match="whole clips"):
        tagger.frame_scores(noise(30), RATE)
    ensemble = Tagger([Level(), Level()])
    assert ensemble.frame_seconds is None
    with pytest.raises(OptionError, match="ensemble"):
        ensemble.frame_scores(noise(30), RATE)


def test_an_answer_that_is_no_number_is_refused() -> None:
    class Broken(Level):
        def frame_logits(self, waveforms: Floats) -> Floats:
            return super().frame_logits(waveforms) * np.float32(np.nan)

    with pytest.raises(AudioError, match="not finite"):
        Tagger(Broken()).frame_scores(noise(30), RATE)


def test_a_network_scores_as_its_frames_do(tiny: ModuleType) -> None:
    """Within one block, the tagger gives what the backbone gives."""
    backbone = create_backbone("tiny", 4, seed=0).eval()
    tagger = Tagger(Model(backbone, get_host().backbone("tiny"), {}, numbered_labels(4), "tiny"))
    assert tagger.frame_seconds == pytest.approx(0.01)
    waveform = np.random.default_rng(0).uniform(-0.2, 0.2, round(tagger.clip_seconds * RATE)).astype(np.float32)
    scores, times = tagger.frame_scores(waveform, RATE)
    with torch.inference_mode():
        wanted = backbone.frame_logits(backbone.forward_features(torch.from_numpy(waveform)[None]))[0].sigmoid()
    np.testing.assert_allclose(scores, wanted.numpy(), atol=1e-5)
    assert times[0] == pytest.approx(0.005)


def bursts(*spans: tuple[int, int], frames: int = 60) -> Floats:
    """Noise in some frames, silence in the others."""
    level = np.zeros(frames)
    for begin, end in spans:
        level[begin:end] = 1
    sound = np.repeat(level, FRAME) * np.random.default_rng(1).uniform(-1, 1, frames * FRAME)
    return sound.astype(np.float32)


def spans(events: Events, label: str = "sound") -> list[tuple[float, float]]:
    return [(round(event.onset, 6), round(event.offset, 6)) for event in events if event.label == label]


def test_events_come_from_frames() -> None:
    events = Tagger(Level()).events((bursts((3, 7), (18, 22), (40, 41)), RATE))
    assert spans(events) == [(0.3, 0.7), (1.8, 2.2), (4.0, 4.1)]
    assert spans(events, "silence") == [(0.0, 0.3), (0.7, 1.8), (2.2, 4.0), (4.1, 6.0)]


def test_an_event_over_the_border_of_two_blocks_is_neither_cut_nor_doubled() -> None:
    """A network that hears little at the edges of a block, as those that look around a frame do."""
    sound = (bursts((18, 22)), RATE)
    parts = list(Tagger(Level(blind=1)).score_frames(sound, overlap=0))
    apart = detect_events(frame_cells(parts), Decoding.of(np.array([0.5, 2.0])), hop=None)
    assert len(apart) == 2  # blocks side by side, as the authors have them
    assert spans(Tagger(Level(blind=1)).events(sound)) == [(1.8, 2.2)]


def test_no_event_ends_after_the_recording(tmp_path: Path) -> None:
    waveform = bursts((0, 60))[: 47 * FRAME + 123]
    soundfile.write(tmp_path / "a.wav", waveform, RATE)
    for source in ((waveform, RATE), tmp_path / "a.wav"):
        events = Tagger(Level()).events(source)
        assert events.offset.max() == pytest.approx(waveform.size / RATE, abs=1e-9)


def test_a_coarser_grid_averages_frames() -> None:
    tagger = Tagger(Level())
    sound = (bursts((3, 7), (40, 41)), RATE)
    assert spans(tagger.events(sound, resolution=0.5, threshold=0.39)) == [(0.0, 1.0)]
    assert spans(tagger.events(sound, resolution=0.04)) == [(0.3, 0.7), (4.0, 4.1)]
    odd = list(frame_cells(tagger.score_frames(sound), 0.7))
    assert [round(cell.offset, 6) for cell in odd[-2:]] == [5.6, 6.0]
    frames, _ = tagger.frame_scores(*sound)
    np.testing.assert_allclose(odd[-1].scores, frames[56:].mean(0), atol=1e-6)
    (whole,) = frame_cells(tagger.score_frames(sound), 1e6)  # longer than a block, and than the recording
    np.testing.assert_allclose(whole.scores, frames.mean(0), atol=1e-6)


def test_windows_are_taken_where_they_are_asked_for() -> None:
    tagger = Tagger(Level())
    sound = (bursts((0, 20)), RATE)
    assert spans(tagger.events(sound, hop=2.0)) == spans(tagger.events(sound, window=2.0, resolution=2.0)) == [(0, 2)]
    with pytest.raises(OptionError, match="resolution"):
        tagger.events(sound, hop=1.0, resolution=1.0)
    with pytest.raises(OptionError, match="resolution"):
        tagger.events(sound, resolution=0)


def test_infer_reports_events_of_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.wav", bursts((3, 7), (18, 22)), RATE)
    monkeypatch.setattr("audiotag.inference.loading.load", lambda *arguments, **settings: Tagger(Level()))

    def rows(*options: str) -> list[tuple[str, ...]]:
        words = ["infer", str(tmp_path / "a.wav"), "--format", "tsv", *options]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
        lines = [tuple(line.split("\t")[1:]) for line in done.stdout.splitlines()[1:]]
        return [line for line in lines if line[2] == "sound"]

    found = [("0.3", "0.7", "sound"), ("1.8", "2.2", "sound")]
    assert rows("--events") == rows("--resolution", "0.1") == found
    assert rows("--events", "--merge", "2") == [("0.3", "2.2", "sound")]
    assert rows("--events", "--median", "0.9") == []
    assert rows("--events", "--low-threshold", "0.0") != found
    assert rows("--events", "--window", "2", "--hop", "2") == []
    for refused in (["--hop", "1", "--resolution", "1"], ["--per-window", "--resolution", "1"], ["--resolution", "0"]):
        assert CliRunner().invoke(main, ["infer", str(tmp_path / "a.wav"), *refused]).exit_code == 1
