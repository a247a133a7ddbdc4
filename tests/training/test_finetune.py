"""Fine-tuning from Python: learning, repeating, stopping and going on."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import audiotag
from audiotag.audio.decoding import read_audio
from audiotag.cache.place import cache_folder
from audiotag.errors import AudiotagError, OptionError, TrainingError
from audiotag.models.checkpoint import load_checkpoint
from audiotag.training.finetune import finetune, resume_run
from audiotag.training.folds import finetune_folds
from audiotag.training.reporting import Reporter
from audiotag.training.request import Request
from audiotag.training.stopping import Stopped, StopRequests
from audiotag.training.trainer import Trainer

QUICK = {"epochs": 4, "batch_size": 4, "workers": 0, "device": "cpu", "learning_rate": 0.03}
NO_MASKS = {"frequency_mask": 0, "time_mask": 0}
"""The tiny spectrogram has eight bands: what is left of it beside the usual masks takes long to learn."""


@pytest.fixture(autouse=True)
def _tiny(tiny):
    """Every test here uses the tiny network."""


class Messages(Reporter):
    def __init__(self):
        self.texts = []

    def message(self, text):
        self.texts.append(text)


def _weights(folder):
    return load_file(folder / "model.safetensors")


def _same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_a_fresh_network_learns_single_labels(tones, tmp_path):
    result = finetune("tiny", tones, fold=2, output=tmp_path / "run", **{**QUICK, **NO_MASKS, "epochs": 12})
    assert result.best["val_accuracy"] == 1.0
    model = load_checkpoint(tmp_path / "run" / "best")
    assert model.single_label
    assert model.labels.names == ("low", "high")


def test_a_fresh_network_learns_multiple_labels(overlaps, tmp_path):
    result = finetune(
        "tiny", overlaps, output=tmp_path / "run", val_fraction=0.25, **{**QUICK, **NO_MASKS, "epochs": 12}
    )
    assert result.settings.loss == "bce"
    assert result.best["val_mAP"] > 0.9


def test_the_run_can_be_loaded_and_tags(tones, tmp_path):
    finetune("tiny", tones, fold=2, output=tmp_path / "run", **{**QUICK, **NO_MASKS, "epochs": 12})
    tags = audiotag.load(tmp_path / "run", device="cpu").tag(tones.parent / "audio" / "0.wav", top=1)
    assert list(tags.labels) == ["low"]


def test_the_log_has_a_line_an_epoch(tones, tmp_path):
    result = finetune("tiny", tones, fold=1, output=tmp_path / "run", **QUICK)
    log = pd.read_csv(tmp_path / "run" / "log.csv")
    assert list(log["epoch"]) == [1, 2, 3, 4]
    np.testing.assert_allclose(log["val_loss"], result.history["val_loss"])


@pytest.mark.parametrize("frozen", [False, True])
def test_the_same_seed_gives_the_same_run_and_another_does_not(tones, tmp_path, frozen):
    folders = []
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        finetune("tiny", tones, fold=1, output=tmp_path / name, seed=seed, freeze_backbone=frozen, **QUICK)
        folders.append(_weights(tmp_path / name / "last"))
    assert _same(folders[0], folders[1])
    assert not _same(folders[0], folders[2])


def test_the_number_of_workers_does_not_matter(tones, tmp_path):
    for workers in (0, 2):
        finetune("tiny", tones, fold=1, output=tmp_path / str(workers), **{**QUICK, "workers": workers})
    assert _same(_weights(tmp_path / "0" / "last"), _weights(tmp_path / "2" / "last"))


def test_training_leaves_the_global_generators_alone(tones, tmp_path):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    finetune("tiny", tones, fold=1, output=tmp_path / "run", **QUICK)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


class StopAt(Reporter):
    """Asks the trainer to stop at a step, as SIGTERM does."""

    def __init__(self, monkeypatch, epoch, step):
        self.target = (epoch, step)
        self.reached = False
        monkeypatch.setattr(StopRequests, "asked", lambda requests: self.reached)

    def step(self, epoch, step, loss, rate):
        self.reached = self.reached or (epoch, step) == self.target


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(("epoch", "step"), [(0, 1), (1, 2), (2, 3)])
def test_a_stopped_run_goes_on_exactly(tones, tmp_path, monkeypatch, frozen, epoch, step):
    options = {"fold": 1, "freeze_backbone": frozen, "clip_grad_norm": 1.0, **QUICK}
    whole = finetune("tiny", tones, output=tmp_path / "whole", **options)
    with monkeypatch.context() as patch, pytest.raises(Stopped, match="--resume"):
        finetune("tiny", tones, output=tmp_path / "cut", reporter=StopAt(patch, epoch, step), **options)
    rest = resume_run(tmp_path / "cut")
    for name in ("last", "best", "best_loss"):
        assert _same(_weights(tmp_path / "whole" / name), _weights(tmp_path / "cut" / name))
    columns = [column for column in whole.history if column != "seconds"]
    pd.testing.assert_frame_equal(whole.history[columns], rest.history[columns])


def test_going_on_with_other_data_is_refused(tones, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", reporter=StopAt(patch, 1, 1), **QUICK)
    table = pd.read_csv(tones)
    table.iloc[:-1].to_csv(tones, index=False)
    with pytest.raises(TrainingError, match=r"train|val"):
        resume_run(tmp_path / "run")


def test_going_on_with_other_settings_is_refused(tones, tmp_path):
    finetune("tiny", tones, fold=1, output=tmp_path / "run", **QUICK)
    with pytest.raises(TrainingError, match="learning_rate"):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", resume=True, **{**QUICK, "learning_rate": 1.0})


def test_a_folder_with_something_in_it_is_not_overwritten(tones, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("x")
    with pytest.raises(TrainingError, match="not empty"):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", **QUICK)


def test_a_frozen_backbone_stays_as_it_was(tones, tmp_path):
    start = finetune("tiny", tones, fold=1, output=tmp_path / "start", **QUICK)
    before = _weights(tmp_path / "start" / "best")
    finetune(str(start.folder), tones, fold=2, output=tmp_path / "frozen", freeze_backbone=True, **QUICK)
    after = _weights(tmp_path / "frozen" / "last")
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"classifier.0.weight", "classifier.0.bias"}


def test_embeddings_are_computed_once(tones, tmp_path, monkeypatch):
    options = {"fold": 1, "freeze_backbone": True, **QUICK}
    finetune("tiny", tones, output=tmp_path / "one", **options)
    from audiotag.training import data

    monkeypatch.setattr(data.recording, "read_clip", lambda *args, **kwargs: pytest.fail("a clip was decoded again"))
    messages = Messages()
    finetune("tiny", tones, output=tmp_path / "two", reporter=messages, **options)
    assert any("were cached" in text for text in messages.texts)
    assert _same(_weights(tmp_path / "one" / "last"), _weights(tmp_path / "two" / "last"))


def test_kept_embeddings_follow_the_file_not_its_name(tones, tmp_path):
    options = {"fold": 2, "freeze_backbone": True, **QUICK}
    finetune("tiny", tones, output=tmp_path / "one", **options)
    audio = tones.parent / "audio"
    (audio / "0.wav").write_bytes((audio / "1.wav").read_bytes())
    messages = Messages()
    finetune("tiny", tones, output=tmp_path / "two", reporter=messages, **options)
    assert not _same(_weights(tmp_path / "one" / "last"), _weights(tmp_path / "two" / "last"))


def test_the_head_is_replaced_class_by_class_and_says_so(tones, overlaps, tmp_path):
    finetune("tiny", overlaps, output=tmp_path / "old", **QUICK)
    labels = audiotag.LabelSet.from_names(["middle", "high", "low"])
    messages = Messages()
    result = finetune(
        str(tmp_path / "old"), tones, labels=labels, fold=1, output=tmp_path / "new", reporter=messages, **QUICK
    )
    assert result.classes.kept == ("high", "low")
    assert result.classes.added == ("middle",)
    assert messages.texts[messages.texts.index("  kept: high, low") + 1] == "  added: middle"


def test_early_stopping_stops(tones, tmp_path):
    settings = {**QUICK, "epochs": 50, "learning_rate": 1e-12, "early_stopping": 2}
    result = finetune("tiny", tones, fold=1, output=tmp_path / "run", **settings)
    assert len(result.history) == 3


def test_settings_come_from_a_file_and_arguments_win(tones, tmp_path):
    (tmp_path / "settings.toml").write_text('epochs = 2\nbatch_size = 6\noptimiser = "sgd"\n')
    arguments = {"workers": 0, "device": "cpu", "epochs": 1}
    result = finetune("tiny", tones, fold=1, output=tmp_path / "run", config=tmp_path / "settings.toml", **arguments)
    assert (result.settings.epochs, result.settings.batch_size, result.settings.optimiser) == (1, 6, "sgd")
    assert 'optimiser = "sgd"' in (tmp_path / "run" / "settings.toml").read_text()


def test_a_misspelt_setting_is_answered_with_a_close_one(tones, tmp_path):
    with pytest.raises(OptionError, match="learning_rate"):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", learning_rat=1.0)


@pytest.mark.parametrize(
    "settings",
    [{"epochs": 0}, {"learning_rate": -1.0}, {"label_smoothing": 1.0}, {"schedule": "cosin"}, {"precision": "8"}],
)
def test_settings_that_cannot_work_are_refused(tones, tmp_path, settings):
    with pytest.raises(OptionError):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", **settings)


def test_augmentation_with_a_frozen_backbone_is_refused(tones, tmp_path):
    with pytest.raises(OptionError, match="frozen"):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", freeze_backbone=True, gain_db=6.0, **QUICK)


def test_an_unreadable_clip_is_named(tones, tmp_path):
    (tones.parent / "audio" / "3.wav").write_bytes(b"not a sound")
    with pytest.raises(AudiotagError, match=r"3\.wav"):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", **QUICK)


def test_a_clip_that_fails_in_a_worker_is_named(tones, tmp_path):
    import soundfile

    soundfile.write(tones.parent / "audio" / "3.wav", np.full(4000, np.nan), 8000, subtype="FLOAT")
    with pytest.raises(TrainingError, match=r"NaN|finite"):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", **{**QUICK, "workers": 1})


def test_cross_entropy_needs_one_class_a_clip(overlaps, tmp_path):
    with pytest.raises(OptionError, match="exactly one"):
        finetune("tiny", overlaps, output=tmp_path / "run", loss="ce", **QUICK)


def test_a_loss_that_is_not_finite_stops_the_run(tones, tmp_path):
    with pytest.raises(TrainingError, match="loss became"):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", **{**QUICK, "learning_rate": 1e30, "epochs": 10})


def test_the_head_ratio_survives_the_schedule(tones, tmp_path, monkeypatch):
    seen = []
    original = Trainer._set_rates

    def spy(trainer, *position):
        rate = original(trainer, *position)
        seen.append({round(group["lr"] / group["base_lr"], 12) for group in trainer.optimiser.param_groups})
        rates = {group["base_lr"] for group in trainer.optimiser.param_groups}
        assert max(rates) == pytest.approx(50 * min(rates))
        return rate

    monkeypatch.setattr(Trainer, "_set_rates", spy)
    finetune("tiny", tones, fold=1, output=tmp_path / "run", head_lr_ratio=50.0, **QUICK)
    assert all(len(factors) == 1 for factors in seen)
    assert len(set.union(*seen)) > 3


def test_cross_validation_trains_once_a_fold_and_goes_on(tones, tmp_path):
    request = Request.of("tiny", train=str(tones))
    table = finetune_folds(request, QUICK, tmp_path / "folds")
    assert list(table["fold"]) == ["1", "2", "mean"]
    again = finetune_folds(request, QUICK, tmp_path / "folds")
    pd.testing.assert_frame_equal(table, again)
    assert (tmp_path / "folds" / "folds.csv").exists()


def test_cross_validation_leaves_other_folders_alone(tones, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "folds.csv").write_text("precious")
    with pytest.raises(OptionError, match="mine: the folder is not empty"):
        finetune_folds(Request.of("tiny", train=str(tones)), QUICK, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["folds.csv"]


def test_cross_validation_needs_folds(overlaps, tmp_path):
    with pytest.raises(TrainingError, match="folds"):
        finetune_folds(Request.of("tiny", train=str(overlaps)), QUICK, tmp_path / "folds")


def test_held_out_clips_are_balanced_and_disjoint(tones, tmp_path):
    finetune("tiny", tones, output=tmp_path / "run", val_fraction=0.25, **QUICK)
    record = json.loads((tmp_path / "run" / "data.json").read_text())
    train, val = set(record["train"]), set(record["val"])
    assert not train & val
    assert len(train | val) == 24
    assert len(val) == 6


def test_tensorboard_gets_the_metrics(tones, tmp_path):
    finetune("tiny", tones, fold=1, output=tmp_path / "run", logger="tensorboard", **QUICK)
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_a_run_on_relative_paths_goes_on(tones, tmp_path, monkeypatch):
    monkeypatch.chdir(tones.parent)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        finetune("tiny", "tones.csv", fold=1, output="run", reporter=StopAt(patch, 1, 1), **QUICK)
    monkeypatch.chdir(tmp_path)
    assert len(resume_run(tones.parent / "run").history) == QUICK["epochs"]


def test_validation_agrees_with_evaluate(tones, tmp_path):
    import soundfile

    # One clip of another length: each side must hear it as it is.
    wave, rate = soundfile.read(tones.parent / "audio" / "2.wav")
    soundfile.write(tones.parent / "audio" / "2.wav", wave[: len(wave) * 2 // 3], rate)
    for frozen in (False, True):
        folder = tmp_path / f"frozen {frozen}"
        run = finetune("tiny", tones, fold=1, output=folder, freeze_backbone=frozen, **{**QUICK, "epochs": 2})
        measured = audiotag.evaluate(str(folder / "last"), tones, fold=1)
        for name in ("accuracy", "mAP"):
            assert measured.summary[name] == pytest.approx(run.history[f"val_{name}"].iloc[-1], abs=1e-6)


def test_weights_for_every_clip_are_cut_with_the_split(tones, tmp_path):
    (tmp_path / "weights.csv").write_text("1\n" * 24)
    options = {"sampler": "balanced", "sampler_options": {"weights": str(tmp_path / "weights.csv")}}
    result = finetune("tiny", tones, fold=1, output=tmp_path / "run", **options, **QUICK)
    assert len(result.history) == QUICK["epochs"]


@pytest.mark.parametrize(
    "settings",
    [
        {"loss_options": {"gama": 1.0}, "loss": "focal"},
        {"loss_options": {"gamma": "x"}, "loss": "focal"},
        {"sampler_options": {"foo": 1}},
        {"device": "cuda:99"},
        {"val_fraction": 1.5, "fold": None},
    ],
)
def test_options_that_cannot_work_are_named(overlaps, tmp_path, settings):
    with pytest.raises(OptionError, match=r"gam|foo|cuda|val_fraction"):
        finetune("tiny", overlaps, output=tmp_path / "run", **{**QUICK, **settings})


@pytest.mark.parametrize("warmup", [{"warmup": 5.0}, {"warmup_steps": 100}])
def test_a_refused_run_leaves_no_folder_in_the_way(tones, tmp_path, tiny, warmup):
    quick = {"epochs": 1, "workers": 0, "device": "cpu", "fold": 2}
    with pytest.raises(OptionError, match="does not fit a run of 1"):
        finetune("tiny", tones, output=tmp_path / "run", batch_size=12, **quick, **warmup)
    assert not (tmp_path / "run").exists()


class TestSoundCache:
    @pytest.fixture
    def decoded(self, monkeypatch):
        """The recordings that are decoded from here on, by name."""
        names = []

        def counting(source, *arguments, **options):
            names.append(source.name)
            return read_audio(source, *arguments, **options)

        monkeypatch.setattr("audiotag.data.recording.read_audio", counting)
        return names

    @pytest.mark.parametrize("frozen", [False, True])
    def test_a_second_run_decodes_nothing_and_learns_the_same(self, tones, tmp_path, decoded, frozen):
        options = {"fold": 1, "freeze_backbone": frozen, **QUICK}
        finetune("tiny", tones, output=tmp_path / "plain", **options)
        decoded.clear()
        (cache_folder() / "embeddings.sqlite").unlink(missing_ok=True)
        told = Messages()
        finetune("tiny", tones, output=tmp_path / "first", audio_cache_gb=1.0, reporter=told, **options)
        assert sorted(decoded) == sorted(f"{number}.wav" for number in range(24))
        assert sum(f"{cache_folder() / 'sounds'}: 0 so far, 0 of at most 1 GB" in text for text in told.texts) == 1
        decoded.clear()
        (cache_folder() / "embeddings.sqlite").unlink(missing_ok=True)
        finetune("tiny", tones, output=tmp_path / "second", audio_cache_gb=1.0, reporter=told, **options)
        assert not decoded
        assert any("24 so far" in text for text in told.texts)
        plain, first, second = (_weights(tmp_path / name / "last") for name in ("plain", "first", "second"))
        assert _same(first, second)
        assert _same(plain, first)  # whole clips at the network's own rate lose nothing in the cache

    def test_the_bound_is_kept_by_every_worker(self, tones, tmp_path):
        bound = 40_000
        options = {"fold": 1, **QUICK, "workers": 2}
        finetune("tiny", tones, output=tmp_path / "run", audio_cache_gb=bound / 1e9, **options)
        sizes = [path.stat().st_size for path in (cache_folder() / "sounds").glob("??/*")]
        assert 0 < sum(sizes) <= bound
        finetune("tiny", tones, output=tmp_path / "plain", **options)
        assert _same(_weights(tmp_path / "run" / "last"), _weights(tmp_path / "plain" / "last"))

    @pytest.mark.parametrize("size", [-1.0, float("inf"), float("nan")])
    def test_a_size_that_is_none(self, tones, tmp_path, size):
        with pytest.raises(OptionError, match="audio_cache_gb"):
            finetune("tiny", tones, output=tmp_path / "run", audio_cache_gb=size, **QUICK)


ANALYTIC = {"head": "analytic", "workers": 0, "device": "cpu"}


@pytest.mark.parametrize("data", ["tones", "overlaps"])
def test_a_head_in_closed_form_takes_one_pass(data, tmp_path, request):
    clips = request.getfixturevalue(data)
    model = finetune("tiny", clips, val_fraction=0, output=tmp_path / "base", **{**QUICK, "epochs": 1}).folder
    result = finetune(str(model), clips, fold=None, output=tmp_path / "run", val_fraction=0.3, **ANALYTIC)
    assert list(result.history.epoch) == [1] and result.settings.freeze_backbone
    assert result.best["val_mAP"] > 0.7 and (tmp_path / "run" / "log.csv").read_text().startswith("epoch,penalty")
    before, after = (load_checkpoint(folder).backbone for folder in (model, tmp_path / "run"))
    assert all(
        torch.equal(value, after.network.state_dict()[key])
        for key, value in before.state_dict().items()
        if not key.startswith("classifier.")
    )
    known = audiotag.AnalyticLearner.load(tmp_path / "run" / "best" / "learner.safetensors")
    tagger = audiotag.load(tmp_path / "run")
    assert known.labels == tagger.labels and known.origin
    sound, rate = np.sin(np.arange(8000) / 3), 8000
    np.testing.assert_allclose(tagger.scores(sound, rate), known.scores(tagger.embed(sound, rate)), atol=1e-4)
    weights = _weights(tmp_path / "run" / "last")
    again = resume_run(tmp_path / "run")
    assert _same(weights, _weights(tmp_path / "run" / "last")) and again.best["val_mAP"] == result.best["val_mAP"]


@pytest.mark.parametrize("wrong", [{"epochs": 3}, {"loss": "focal", "learning_rate": 0.1}, {"mixup_alpha": 0.3}])
def test_what_does_nothing_without_steps_is_refused(tones, tmp_path, wrong):
    with pytest.raises(OptionError, match="|".join(wrong)):
        finetune("tiny", tones, output=tmp_path / "run", **ANALYTIC, **wrong)
    with pytest.raises(OptionError, match="teacher"):
        finetune("tiny", tones, output=tmp_path / "run", teacher="tiny", **ANALYTIC)
    assert not (tmp_path / "run").exists()
