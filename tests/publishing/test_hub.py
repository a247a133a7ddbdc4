"""Models go to a stand-in of the hub and come back, whole or not at all."""

import json

import pytest
import torch
from click.testing import CliRunner
from hub_server import Hub

from audiotag.cli.main import main
from audiotag.errors import CheckpointError, OptionError, OutputError
from audiotag.files import file_sha256
from audiotag.host import get_host
from audiotag.models.checkpoint import save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.loading import load_model, numbered_labels
from audiotag.models.model import Model
from audiotag.publishing.hub import HubName, pull, push
from audiotag.training.finetune import finetune

SMALL = {"depth": 1, "width": 16, "heads": 2, "target_length": 64, "num_mel_bins": 32, "projection_dim": 8}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    stand_in = Hub()
    monkeypatch.setenv("HF_ENDPOINT", stand_in.url)
    monkeypatch.setenv("HF_TOKEN", stand_in.token)
    yield stand_in
    stand_in.close()


@pytest.fixture
def checkpoint(tmp_path):
    """A small checkpoint of two classes."""
    model = Model(
        create_backbone("equiav", 2, **SMALL), get_host().backbone("equiav"), SMALL, numbered_labels(2), "small"
    )
    model.metadata = {"training": {"epochs": 3, "learning_rate": 0.001}, "metrics": {"val_mAP": 0.75, "epoch": 2}}
    return save_checkpoint(tmp_path / "small", model)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_checkpoint_there_and_back(hub, checkpoint, tmp_path):
    pushed = push(checkpoint, "hf:me/small", licence="CC-BY-4.0")
    repository = hub.repositories["me/small"]
    assert repository.private and pushed.url.endswith("me/small")
    assert set(repository.files) == {
        ".gitattributes",
        "README.md",
        "checksums.json",
        "audiotag.json",
        "model.safetensors",
    }
    page = repository.files["README.md"].decode()
    assert page.startswith('---\nlicense: "cc-by-4.0"\nlibrary_name: "audiotag"')
    for line in ("| mAP | 0.7500 |", "audiotag models pull hf:me/small --output small", "class 0, class 1", "epochs 3"):
        assert line in page
    assert hub.token not in page and str(tmp_path) not in page

    assert pull("hf:me/small", tmp_path / "pulled") == tmp_path / "pulled"
    assert files(tmp_path / "pulled") == {k: v for k, v in repository.files.items() if k != ".gitattributes"}
    ours, theirs = load_model(checkpoint).backbone.state_dict(), load_model(tmp_path / "pulled").backbone.state_dict()
    assert all(torch.equal(theirs[key], value) for key, value in ours.items())


def test_a_run_with_adapters_is_merged_and_its_page_tells_of_its_data(hub, low_and_high, tmp_path):
    finetune(
        "equiav",
        low_and_high,
        output=tmp_path / "run",
        options=SMALL,
        adapter={"rank": 2},
        epochs=1,
        batch_size=3,
        workers=0,
        device="cpu",
        val_fraction=0.25,
    )
    push(tmp_path / "run", "hf:me/low", public=True)
    repository = hub.repositories["me/low"]
    assert not repository.private
    page = repository.files["README.md"].decode()
    for line in (
        "Clips: 6 of `clips.csv`; 2 others",
        "adapter rank=2",
        "| mAP | 1.0000 |",
        "epochs this one was chosen",
    ):
        assert line in page
    assert str(tmp_path) not in page and 'license: "unknown"' in page
    pull("hf:me/low", tmp_path / "pulled")
    ours, theirs = (
        load_model(tmp_path / "run").backbone.state_dict(),
        load_model(tmp_path / "pulled").backbone.state_dict(),
    )
    assert all(torch.equal(theirs[key], value) for key, value in ours.items())
    push(tmp_path / "run/last", "hf:me/last")  # its optimizer.pt stays here
    assert not any(name.endswith(".pt") for name in hub.repositories["me/last"].files)


def test_another_model_takes_the_place_of_the_first_in_one_commit(hub, checkpoint, tmp_path):
    push(checkpoint, "hf:me/small")
    repository = hub.repositories["me/small"]
    first = repository.head
    (checkpoint / "more.json").write_text("{}")
    push(checkpoint, "hf:me/small")
    (checkpoint / "more.json").unlink()
    assert "more.json" in repository.files
    push(checkpoint, "hf:me/small")
    assert "more.json" not in repository.files and len(repository.commits) == 4
    pull(f"hf:me/small@{first}", tmp_path / "first")
    with pytest.raises(OutputError, match="no such revision"):
        pull("hf:me/small@never", tmp_path / "never")


def test_files_that_could_be_code_go_neither_way(hub, checkpoint, tmp_path):
    (checkpoint / "weights.bin").touch()
    with pytest.raises(OptionError, match=r"weights\.bin"):
        push(checkpoint, "hf:me/small")
    assert not hub.repositories
    (checkpoint / "weights.bin").unlink()
    push(checkpoint, "hf:me/small")
    repository = hub.repositories["me/small"]
    for name in ("run.py", "pytorch_model.bin", "inner/model.safetensors"):
        repository.commit({**repository.files, name: b"1"})
        with pytest.raises(OptionError, match=name.replace(".", r"\.")):
            pull("hf:me/small", tmp_path / "pulled")
        with pytest.raises(OptionError, match=name.replace(".", r"\.")):
            push(checkpoint, "hf:me/small")
        repository.commit({key: value for key, value in repository.files.items() if key != name})
    assert not (tmp_path / "pulled").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "audiotag.json"])
def test_a_file_that_was_changed_on_the_way_leaves_nothing(hub, checkpoint, tmp_path, name):
    push(checkpoint, "hf:me/small")
    hub.broken = name
    with pytest.raises(CheckpointError, match="damaged") as error:
        pull("hf:me/small", tmp_path / "pulled")
    assert name in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small"]


def test_checksums_must_tell_of_all_files(hub, checkpoint, tmp_path):
    push(checkpoint, "hf:me/small")
    repository = hub.repositories["me/small"]
    repository.commit({**repository.files, "more.json": b"{}"})
    with pytest.raises(CheckpointError, match=r"more\.json"):
        pull("hf:me/small", tmp_path / "pulled")
    repository.commit({"checksums.json": b"{}", "audiotag.json": b"{}"})
    with pytest.raises(CheckpointError):
        pull("hf:me/small", tmp_path / "pulled")
    repository.commit({"model.safetensors": b""})
    with pytest.raises(CheckpointError, match="no model that audiotag has pushed"):
        pull("hf:me/small", tmp_path / "pulled")


def test_what_cannot_be_pushed(hub, tmp_path, checkpoint):
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        with pytest.raises(CheckpointError):
            push(tmp_path / folder, "hf:me/small")
    with pytest.raises(OptionError, match="newest revision"):
        push(checkpoint, "hf:me/small@main")
    with pytest.raises(OptionError, match="not empty"):
        pull("hf:me/small", checkpoint)
    assert not hub.said


@pytest.mark.parametrize("name", ["me/small", "hf:small", "hf:a/b/c", "hf:../x", "hf:me/", "hf:me/small@"])
def test_names_that_there_cannot_be(name):
    with pytest.raises(OptionError, match="names no model"):
        HubName.read(name)


def test_errors_of_the_hub(hub, checkpoint, tmp_path, monkeypatch):
    with pytest.raises(OutputError, match="no such model") as error:
        pull("hf:me/nothing", tmp_path / "pulled")
    assert "hf auth login" in error.value.fix
    monkeypatch.setenv("HF_TOKEN", "hf_" + "b" * 34)
    with pytest.raises(OutputError) as error:
        push(checkpoint, "hf:me/small")
    assert "hf auth login" in error.value.fix
    assert "hf_" not in str(error.value)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for work in (lambda: push(checkpoint, "hf:me/small"), lambda: pull("hf:me/small", tmp_path / "pulled")):
        with pytest.raises(OutputError, match="does not answer"):
            work()


def test_the_verbs(hub, checkpoint, tmp_path):
    def run(*words):
        return CliRunner().invoke(main, ["models", *map(str, words)], catch_exceptions=False)

    assert "4 files" in run("push", checkpoint, "hf:me/small").output
    assert run("pull", "hf:me/small", "--output", tmp_path / "pulled").output.strip() == str(tmp_path / "pulled")
    told = json.loads((tmp_path / "pulled/checksums.json").read_text())["files"]
    assert told["model.safetensors"]["sha256"] == file_sha256(tmp_path / "pulled/model.safetensors")


def test_an_export_needs_no_torch_to_be_pulled(hub, low_and_high, tmp_path, checkpoint, run_light):
    from audiotag.export.export import export_model

    export_model(checkpoint, tmp_path / "exported")
    push(tmp_path / "exported", "hf:me/onnx")
    page = hub.repositories["me/onnx"].files["README.md"].decode()
    assert "## The export" in page and "The same as with torch" in page
    done = run_light(
        "import sys, audiotag; sys.modules.pop('huggingface_hub', None)\n"
        "from audiotag.publishing.hub import pull; pull('hf:me/onnx', sys.argv[1])",
        tmp_path / "pulled",
    )
    assert done.returncode == 0, done.stderr
    assert {"network.onnx", "audiotag.json", "front_end.safetensors"} <= {
        path.name for path in (tmp_path / "pulled").iterdir()
    }
