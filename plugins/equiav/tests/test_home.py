from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from audiotag_equiav import audio_event_classification, load_audio_model, write_predictions
from audiotag_equiav.backbone import EquiAV

from audiotag.plugin import AudioError, CheckpointError, LabelError, OptionError, create_backbone

CLASSES = 'index,mid,display_name\n1,/m/b,"Dishes, pots, and pans"\n0,/m/a,Dog\n2,/m/c,Door\n'


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Rows out of index order."""
    path = tmp_path / "class_labels_indices.csv"
    path.write_text(CLASSES)
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tiny: dict[str, Any], tmp_path: Path) -> Path:
    """Weights of a small network, and the family made small so that they fit."""
    original = EquiAV.__init__

    def initialise(self: EquiAV, num_classes: int, **options: Any) -> None:
        original(self, num_classes, **{**tiny, **options})

    initialise.__signature__ = __import__("inspect").signature(original)  # type: ignore[attr-defined]
    monkeypatch.setattr(EquiAV, "__init__", initialise)
    state = create_backbone("equiav", 3).state_dict()
    # The first two classes are heard everywhere, the third nowhere.
    state["mlp_head.0.weight"].zero_()
    state["mlp_head.0.bias"].copy_(torch.tensor([3.0, 3.0, -3.0]))
    torch.save({"state_dict": {f"__M__.{key}": value for key, value in state.items()}}, tmp_path / "home.pth")
    return tmp_path / "home.pth"


def test_names_follow_the_index_and_not_the_row(classes: Path, small: Path, recording: Path) -> None:
    model, labels = load_audio_model(classes, small, "cpu", "linear", "audio_only", 128)
    assert list(labels["display_name"]) == ["Dog", "Dishes, pots, and pans", "Door"]
    assert list(labels["index"]) == [0, 1, 2] and not model.training
    said: list[str] = []
    predictions, seconds = audio_event_classification(
        {"one": recording, "two": recording}, model, labels, report=said.append
    )
    assert predictions == {name: ["Dog", "Dishes, pots, and pans"] for name in ("one", "two")}
    assert set(seconds) == {"one", "two"} and all(value > 0 for value in seconds.values())
    assert "2 recordings" in said[0] and "s each on average" in said[0]


def test_the_average_time_is_printed(
    classes: Path, small: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, labels = load_audio_model(classes, small)
    audio_event_classification({"one": recording}, model, labels)
    assert "s each on average" in capsys.readouterr().out


def test_predictions_are_written_as_the_home_system_does(tmp_path: Path) -> None:
    write_predictions({"one": ["Dog", "Dishes, pots, and pans"], "two": []}, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["video_id", "predicted_label"], ["one", "Dog,Dishes, pots, and pans"], ["two", ""]]


def test_bad_input_is_named(classes: Path, small: Path, tmp_path: Path) -> None:
    model, labels = load_audio_model(classes, small)
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(AudioError, match=r"text\.wav"):
        audio_event_classification({"one": tmp_path / "text.wav"}, model, labels)
    with pytest.raises(CheckpointError):
        load_audio_model(classes, small, modality_mode="multimodal")
    with pytest.raises(OptionError, match="mode"):
        load_audio_model(classes, small, modality_mode="both")  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="mlp_head"):
        load_audio_model(classes, small, head_type="mlp")
    classes.write_text(CLASSES + "3,/m/d,Cat\n")
    with pytest.raises(LabelError, match="4 classes"):
        load_audio_model(classes, small)


def test_a_device_that_is_not_there_is_refused(classes: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(OptionError, match="no device 'cuda'"):
        load_audio_model(classes, small, "cuda")


@pytest.mark.slow
def test_the_whole_network_with_the_home_classes(assets: Path, tmp_path: Path) -> None:
    rows = json.loads((assets / "facts" / "home_classes.json").read_text())
    with (tmp_path / "classes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["index", "mid", "display_name"], *rows])
    network = create_backbone("equiav", 21, seed=2).eval()
    torch.save(network.state_dict(), tmp_path / "home.pth")
    model, labels = load_audio_model(tmp_path / "classes.csv", tmp_path / "home.pth")
    assert [name for _, _, name in sorted(rows)] == list(labels["display_name"])
    clip = assets / "assets" / "clips" / "typing_16k.wav"
    predictions, _ = audio_event_classification({"typing": clip}, model, labels, report=None)
    with torch.no_grad():
        samples, _ = soundfile.read(clip, dtype="float32")
        heard = torch.sigmoid(network(torch.from_numpy(samples)[None]))[0] > 0.5
    assert predictions["typing"] == [name for name, one in zip(labels["display_name"], heard, strict=True) if one]


def test_the_seven_positional_arguments_of_the_script(classes: Path, small: Path, recording: Path) -> None:
    model, labels = load_audio_model(classes, small, "cpu", "linear", "audio_only", 128)
    front_end = model.front_end
    heard, _ = audio_event_classification({"one": recording}, model, labels, 64, 128, -4.346, 4.332)
    assert heard == {"one": ["Dog", "Dishes, pots, and pans"]}
    assert model.front_end is front_end
    none, _ = audio_event_classification({"one": recording}, model, labels, 64, 128, -4.346, 4.332, threshold=0.99)
    assert none == {"one": []}
    at = torch.sigmoid(torch.tensor(3.0)).item()
    assert audio_event_classification({"one": recording}, model, labels, threshold=at, report=None)[0] == none
    for wrong in ((1024, 128), (64, 64)):
        with pytest.raises(OptionError, match="64 frames of 128 bands"):
            audio_event_classification({"one": recording}, model, labels, *wrong, -4.346, 4.332)
    with pytest.raises(OptionError, match="threshold"):
        audio_event_classification({"one": recording}, model, labels, threshold=1024)


def test_the_statistics_given_are_those_that_are_used(
    classes: Path, small: Path, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, labels = load_audio_model(classes, small)
    seen: list[tuple[float, float]] = []
    forward = EquiAV.forward_spectrogram

    def watch(self: EquiAV, spectrogram: torch.Tensor, video: torch.Tensor | None = None) -> torch.Tensor:
        seen.append((float(spectrogram.mean()), float(spectrogram.std())))
        return forward(self, spectrogram, video)

    monkeypatch.setattr(EquiAV, "forward_spectrogram", watch)
    audio_event_classification({"one": recording}, model, labels, report=None)
    audio_event_classification({"one": recording}, model, labels, 64, 128, 0.0, 1.0, report=None)
    (mean, std), (raw_mean, raw_std) = seen
    assert (raw_mean + 4.346) / 4.332 == pytest.approx(mean, abs=1e-4)
    assert raw_std / 4.332 == pytest.approx(std, abs=1e-4)
