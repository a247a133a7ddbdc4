from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import audiotag
from audiotag.data.clips import Clip, ClipSet
from audiotag.errors import AudioError, AudiotagError, LabelError, OptionError
from audiotag.inference.tagger import Tagger
from audiotag.inference.tags import select_tags
from audiotag.labels import LabelSet
from audiotag.models.model import Model

RATE = 8000

MakeModel = Callable[..., Model]
Sound = Callable[..., np.ndarray]
Record = Callable[..., Path]


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def test_scores_are_the_sigmoid_of_logits(model: MakeModel, sound: Sound) -> None:
    tagger = Tagger(model())
    waveform = sound(2.0, (1, 0.0, 2.0))
    logits = tagger.logits(waveform, RATE)
    assert logits.shape == (1, 3)
    np.testing.assert_allclose(logits[0], [-4, 80 * 0.09 - 4, -4], atol=0.05)
    np.testing.assert_allclose(tagger.scores(waveform, RATE), sigmoid(logits), rtol=1e-5)


def test_single_label_scores_are_a_softmax(model: MakeModel, sound: Sound) -> None:
    tagger = Tagger(model(single_label=True))
    scores = tagger.scores(sound(2.0, (1, 0.0, 2.0)), RATE)
    assert tagger.single_label
    assert scores.sum() == pytest.approx(1)
    assert scores.argmax() == 1


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_any_rate_gives_the_same_tags(model: MakeModel, sound: Sound, rate: int) -> None:
    scores = Tagger(model()).scores(sound(2.0, (0, 0.0, 2.0), rate=rate), rate)
    np.testing.assert_allclose(scores, Tagger(model()).scores(sound(2.0, (0, 0.0, 2.0)), RATE), atol=5e-3)


def test_arrays_and_tensors_and_double_precision(model: MakeModel, sound: Sound) -> None:
    tagger = Tagger(model())
    waveform = sound(2.0, (2, 0.0, 1.0))
    expected = tagger.scores(waveform, RATE)
    for other in (torch.from_numpy(waveform), waveform.astype(np.float64), waveform[None], waveform.tolist()):
        np.testing.assert_allclose(tagger.scores(other, RATE), expected, rtol=1e-6)
    half = tagger.scores(torch.from_numpy(waveform).bfloat16().requires_grad_(), RATE)
    np.testing.assert_allclose(half, expected, atol=1e-2)


@pytest.mark.parametrize(
    ("waveform", "cause"),
    [
        (np.zeros(0, dtype=np.float32), "no samples"),
        (np.zeros((2, 0), dtype=np.float32), "no samples"),
        (np.zeros((2, 3, 4), dtype=np.float32), "shape"),
        (np.float32(0.5), "shape"),
        (np.zeros(100, dtype=np.int16), "int16"),
        (torch.zeros(100, dtype=torch.int32), "int32"),
        (np.array([0.0, np.nan], dtype=np.float32), "NaN"),
        (np.array([0.0, np.inf], dtype=np.float32), "infinite"),
        (np.array([0.0, 20_000.0], dtype=np.float32), "between -1 and 1"),
    ],
)
def test_bad_waveforms_are_refused(model: MakeModel, waveform: object, cause: str) -> None:
    tagger = Tagger(model())
    with pytest.raises(AudioError, match=cause):
        tagger.scores(waveform, RATE)  # type: ignore[arg-type]


def test_a_short_clip_is_repeated_to_the_least_length(model: MakeModel, sound: Sound) -> None:
    tagger = Tagger(model())
    quarter = sound(0.25, (0, 0.0, 0.25))
    np.testing.assert_array_equal(tagger.logits(quarter, RATE), tagger.logits(np.tile(quarter, 4), RATE))
    assert np.isfinite(tagger.scores(np.float32([0.1]), RATE)).all()


def test_a_long_clip_is_the_average_of_its_windows(model: MakeModel, sound: Sound) -> None:
    tagger = Tagger(model())
    waveform = sound(5.0, (0, 0.0, 1.0), (1, 4.0, 5.0))
    windows = [tagger.logits(waveform[start : start + 2 * RATE], RATE)[0] for start in (0, 2 * RATE, 3 * RATE)]
    np.testing.assert_allclose(tagger.logits(waveform, RATE)[0], np.mean(windows, axis=0), rtol=1e-5)
    # Within the bound it goes in one piece.
    whole = tagger.logits(waveform[: 4 * RATE], RATE)[0]
    np.testing.assert_allclose(whole[0], 80 * 0.09 / 4 - 4, atol=0.05)


def test_a_batch_gives_what_its_rows_give(model: MakeModel, sound: Sound) -> None:
    tagger = Tagger(model())
    batch = np.stack([sound(3.0, (index % 3, 0.3 * index, 2.0)) for index in range(7)])
    alone = np.concatenate([tagger.logits(row, RATE) for row in batch])
    np.testing.assert_allclose(tagger.logits(batch, RATE), alone, rtol=1e-5)


def test_embeddings_of_clips_and_frames(model: MakeModel, sound: Sound) -> None:
    tagger = Tagger(model())
    waveform = np.stack([sound(3.0, (0, 1.0, 2.0)), sound(3.0, (2, 0.0, 3.0))])
    clips = tagger.embed(waveform, RATE)
    assert clips.shape == (2, 3)
    frames, times = tagger.embed(waveform, RATE, "frame")
    assert frames.shape == (2, 60, 3)
    np.testing.assert_allclose(times, np.arange(60) * 0.05 + 0.025)
    np.testing.assert_allclose(frames.mean(axis=1), clips, rtol=1e-5)
    heard = frames[0, :, 0] > 0.05
    np.testing.assert_array_equal(heard, (times > 1) & (times < 2))
    with pytest.raises(OptionError, match="kind"):
        tagger.embed(waveform, RATE, "word")  # type: ignore[arg-type]


def test_maps_are_the_networks_own(model: MakeModel, sound: Sound) -> None:
    tagger = Tagger(model())
    waveform = np.stack([sound(3.0, (0, 1.0, 2.0)), sound(3.0, (2, 0.0, 3.0))])
    maps, times = tagger.embed(waveform, RATE, "map")
    frames, moments = tagger.embed(waveform, RATE, "frame")
    np.testing.assert_array_equal(maps, frames.transpose(0, 2, 1))
    np.testing.assert_array_equal(times, moments)
    assert tagger.embed(sound(0.2), RATE, "map")[0].shape == (1, 3, 20)  # repeated up to the least length
    with pytest.raises(OptionError, match=r"4\.05 s are more .* one pass \(4 s\)"):
        tagger.embed(sound(4.05), RATE, "map")


@pytest.mark.parametrize("seconds", [0.01, 0.26, 0.7, 4.0, 4.05, 7.3])
def test_frames_tell_each_moment_once(model: MakeModel, sound: Sound, seconds: float) -> None:
    frames, times = Tagger(model()).embed(sound(seconds, (0, 0.0, seconds)), RATE, "frame")
    assert frames.shape[1] == times.size == max(1, round(seconds * 20 - 1e-9 - 0.01))
    if times.size > 1:
        assert np.diff(times).min() > 0.02
        assert times[-1] < seconds


def test_tags_of_a_file(model: MakeModel, record: Record) -> None:
    tagger = Tagger(model())
    path = record("Küche 1.wav", 2.0, (1, 0.0, 2.0), rate=44_100, channels=2)
    tags = tagger.tag(path, top=2)
    assert tags.labels[0] == "Middle, of three"
    assert tags.mids[0] == "/m/mid"
    assert len(tags) == 2 == len(tags.to_frame())
    assert list(tags.to_frame().columns) == ["label", "mid", "score"]
    assert tagger.tag(path, threshold=0.5).labels == ("Middle, of three",)
    assert tagger.tag(path, top=None, threshold=[0.0, 1.0, 0.0]).mids in (("/m/low", "/m/high"), ("/m/high", "/m/low"))
    assert len(tagger.tag(path, top=None)) == 3
    with pytest.raises(AudioError, match="does not exist"):
        tagger.tag(path.with_name("nothing.wav"))
    with pytest.raises(OptionError, match="top"):
        tagger.tag(path, top=0)
    with pytest.raises(OptionError, match="thresholds"):
        tagger.tag(path, threshold=[0.1, 0.2])


def test_many_files_come_in_order_whatever_their_length(model: MakeModel, record: Record) -> None:
    tagger = Tagger(model())
    lengths = [2.0, 0.3, 9.5, 2.0, 4.0, 2.5, 0.3, 2.0, 6.0, 2.0, 2.0]
    paths = [record(f"{index}.wav", length, (index % 3, 0.0, length)) for index, length in enumerate(lengths)]
    alone = [tagger.tag(path, top=None) for path in paths]
    for batch_size, workers in ((1, 1), (3, 2), (64, 4)):
        results = list(tagger.tag_files(paths, top=None, batch_size=batch_size, workers=workers))
        assert [result.path for result in results] == paths
        for result, expected, length in zip(results, alone, lengths, strict=True):
            assert result.seconds == pytest.approx(length)
            assert result.unwrap().labels == expected.labels
            np.testing.assert_allclose(result.unwrap().scores, expected.scores, rtol=1e-4)


def test_a_long_file_is_tagged_as_if_it_were_in_memory(model: MakeModel, record: Record, sound: Sound) -> None:
    tagger = Tagger(model())
    parts = ((0, 1.0, 4.0), (2, 8.0, 20.3))
    path = record("long.wav", 20.3, *parts)
    (result,) = tagger.tag_files([path], top=None, embeddings=True)
    assert result.scores is not None and result.embedding is not None
    waveform = sound(20.3, *parts)
    np.testing.assert_allclose(result.scores, tagger.scores(waveform, RATE)[0], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(result.embedding, tagger.embed(waveform, RATE)[0], rtol=1e-3, atol=1e-5)


def test_a_model_without_a_bound_is_not_given_hours_at_once(model: MakeModel, record: Record) -> None:
    made = model(max_seconds=None)
    Tagger(made).tag(record("long.wav", 150.0, (0, 0.0, 150.0)))
    lengths = {shape[-1] / 20 for shape in made.backbone.shapes}  # type: ignore[attr-defined]
    assert max(lengths) <= 60


def test_one_broken_file_costs_no_other(model: MakeModel, record: Record, tmp_path: Path) -> None:
    good = [record(f"{index}.wav", 2.0, (0, 0.0, 2.0)) for index in range(4)]
    (tmp_path / "text.wav").write_text("hello")
    paths = [good[0], tmp_path / "none.wav", good[1], tmp_path / "text.wav", good[2], good[3]]
    results = list(Tagger(model()).tag_files(paths, batch_size=2))
    assert [result.error is None for result in results] == [True, False, True, False, True, True]
    assert "text.wav" in str(results[3].error)
    assert results[3].tags is None and results[3].scores is None
    with pytest.raises(AudioError, match="does not exist"):
        results[1].unwrap()


def test_reading_is_bounded_and_ahead(model: MakeModel, record: Record) -> None:
    path = record("a.wav", 2.0, (0, 0.0, 2.0))
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield path

    results = Tagger(model()).tag_files(endless(), batch_size=2, workers=2)  # type: ignore[arg-type]
    for _ in range(5):
        next(results)
    assert 5 < taken < 30
    results.close()  # type: ignore[attr-defined]


def test_settings_out_of_range_are_errors_at_once(model: MakeModel) -> None:
    tagger = Tagger(model())
    with pytest.raises(OptionError, match="batch_size"):
        tagger.tag_files([], batch_size=0)
    with pytest.raises(OptionError, match="workers"):
        tagger.tag_files([], workers=0)
    for settings, cause in (({"device": "tpu9"}, "device"), ({"precision": "8"}, "precision")):
        with pytest.raises(OptionError, match=cause):
            Tagger(model(), **settings)
    with pytest.raises(OptionError, match="at least one model"):
        Tagger([])
    with pytest.raises(OptionError, match="combine"):
        Tagger(model(), combine="votes")  # type: ignore[arg-type]


def test_clips_of_a_set_are_scored_within_their_bounds(model: MakeModel, record: Record, tmp_path: Path) -> None:
    tagger = Tagger(model())
    path = record("a.wav", 6.0, (0, 0.0, 3.0), (2, 3.0, 6.0))
    clips = (
        Clip("first", path, start=0.0, stop=3.0),
        Clip("lost", tmp_path / "none.wav"),
        Clip("second", path, start=3.0),
    )
    logits, errors = tagger.score_clips(ClipSet(clips, tagger.labels))
    assert logits.shape == (3, 3) and logits.dtype == np.float32
    np.testing.assert_allclose(logits[[0, 2]], [[3.2, -4, -4], [-4, -4, 3.2]], atol=0.05)
    assert np.isnan(logits[1]).all()
    assert [name for name, _ in errors] == ["lost"]


def test_an_ensemble_averages_logits(model: MakeModel, sound: Sound) -> None:
    louder = model(name="louder")
    with torch.no_grad():
        louder.backbone.scale.mul_(2)  # type: ignore[operator, union-attr]
    members = [model(), louder]
    waveform = sound(2.0, (0, 0.0, 2.0), (1, 0.0, 0.7))
    each = [Tagger(one).logits(waveform, RATE) for one in members]
    np.testing.assert_allclose(Tagger(members).logits(waveform, RATE), np.mean(each, axis=0), rtol=1e-5)
    by_probability = Tagger(members, combine="probabilities")
    expected = np.mean([sigmoid(logits) for logits in each], axis=0)
    np.testing.assert_allclose(by_probability.scores(waveform, RATE), expected, rtol=1e-4)
    assert Tagger(members).name == "tones + louder"
    with pytest.raises(OptionError, match="ensemble"):
        Tagger(members).embed(waveform, RATE)


def test_a_single_label_ensemble_of_probabilities_adds_up(model: MakeModel, sound: Sound) -> None:
    members = [model(single_label=True), model(single_label=True, order=(2, 0, 1))]
    scores = Tagger(members, combine="probabilities").scores(sound(2.0, (1, 0.0, 2.0)), RATE)
    np.testing.assert_allclose(scores, Tagger(members[0]).scores(sound(2.0, (1, 0.0, 2.0)), RATE), rtol=1e-5)


def test_members_are_matched_by_mid_and_may_differ_in_rate(model: MakeModel, sound: Sound, record: Record) -> None:
    first, second = model(), model(16_000, order=(2, 0, 1))
    tagger = Tagger([first, second])
    assert tagger.sample_rate == 16_000
    assert tagger.labels == first.labels
    waveform = sound(2.0, (1, 0.0, 2.0), rate=44_100)
    np.testing.assert_allclose(tagger.logits(waveform, 44_100), Tagger(first).logits(waveform, 44_100), atol=0.05)
    assert tagger.tag(record("a.wav", 9.0, (0, 0.0, 9.0))).labels[0] == "Low"


def test_members_of_other_classes_are_refused(model: MakeModel) -> None:
    other = model()
    other.labels = LabelSet.from_names(["Low", "Mid", "High"])
    with pytest.raises(LabelError, match="differ"):
        Tagger([model(), other])
    with pytest.raises(LabelError, match="mean different things"):
        Tagger([model(), model(single_label=True)])


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "bf16", "16"])
def test_lower_precision_is_close(model: MakeModel, sound: Sound, precision: str) -> None:
    waveform = sound(2.0, (1, 0.0, 2.0))
    scores = Tagger(model(), precision=precision).scores(waveform, RATE)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, Tagger(model()).scores(waveform, RATE), atol=0.02)


def test_a_model_that_sees_gets_its_picture(
    model: MakeModel, sound: Sound, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagger = Tagger(model(sees=True))
    waveform = np.stack([sound(2.0), sound(2.0, (0, 0.0, 2.0))])
    pictures = np.zeros((2, 3, 2, 2), dtype=np.float32)
    pictures[0] = 0.1
    np.testing.assert_allclose(tagger.logits(waveform, RATE, video=pictures), [[4, 4, 4], [3.2, -4, -4]], atol=0.05)
    with pytest.raises(OptionError, match="picture"):
        tagger.logits(waveform, RATE)
    with pytest.raises(OptionError, match="shape"):
        tagger.logits(waveform, RATE, video=pictures[0])

    asked: list[tuple[float, float | None]] = []

    def read_frame(clip: Clip, shape: tuple[int, int, int]) -> np.ndarray:
        asked.append((clip.start, clip.stop))
        return np.full(shape, 0.1, dtype=np.float32)

    monkeypatch.setattr("audiotag.data.video.read_frame", read_frame)
    path = record("a.wav", 2.0)
    np.testing.assert_allclose(tagger.tag(path, top=None).scores, sigmoid(np.array([4.0] * 3)), atol=1e-3)
    list(tagger.score_windows(record("b.wav", 3.0), window=2.0, hop=1.0))
    assert asked == [(0.0, None), (0.0, 2.0), (1.0, 3.0)]


def test_the_published_checkpoint_gives_the_published_tags(assets: Path) -> None:
    import json

    weights = assets / "assets/weights/mn04_as_mAP_432.pt"
    if not weights.exists():
        pytest.skip(f"{weights} is missing")
    golden = json.loads((assets / "golden/mn04_as_published.json").read_text())["outputs"]
    tagger = audiotag.load("mn04_as", weights=weights)
    for name, expected in golden.items():
        tags = tagger.tag(assets / "assets/clips" / name)
        assert list(tags.labels) == [label for label, _ in expected["top"]]
        np.testing.assert_allclose(tags.scores, [score for _, score in expected["top"]], atol=1e-3)


def test_several_names_load_as_an_ensemble(model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_model(name: str, **settings: object) -> Model:
        asked.append((name, settings["weights"]))
        return model(name=name)

    monkeypatch.setattr("audiotag.models.loading.load_model", load_model)
    assert audiotag.load(["a", "b"], weights=["1.pt", "2.pt"]).name == "a + b"
    assert asked == [("a", "1.pt"), ("b", "2.pt")]
    with pytest.raises(OptionError, match="2 models and 1"):
        audiotag.load(["a", "b"], weights="1.pt")


def test_one_path_is_one_recording_and_not_a_list_of_letters(model: MakeModel, record: Record) -> None:
    path = record("one.wav", 2.0)
    for one in (path, str(path), Clip("one", path)):
        assert [file.path for file in Tagger(model()).tag_files(one)] == [path]


def test_settings_that_are_not_finite_are_refused(model: MakeModel, record: Record) -> None:
    tagger, path = Tagger(model()), record("one.wav", 2.0)
    for length in (float("inf"), 1e308):
        with pytest.raises(OptionError, match="window"):
            tagger.events(path, window=length)
    with pytest.raises(OptionError, match="NaN"):
        tagger.tag(path, threshold=float("nan"))


@pytest.mark.parametrize("method", ["tag", "events", "score_windows"])
def test_a_rate_beside_the_recording_is_not_taken_for_a_setting(model: MakeModel, record: Record, method: str) -> None:
    path = record("one.wav", 2.0)
    for recording in (path, str(path), np.zeros(8000, dtype=np.float32)):
        with pytest.raises(OptionError, match=rf"16000 is a positional argument.*{method}\(\(samples, sample_rate\)\)"):
            getattr(Tagger(model()), method)(recording, 16000)


def test_sound_in_memory_is_tagged_as_its_file_is(model: MakeModel, record: Record) -> None:
    tagger = Tagger(model())
    path = record("long.wav", 9.3, (1, 0.0, 5.0), (2, 6.0, 9.0), rate=44_100, channels=2)
    stereo, rate = soundfile.read(path)
    assert stereo.shape[1] == 2
    expected = tagger.tag(path, top=None)
    for sound in (stereo, stereo.T, torch.from_numpy(stereo), stereo.mean(axis=1).tolist()):
        tags = tagger.tag((sound, rate), top=None)
        assert tags.mids == expected.mids
        np.testing.assert_allclose(tags.scores, expected.scores, atol=1e-4)
    assert tagger.tag((stereo, rate), top=1, threshold=0.01).labels == expected.labels[:1]
    there = tagger.events(path, window=2.0, hop=0.5)
    here = tagger.events((stereo, rate), window=2.0, hop=0.5)
    assert list(here.event_label) == list(there.event_label) == ["Middle, of three", "High"]
    np.testing.assert_allclose([here.onset, here.offset], [there.onset, there.offset], atol=1e-6)
    assert here.filename == "waveform"
    assert here.offset.max() <= 9.3


@pytest.mark.parametrize(
    "recording",
    [None, 5, np.zeros(100), (), (np.zeros(100),), (np.zeros(100), 8000, 1), (8000, np.zeros(100)), ["a.wav", "b.wav"]],
)
def test_what_is_no_recording_is_refused_with_a_word(model: MakeModel, recording: Any) -> None:
    tagger = Tagger(model())
    for call in (tagger.tag, tagger.events, tagger.score_windows):
        with pytest.raises((OptionError, AudioError), match=r"recording|sample rate|waveform"):
            call(recording)


def test_a_model_that_sees_takes_no_sound_alone(model: MakeModel, sound: Sound) -> None:
    for call in (Tagger(model(sees=True)).tag, Tagger(model(sees=True)).events):
        with pytest.raises(OptionError, match="picture"):
            call((sound(2.0), RATE))


@pytest.mark.parametrize(
    "settings",
    [
        *({name: value} for name in ("window", "hop", "merge", "min_duration") for value in (math.nan, math.inf, "1")),
        {"hop": 1e-9},
        {"batch_size": 2.5},
        *({"threshold": value} for value in (1.5, 50, -0.1, math.inf, "0.5", {"Low": 0.5}, [0.5], [[0.5] * 3])),
    ],
)
def test_numbers_that_cannot_be_are_refused_at_once(model: MakeModel, record: Record, settings: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Tagger(model()).events(record("a.wav", 2.0), **settings)


@pytest.mark.parametrize(
    "part", [{"start": math.inf}, {"start": math.nan}, {"stop": "1"}, {"start": None}, {"path": 5}]
)
def test_a_clip_with_impossible_times_costs_no_other(model: MakeModel, record: Record, part: dict[str, Any]) -> None:
    path = record("a.wav", 2.0, (0, 0.0, 2.0))
    odd = Clip(**{"id": "odd", "path": path, **part})
    results = list(Tagger(model()).tag_files([path, odd, path]))
    assert [result.error is None for result in results] == [True, False, True]
    with pytest.raises(OptionError):
        Tagger(model()).events(odd)


def test_misused_names_are_refused_with_a_word(model: MakeModel) -> None:
    for arguments in ({"name": 5}, {"weights": 5}, {"device": 5}, {"options": [1]}, {"precision": []}, {"combine": 5}):
        with pytest.raises(AudiotagError):
            audiotag.load(**{"name": [], **arguments})  # type: ignore[arg-type]
    for models in (None, 5, ["mn10_as"]):
        with pytest.raises(OptionError, match="models"):
            Tagger(models)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="clips"):
        Tagger(model()).score_clips("a.wav")  # type: ignore[arg-type]


def broken(model: Model) -> Model:
    with torch.no_grad():
        model.backbone.scale.fill_(math.nan)  # type: ignore[operator, union-attr]
    return model


def test_an_answer_that_is_no_number_is_an_error_of_the_recording(
    model: MakeModel, record: Record, sound: Sound
) -> None:
    """It would pass for a recording in which nothing is heard."""
    tagger = Tagger(broken(model(name="odd")))
    paths = [record(f"{seconds}.wav", seconds, (0, 0.0, seconds)) for seconds in (2.0, 9.0)]
    for result in tagger.tag_files(paths, threshold=0.5):
        assert isinstance(result.error, AudioError) and result.scores is None
        assert "3 of the 3 numbers that odd gives are not finite" in str(result.error)
        assert str(result.path) in str(result.error)
    logits, errors = tagger.score_clips(paths)
    assert np.isnan(logits).all() and len(errors) == 2
    for call in (tagger.tag, tagger.events):
        with pytest.raises(AudioError, match="not finite"):
            call(paths[0])
        with pytest.raises(AudioError, match="not finite"):
            call((sound(9.0), RATE))
    for method in (tagger.scores, tagger.logits):
        with pytest.raises(AudioError, match=r"waveform 0.*not finite"):
            method(np.zeros((2, RATE), dtype=np.float32), RATE)


def test_one_clip_in_a_batch_can_be_without_an_answer(model: MakeModel, record: Record, sound: Sound) -> None:
    """Half precision overflows for loud sound only."""
    made = model()
    with torch.no_grad():
        made.backbone.scale.fill_(math.inf)  # type: ignore[operator, union-attr]
    made.backbone.forward_head = lambda features: torch.where(features > 0.01, math.inf, -1.0)  # type: ignore
    quiet, loud = record("quiet.wav", 2.0), record("loud.wav", 2.0, (0, 0.0, 2.0))
    results = list(Tagger(made).tag_files([quiet, loud, quiet], batch_size=3))
    assert [result.error is None for result in results] == [True, False, True]


def test_a_score_at_the_threshold_is_heard(model: MakeModel) -> None:
    labels = model().labels
    scores = np.array([0.25, 0.5, 0.75], dtype=np.float32)
    assert select_tags(scores, labels, threshold=0.5).mids == ("/m/high", "/m/mid")
    assert select_tags(scores, labels, threshold=[0.25, 0.6, 0.8]).mids == ("/m/low",)


def test_a_tagger_says_what_it_is(model: MakeModel) -> None:
    assert repr(Tagger(model())) == "Tagger('tones', 3 classes, 8000 Hz, cpu)"
