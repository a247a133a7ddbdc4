"""Events that a device is not sure of wait for somebody who knows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hearing import RATE, Ear, Fed, bursts, listen
from neighbours import message

from audiotag.cli.main import main
from audiotag.continual.asking import Asking
from audiotag.errors import CheckpointError
from audiotag.inference.tagger import Tagger
from audiotag.live import AskedEvents, HeardEvent, Message

SOUND = bursts(10, (4, 6))


def unsure(number: int, score: float) -> HeardEvent:
    scores, embedding = np.array([score, 0.0], np.float32), np.array([number, 1.0], np.float32)
    return HeardEvent(message(number, "end"), scores, embedding)


def opened(folder: Path, capacity: int = 100, below: float = 0.993) -> AskedEvents:
    return AskedEvents(folder, Asking(below, capacity), single_label=False)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_was_asked_waits_for_its_answer_also_after_a_restart(tmp_path: Path) -> None:
    asked = opened(tmp_path)
    told = listen(Fed([SOUND]), {"consumers": [asked]}, hop=0.5)
    ids = {one.id for one in told.of("end") if one.details.get("asked")}
    sure = {one.id for one in told.of("end")} - ids
    assert ids and all("asked" not in one.details for one in told.messages if one.id in sure or one.kind == "begin")
    assert names(tmp_path) == {f"{key}.json" for key in ids}
    (tmp_path / "other.json").write_text("{}")
    again = opened(tmp_path)
    assert len(again) == len(ids)
    key = min(ids)
    kept = again.answered(key)
    assert kept is not None and kept.embedding.shape == (1, 1)
    before = asked.answered(key)
    assert before is not None
    np.testing.assert_array_equal(kept.embedding, before.embedding)
    assert again.answered(key) is None and again.answered("../other") is None
    assert names(tmp_path) == {"other.json", *(f"{one}.json" for one in ids - {key})}


def test_the_surest_give_way_and_no_file_is_left_of_them(tmp_path: Path) -> None:
    asked = opened(tmp_path, 2)
    told = [bool(asked.heard(unsure(number, score))) for number, score in enumerate([0.7, 0.6, 0.995, 0.8, 0.55])]
    assert told == [True, True, False, False, True]
    assert names(tmp_path) == {"e1.json", "e4.json"}
    assert len(opened(tmp_path, 1)) == 1 and names(tmp_path) == {"e4.json"}


def test_what_cannot_be_written_is_not_asked_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = opened(tmp_path)

    def full(path: object, text: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("audiotag.live.asked.write_text", full)
    assert asked.heard(unsure(1, 0.6)) == {} and len(asked) == 0
    assert list(asked.problems().values()) == [1]


@pytest.mark.parametrize("name", ["e1.txt", "e1.json", "../e1.wav"])
def test_only_recordings_of_its_own_are_ever_removed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "asked"
    opened(folder).heard(unsure(1, 0.6))
    path = folder / "e1.json"
    path.write_text(path.read_text().replace('"clip": null', f'"clip": "{name}"', 1))
    assert name in path.read_text()
    with pytest.raises(CheckpointError, match=r"e1\.json"):
        opened(folder)


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    opened(tmp_path).heard(unsure(1, 0.6))
    path = tmp_path / "e1.json"
    path.rename(tmp_path / "e2.json")
    with pytest.raises(CheckpointError, match=r"e2\.json"):
        opened(tmp_path)


def test_the_command_keeps_recordings_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiotag.inference.loading.load", lambda *_, **__: Tagger(Ear()))
    soundfile.write(tmp_path / "a.wav", SOUND, RATE)
    words = ["listen", str(tmp_path / "a.wav"), "--hop", "0.5", "--clips", str(tmp_path / "clips")]
    asked = tmp_path / "asked"
    words += ["--ask-below", "0.993", "--asked", str(asked), "--json"]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    ends = [one for one in map(Message.from_json, done.stdout.splitlines()) if one.details.get("asked")]
    confirmed = [one for one in ends if one.clip is not None]
    assert confirmed
    for one in confirmed:
        assert one.clip is not None and (asked / f"{one.id}.flac").read_bytes() == one.clip.read_bytes()
        facts = json.loads((asked / f"{one.id}.json").read_text())
        assert facts["clip"] == f"{one.id}.flac" and facts["event"]["event_label"] in ("loud", "quiet")
    failed = CliRunner().invoke(main, [*words[:4], "--ask-below", "0.9"])
    assert failed.exit_code == 2 and "need each other" in failed.output
