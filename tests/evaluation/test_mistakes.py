"""Clips that were wrong: the table of all clips, and what the page shows of the worst."""

import base64
import csv
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiotag.data.clips import Clip
from audiotag.errors import AudiotagWarning, OptionError
from audiotag.evaluation import excerpts
from audiotag.evaluation.evaluation import evaluate_scores
from audiotag.evaluation.measurement import Provenance
from audiotag.evaluation.mistakes import clip_losses, clips_csv, false_alarms, misses
from audiotag.evaluation.report import MAX_MISTAKES, render_report
from audiotag.labels import Label, LabelSet

LABELS = LabelSet([Label("/m/1", "Dog"), Label("/m/2", "<i>Bell</i>"), Label("/m/3", "Dog")])
TARGETS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]])
SCORES = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.15, 0.8, 0.05], [0.4, 0.3, 0.3]])


def clips(count=4, folder=Path("sounds")):
    return tuple(Clip(f"clip {number}", folder / f"{number}.wav", fold=number) for number in range(count))


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_every_clip_is_listed_the_worst_first():
    result = evaluate_scores(TARGETS, SCORES, LABELS, single_label=True, provenance=Provenance(clips=clips()))
    rows = rows_of(clips_csv(result))
    assert [row["clip"] for row in rows] == ["clip 2", "clip 1", "clip 3", "clip 0"]
    np.testing.assert_allclose([float(row["loss"]) for row in rows], -np.log([0.05, 0.4, 0.4, 0.7]), rtol=1e-5)
    assert rows[0] == {
        "clip": "clip 2",
        "file": str(Path("sounds/2.wav")),
        "start": "0.0",
        "stop": "",
        "fold": "2",
        "loss": "2.99573",
        "truth": "Dog (/m/3)",
        "decided": "<i>Bell</i>",
        "false_alarm": "<i>Bell</i>",
        "false_alarm_score": "0.8",
        "missed": "Dog (/m/3)",
        "missed_score": "0.05",
        "score: Dog (/m/1)": "0.15",
        "score: <i>Bell</i>": "0.8",
        "score: Dog (/m/3)": "0.05",
    }
    assert rows[-1]["false_alarm"] == rows[-1]["missed"] == ""


def test_several_labels():
    targets = np.array([[1, 1, 0], [0, 0, 0]])
    scores = np.array([[0.4, 0.2, 0.9], [0.6, 0.7, 0.1]])
    result = evaluate_scores(targets, scores, LABELS, thresholds=[0.5, 0.5, 0.95])
    expected = [-math.log(0.4 * 0.2 * 0.1), -math.log(0.4 * 0.3 * 0.9)]
    np.testing.assert_allclose(clip_losses(result), expected)
    first, second = rows_of(clips_csv(result))
    assert (first["clip"], first["file"]) == ("0", "")  # nobody says what it is called
    assert first["truth"] == "Dog (/m/1); <i>Bell</i>" and first["decided"] == first["false_alarm"] == ""
    assert (first["missed"], first["missed_score"]) == ("<i>Bell</i>", "0.2")
    assert (second["false_alarm"], second["false_alarm_score"]) == ("<i>Bell</i>", "0.7")
    assert [(one.row, one.index, one.score) for one in misses(result, 9)] == [(0, 1, 0.2)]  # each clip once
    assert [(one.row, one.index, one.score) for one in false_alarms(result, 1)] == [(1, 1, 0.7)]
    assert misses(result, 0) == []


def test_labels_that_are_not_known_are_no_mistakes():
    known = np.array([[0, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]], dtype=bool)
    result = evaluate_scores(TARGETS, np.full((4, 3), 0.9), LABELS, known=known)
    assert (0, 0) not in [(one.row, one.index) for one in false_alarms(result, 99)]
    assert not result.decisions[0, 0] and not misses(result, 99)
    losses = clip_losses(result)
    assert losses[0] == pytest.approx(-2 * math.log(0.1))
    assert {row["clip"]: row["unknown"] for row in rows_of(clips_csv(result))}["0"] == "Dog (/m/1)"


def test_sure_scores_have_a_loss_that_is_a_number():
    result = evaluate_scores(TARGETS, 1.0 - TARGETS, LABELS)
    assert np.isfinite(clip_losses(result)).all()
    assert not any(row["loss"] in ("inf", "nan") for row in rows_of(clips_csv(result)))


def test_the_page_shows_the_most_confident_mistakes_and_names_are_text(read_page):
    about = Provenance(clips=tuple(Clip(f"<script>{n}</script>", Path(f"<b>&{n}.wav")) for n in range(4)))
    page = read_page(text := render_report(evaluate_scores(TARGETS, SCORES, LABELS, provenance=about)))
    assert not {"script", "audio"} & set(page.tags)
    words = " ".join("".join(page.texts).split())
    assert "False alarms" in words and "Misses" in words
    assert words.index("<script>2</script> <b>&2.wav <i>Bell</i> 0.800") < words.index("Dog 0.500")
    assert "true: Dog 0.050; decided: <i>Bell</i>" in words
    assert "&lt;/<wbr>script" in text and "decided: <bdi>&lt;i&gt;Bell" in text  # breaks, and order, are kept apart
    assert "src=" not in text
    right = render_report(evaluate_scores(TARGETS, TARGETS * 0.9, LABELS))
    assert "False alarms" not in right and "Misses" not in right


def test_of_many_mistakes_the_page_shows_some():
    targets = np.zeros((100, 3))
    targets[:, 0] = 1
    text = render_report(evaluate_scores(targets, np.full((100, 3), 0.4), LABELS))
    assert text.count("<li><p><b>") == MAX_MISTAKES


@pytest.fixture
def sounds(tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number, seconds in enumerate((0.5, 12, 0.001)):
        time = np.arange(max(1, round(16_000 * seconds))) / 16_000
        soundfile.write(folder / f"{number}.wav", 0.3 * np.sin(2 * np.pi * 440 * time), 16_000)
    return folder


def test_sounds_lie_in_the_page_where_they_are_wanted(sounds, tmp_path, read_page):
    result = evaluate_scores(TARGETS, 1.0 - TARGETS, LABELS, provenance=Provenance(clips=clips(folder=sounds)))
    with pytest.warns(AudiotagWarning, match=r"cannot play clip 'clip 3'.*3\.wav"):
        result.save(tmp_path / "out", with_audio=True)
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    page = read_page(text)
    sources = [value for name, value in page.values if name == "src"]
    assert all(re.match("data:audio/mpeg;base64,", one) for one in sources)
    heard = {}
    for one in set(sources):
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(one.partition(",")[2])))
        heard[round(len(samples) / rate, 1)] = samples
    assert len(heard) == 3  # the first and second are in full or cut, the third is a click
    assert max(heard) == pytest.approx(excerpts.SECONDS, abs=0.2)
    assert np.abs(np.fft.rfft(heard[max(heard)])).argmax() == pytest.approx(440 * max(heard), rel=0.02)
    words = "".join(page.texts)
    assert "first 10 s" in words and "cannot be played" in words and "3.wav" in words
    assert "href" not in text and "http" not in text


def test_a_part_of_a_recording_is_heard_from_its_start(sounds):
    clip = Clip("part", sounds / "1.wav", start=11.5, stop=11.75)
    excerpt = excerpts.embedded(clip)
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(excerpt.source.partition(",")[2])))
    assert len(samples) / rate == pytest.approx(0.25, abs=0.1) and excerpt.about == ""


def test_the_list_that_was_measured_on_is_never_written_over(tmp_path):
    mine = tmp_path / "clips.csv"
    mine.write_text("path,labels\n")
    result = evaluate_scores(TARGETS, SCORES, LABELS, provenance=Provenance(data=str(mine)))
    with pytest.raises(OptionError, match="would be overwritten"):
        result.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["clips.csv"]


def test_what_was_measured_stands_in_the_report(tmp_path, read_page):
    about = Provenance(
        model="home",
        data="list.csv",
        split="test",
        folds=[1, 2],
        clips=clips(),
        weights=("abc123",),
        thresholds_from="read from cuts.csv",
        measured_at="2026-01-02T03:04:05+00:00",
        command="audiotag evaluate --model 'my home'",
    )
    evaluate_scores(TARGETS, SCORES, LABELS, provenance=about).save(tmp_path)
    kept = json.loads((tmp_path / "metrics.json").read_text())
    assert kept["weights"] == ["abc123"] and kept["thresholds_from"] == about.thresholds_from
    assert kept["measured_at"] == about.measured_at and kept["command"] == about.command and kept["audiotag"]
    words = " ".join("".join(read_page((tmp_path / "report.html").read_text()).texts).split())
    for one in ("list.csv", "test", "1, 2", "abc123", "read from cuts.csv", about.measured_at, about.command):
        assert one in words
