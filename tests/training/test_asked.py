"""Wrong settings are told before a folder is made and a clip is read."""

from dataclasses import replace
from pathlib import Path

import pytest

from audiotag.data.source import ClipSource
from audiotag.errors import AudiotagError, MissingExtraError, OptionError
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.checkpoint import save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.model import Model
from audiotag.training.comparison import compare
from audiotag.training.finetune import finetune
from audiotag.training.folds import finetune_folds
from audiotag.training.request import Request

WRONG = {
    "a name": ({"epoch": 3}, "epoch"),
    "a range": ({"epochs": 0}, "epochs"),
    "a loss": ({"loss": "boo"}, "boo"),
    "an option of the loss": ({"loss": "focal", "loss_options": {"gama": 1.0}}, "gamma"),
    "a loss of other things": ({"loss": "infonce"}, "infonce"),
    "a sampler": ({"sampler": "shufle"}, "shuffle"),
    "a sampler of stores": ({"sampler": "reservoir"}, "what a store keeps"),
    "an option of the sampler": ({"sampler": "balanced", "sampler_options": {"offset": -1.0}}, "offset"),
    "an option of the optimiser": ({"optimiser_options": {"foo": 1}}, "foo"),
    "a schedule": ({"warmup": 5.0, "epochs": 2}, "does not fit a run of 2"),
    "a setting of another schedule": ({"step_every": 2.0}, "step_every does nothing"),
    "an augmentation": ({"augmentations": ("shfit",)}, "shfit"),
    "what excludes each other": ({"mixstyle_rate": 0.5, "mixup_alpha": 0.3}, "Freq-MixStyle"),
    "a frozen backbone": ({"freeze_backbone": True, "gain_db": 6.0}, "frozen backbone"),
    "nobody's share": ({"distill_weight": 0.5}, "no teacher"),
    "a device": ({"device": "cuda:99"}, "cuda"),
    "a strategy": ({"strategy": "by magic"}, "by magic"),
    "an option of the network": ({"options": {"widht": 3}}, "width"),
    "weights": ({"weights": "none.pt"}, "weights do not exist"),
    "a teacher": ({"teacher": "nobody"}, "nobody"),
    "a teacher's scores": ({"teacher_scores": "none.npz"}, "scores do not exist"),
    "nothing to sum up": ({"summary": True, "val_fraction": 0.0}, "nothing to measure"),
}
NOWHERE = {"device": "cpu", "workers": 0}


@pytest.fixture(autouse=True)
def _tiny(tiny):
    """Every test here uses the tiny network."""


@pytest.fixture
def place(tmp_path):
    """Where no folder can be made, so that whoever tries says something else."""
    (tmp_path / "file").write_text("in the way")
    return tmp_path / "file" / "run"


@pytest.mark.parametrize(("wrong", "told"), WRONG.values(), ids=WRONG)
def test_wrong_settings_are_told_before_anything_is_read_or_made(place, wrong, told):
    with pytest.raises(AudiotagError, match=told):
        finetune("tiny", "no such list.csv", output=place, **{**NOWHERE, **wrong})


@pytest.mark.parametrize(
    "wrong", [{"loss": "boo"}, {"optimiser_options": {"foo": 1}}, {"freeze_backbone": True, "gain_db": 6.0}]
)
def test_all_that_train_tell(tmp_path, place, wrong):
    request = Request.of("tiny", "no such list.csv", val_fraction=0.0)
    with pytest.raises(AudiotagError, match=r"boo|foo|frozen"):
        finetune_folds(request, {**NOWHERE, **wrong}, place)
    with pytest.raises(AudiotagError, match=r"boo|foo|frozen"):
        compare(["one=tiny", "two=tiny"], "no such list.csv", fold=1, output=place, **NOWHERE, **wrong)


def test_what_suits_one_candidate_is_no_mistake_of_all(tones, tmp_path):
    candidates = ["tiny", f"other={tmp_path}"]
    (tmp_path / "audiotag.json").write_text("{}")
    comparison = compare(candidates, tones, fold=1, epochs=1, output=tmp_path / "out", **NOWHERE)
    assert list(comparison.failed) == ["other"]


def test_what_some_clips_could_make_work_is_left_to_the_clips(tones, overlaps, tmp_path):
    chosen = {**NOWHERE, "loss": "ce", "epochs": 1}
    finetune("tiny", tones, fold=1, output=tmp_path / "one", **chosen)
    with pytest.raises(OptionError, match="exactly one class"):
        finetune("tiny", overlaps, output=tmp_path / "many", **chosen)
    assert not (tmp_path / "many").exists()


def test_clips_that_are_said_to_have_several_classes_are_known_to(place):
    source = replace(ClipSource.of("no such list.csv"), single_label=False)
    with pytest.raises(OptionError, match="exactly one class"):
        finetune("tiny", source, output=place, loss="ce", **NOWHERE)


def test_the_settings_for_a_checkpoint_are_known_before_it_is_read(tmp_path, place):
    model = Model(create_backbone("tiny", 2), get_host().backbone("tiny"), {}, LabelSet.from_names(["a", "b"]), "tiny")
    save_checkpoint(tmp_path / "model", model)
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(OptionError, match="frozen"):
        finetune(str(tmp_path / "model"), "no such list.csv", output=place, freeze_backbone=True, gain_db=6.0)


def test_a_logger_that_is_not_installed_is_told_first(place, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(MissingExtraError, match="wandb"):
        finetune("tiny", "no such list.csv", output=place, logger="wandb", **NOWHERE)


def test_a_refused_run_leaves_no_folder(tmp_path):
    output = Path(tmp_path / "deep" / "run")
    for clips, wrong in (("no such list.csv", {}), ("no such list.csv", {"epochs": 0})):
        with pytest.raises(AudiotagError):
            finetune("tiny", clips, output=output, **NOWHERE, **wrong)
        assert not output.parent.exists()
