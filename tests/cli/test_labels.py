"""``audiotag labels extend``, and ``--previous-labels`` where a model does not know its classes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.errors import AudiotagError, LabelError
from audiotag.host import get_host
from audiotag.labels import Label, LabelSet
from audiotag.models.checkpoint import load_checkpoint, save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.model import Model


def class_list(path, *mids):
    LabelSet([Label(mid, mid.upper()) for mid in mids]).to_csv(path)
    return path


def run(*arguments):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture
def model(tiny, tmp_path):
    labels = LabelSet([Label(mid, mid.upper()) for mid in "abc"])
    backbone = create_backbone("tiny", 3).eval()
    thresholds = np.array([0.1, 0.2, 0.3])
    made = Model(backbone, get_host().backbone("tiny"), {}, labels, "tiny", thresholds=thresholds)
    save_checkpoint(tmp_path / "old", made)
    torch.save(backbone.state_dict(), tmp_path / "old.pt")
    return made


def test_extend_carries_rows_by_mid_and_reports_every_class(model, tmp_path):
    new = class_list(tmp_path / "new.csv", "c", "d", "a")
    done = run("labels", "extend", tmp_path / "old", "--labels", new, "--output", tmp_path / "grown")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[:4] == [["kept", "C", "(c)"], ["kept", "A", "(a)"], ["added", "D", "(d)"], ["dropped", "B", "(b)"]]
    assert "2 classes kept, 1 added, 1 dropped" in done.stdout
    grown = load_checkpoint(tmp_path / "grown")
    assert grown.labels.mids == ("c", "d", "a")
    assert grown.thresholds.tolist() == [0.3, 0.5, 0.1]
    before, after = (one.backbone.state_dict()["classifier.0.weight"] for one in (model, grown))
    assert torch.equal(after[[0, 2]], before[[2, 0]])
    sound = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0)) / 10
    with torch.inference_mode():
        scores = [torch.sigmoid(one.backbone(sound)) for one in (model, grown)]
    torch.testing.assert_close(scores[1][:, [0, 2]], scores[0][:, [2, 0]], rtol=0, atol=1e-6)


def test_extend_as_json(model, tmp_path):
    new = class_list(tmp_path / "new.csv", "a", "b", "c", "d")
    done = run("labels", "extend", tmp_path / "old", "--labels", new, "--output", tmp_path / "grown", "--json")
    assert json.loads(done.stdout) == {"kept": ["a", "b", "c"], "added": ["d"], "dropped": []}


def test_previous_labels_name_the_classes_of_a_file(model, tmp_path):
    old = class_list(tmp_path / "old.csv", "a", "b", "c")
    new = class_list(tmp_path / "new.csv", "b", "x")
    arguments = ("labels", "extend", "tiny", "--weights", tmp_path / "old.pt", "--labels", new)
    done = run(*arguments, "--previous-labels", old, "--output", tmp_path / "named")
    assert "1 classes kept, 1 added, 2 dropped" in done.stdout
    done = run(*arguments, "--output", tmp_path / "unnamed")
    assert "0 classes kept" in done.stdout
    short = class_list(tmp_path / "short.csv", "a", "b")
    with pytest.raises(LabelError, match="2 classes"):
        run(*arguments, "--previous-labels", short, "--output", tmp_path / "wrong")


def test_extend_writes_over_nothing(model, tmp_path):
    new = class_list(tmp_path / "new.csv", "a")
    with pytest.raises(AudiotagError, match="the folder is not empty"):
        run("labels", "extend", tmp_path / "old", "--labels", new, "--output", tmp_path / "old")


def test_finetune_takes_previous_labels(model, tmp_path):
    from audiotag.labels import read_labels
    from audiotag.models.heads import change_classes
    from audiotag.training.reporting import Reporter
    from audiotag.training.request import Request
    from audiotag.training.run import starting_model

    old = class_list(tmp_path / "old.csv", "a", "b", "c")
    labels = read_labels(class_list(tmp_path / "new.csv", "c", "z"))
    request = Request.of("tiny", weights=tmp_path / "old.pt", train="unused", previous_labels=old)
    started, pretrained = starting_model(request, labels, 0, Reporter())
    assert pretrained and started.labels.mids == ("a", "b", "c")
    assert change_classes(started, labels).kept == ("c",)
    with pytest.raises(AudiotagError, match="no previous classes"):
        starting_model(Request.of("tiny", train="unused", previous_labels=old), labels, 0, Reporter())
    assert "--previous-labels" in run("finetune", "--help-all").stdout
