"""Learning from a teacher: its scores, kept or from a file, and what becomes of clips that have none."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

import audiotag
from audiotag.data.clips import Clip, ClipSet
from audiotag.data.reading import read_clips
from audiotag.data.scores import Scores
from audiotag.errors import AudiotagError, LabelError, OptionError, TrainingError
from audiotag.inference.ensemble import save_ensemble
from audiotag.labels import LabelSet
from audiotag.models.checkpoint import load_checkpoint
from audiotag.training.finetune import finetune, resume_run
from audiotag.training.folds import finetune_folds
from audiotag.training.losses import BinaryCrossEntropy, CrossEntropy
from audiotag.training.mixing import Mixture
from audiotag.training.reporting import Reporter
from audiotag.training.request import Request
from audiotag.training.settings import Settings, Situation
from audiotag.training.supervision import SupervisedLoss, Supervision, mixed_labels
from audiotag.training.teaching import logits_of, teacher_logits, tempered

QUICK = {"epochs": 3, "batch_size": 4, "workers": 0, "device": "cpu", "learning_rate": 0.03}
PLAIN = {"mixup_alpha": 0.0, "gain_db": 0.0, "time_shift": 0.0, "frequency_mask": 0, "time_mask": 0}


@pytest.fixture(autouse=True)
def _tiny(tiny, tmp_path, monkeypatch):
    """Every test here uses the tiny network and a cache of its own."""
    monkeypatch.setenv("AUDIOTAG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def teacher(tones, tmp_path):
    finetune(
        "tiny",
        tones,
        fold=2,
        output=tmp_path / "teacher",
        **{**QUICK, "frequency_mask": 0, "time_mask": 0, "epochs": 12},
    )
    return str(tmp_path / "teacher")


class Messages(Reporter):
    def __init__(self):
        self.texts = []

    def message(self, text):
        self.texts.append(text)


def _loss(loss, **settings):
    return SupervisedLoss(
        loss, Settings(**settings).resolve(Situation(single_label=False, pretrained=True, taught=True))
    )


def _labels(**arrays):
    return {name: torch.as_tensor(array) for name, array in arrays.items()}


LOGITS = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, -1.0]])
TARGETS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def test_the_teachers_share_of_the_loss_is_the_weight():
    teacher = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    labels = {"targets": TARGETS, "teacher": teacher, "taught": torch.tensor([True, True])}
    bce = BinaryCrossEntropy()
    expected = 0.25 * bce(LOGITS, TARGETS).mean() + 0.75 * bce(LOGITS, teacher).mean()
    assert torch.isclose(_loss(bce, distill_weight=0.75)(LOGITS, labels).mean(), expected)


def test_a_clip_without_scores_contributes_no_teachers_loss():
    teacher = torch.tensor([[0.7, 0.2, 0.1], [0.9, 0.9, 0.9]])
    labels = {"targets": TARGETS, "teacher": teacher, "taught": torch.tensor([True, False])}
    bce = BinaryCrossEntropy()
    expected = (0.5 * bce(LOGITS, TARGETS) + 0.5 * bce(LOGITS, teacher) * torch.tensor([1.0, 0.0])).mean()
    assert torch.isclose(_loss(bce, distill_weight=0.5)(LOGITS, labels).mean(), expected)


def test_single_label_students_are_tempered_too():
    teacher = torch.softmax(torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]]) / 2.0, 1)
    labels = {"targets": TARGETS, "teacher": teacher, "taught": torch.tensor([True, True])}
    expected = -4.0 * (teacher * torch.log_softmax(LOGITS / 2.0, 1)).sum(1).mean()
    assert torch.isclose(_loss(CrossEntropy(), distill_weight=1.0, temperature=2.0)(LOGITS, labels).mean(), expected)


def test_labels_that_are_not_known_do_not_count():
    known = torch.tensor([[True, True, False], [True, False, True]])
    wrong = torch.where(known, TARGETS, 1.0 - TARGETS)
    loss = _loss(BinaryCrossEntropy(), distill_weight=0.0)
    assert torch.isclose(
        loss(LOGITS, {"targets": TARGETS, "known": known}).mean(),
        loss(LOGITS, {"targets": wrong, "known": known}).mean(),
    )
    assert not torch.isclose(loss(LOGITS, {"targets": TARGETS}).mean(), loss(LOGITS, {"targets": wrong}).mean())


def test_mixing_blends_targets_and_teacher_alike_and_knows_what_both_know():
    mixture = Mixture(partner=torch.tensor([1, 0, 1]), share=torch.tensor([0.75, 0.5, 1.0]))
    labels = _labels(
        targets=np.eye(3, dtype=np.float32),
        teacher=np.array([[0.8, 0.1, 0.1], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6]], dtype=np.float32),
        known=np.array([[True, False], [True, True], [False, True]]),
        taught=np.array([True, False, True]),
    )
    mixed = mixed_labels(labels, mixture)
    assert torch.allclose(mixed["targets"][0], torch.tensor([0.75, 0.25, 0.0]))
    assert torch.allclose(mixed["teacher"][0], 0.75 * labels["teacher"][0] + 0.25 * labels["teacher"][1])
    assert mixed["known"].tolist() == [[True, False], [True, False], [False, True]]
    assert mixed["taught"].tolist() == [
        False,
        False,
        True,
    ]  # the partner of the first has no scores; the third is alone


def test_supervision_marks_what_is_missing():
    labels = LabelSet.from_names(["a", "b"])
    clips = ClipSet((Clip("1", "1.wav", (0,), unknown=(1,)), Clip("2", "2.wav", (1,))), labels)
    teacher = np.array([[np.nan, np.nan], [0.1, 0.9]], dtype=np.float32)
    batch = Supervision.of(clips, teacher).batch(torch.tensor([1, 0]))
    assert batch["targets"].tolist() == [[0, 1], [1, 0]]
    assert batch["known"].tolist() == [[True, True], [True, False]]
    assert batch["taught"].tolist() == [True, False]
    assert torch.isfinite(batch["teacher"]).all()


@pytest.mark.parametrize("single_label", [True, False])
def test_logits_of_probabilities_give_them_back(single_label):
    probabilities = np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(
        tempered(logits_of(probabilities, single_label), 1.0, single_label), probabilities, atol=3e-6
    )


def test_a_student_learns_from_the_teacher_alone(tones, teacher, tmp_path):
    # The labels are all wrong; with the whole weight on the teacher they do not matter.
    wrong = pd.read_csv(tones)
    wrong["category"] = wrong["category"].map({"low": "high", "high": "low"})
    wrong["target"] = 1 - wrong["target"]
    path = tones.parent / "wrong.csv"
    wrong.to_csv(path, index=False)
    finetune(
        "tiny", path, output=tmp_path / "run", val_fraction=0, teacher=teacher, distill_weight=1.0,
        **{**QUICK, **PLAIN, "epochs": 30},
    )  # fmt: skip
    clips = read_clips(tones)
    tagger = audiotag.load(tmp_path / "run")
    logits, _ = tagger.score_clips(clips)
    names = np.array(tagger.labels.names)[logits.argmax(1)]
    assert (names == [clips.labels[clip.labels[0]].name for clip in clips]).mean() > 0.9


def test_what_the_teacher_says_is_computed_once(tones, teacher, tmp_path, monkeypatch):
    first = Messages()
    finetune("tiny", tones, fold=2, output=tmp_path / "one", teacher=teacher, reporter=first, **QUICK)
    assert any("Scores of the teacher" in text and "are cached in" in text for text in first.texts)

    def fails(*_, **__):
        raise AssertionError("the teacher is asked again")

    monkeypatch.setattr("audiotag.inference.tagger.Tagger.score_clips", fails)
    finetune("tiny", tones, fold=2, output=tmp_path / "two", teacher=teacher, reporter=Reporter(), **QUICK)


def test_another_head_is_another_teacher(tones, teacher, tmp_path):
    clips = read_clips(tones)
    store = tmp_path / "store.sqlite"
    one = teacher_logits(audiotag.load([teacher]), clips, store=store, reporter=Reporter())
    finetune(f"{teacher}/best", tones, fold=2, output=tmp_path / "other", freeze_backbone=True, **QUICK)
    other = teacher_logits(audiotag.load([str(tmp_path / "other")]), clips, store=store, reporter=Reporter())
    assert not np.allclose(one, other)
    both = teacher_logits(audiotag.load([teacher, str(tmp_path / "other")]), clips, store=store, reporter=Reporter())
    np.testing.assert_allclose(both, (one + other) / 2, atol=1e-5)


def test_an_ensemble_teaches_by_its_own_rule(tones, teacher, tmp_path):
    clips = read_clips(tones)
    finetune("tiny", tones, fold=1, output=tmp_path / "other", **QUICK)
    members = [teacher, str(tmp_path / "other")]
    arguments = {"store": tmp_path / "s.sqlite", "reporter": Reporter()}
    alone = [teacher_logits(audiotag.load([member]), clips, **arguments) for member in members]
    for rule in ("logits", "probabilities"):
        save_ensemble(members, tmp_path / rule, combine=rule)
    by_logits, by_probabilities = (
        teacher_logits(audiotag.load([str(tmp_path / rule)]), clips, **arguments)
        for rule in ("logits", "probabilities")
    )
    np.testing.assert_allclose(by_logits, sum(alone) / 2, atol=1e-5)
    np.testing.assert_allclose(
        tempered(by_probabilities, 1.0, True), sum(tempered(one, 1.0, True) for one in alone) / 2, atol=1e-5
    )
    result = finetune("tiny", tones, fold=2, output=tmp_path / "run", teacher=str(tmp_path / "probabilities"), **QUICK)
    assert np.isfinite(result.history.train_loss).all()
    with pytest.raises(OptionError, match="ensemble"):
        finetune("tiny", tones, output=tmp_path / "no", teacher=[teacher, str(tmp_path / "logits")], **QUICK)


def test_teachers_classes_are_matched_by_mid(tones, teacher, tmp_path):
    clips = read_clips(tones)
    turned = ClipSet(
        tuple(Clip(c.id, c.path, tuple(1 - i for i in c.labels)) for c in clips),
        LabelSet(list(clips.labels)[::-1], "turned"),
        single_label=True,
    )
    arguments = {"store": tmp_path / "s.sqlite", "reporter": Reporter()}
    np.testing.assert_array_equal(
        teacher_logits(audiotag.load([teacher]), clips, **arguments),
        teacher_logits(audiotag.load([teacher]), turned, **arguments)[:, ::-1],
    )


def test_a_file_of_scores_teaches_the_clips_it_knows(tones, tmp_path):
    clips = read_clips(tones)
    known = clips.subset(range(10))
    scores = Scores(np.clip(known.targets(), 0.05, 0.95), tuple(c.id for c in known), clips.labels.mids)
    scores.write(tmp_path / "scores.npz")
    heard = Messages()
    finetune("tiny", tones, output=tmp_path / "run", val_fraction=0, teacher_scores=tmp_path / "scores.npz",
             reporter=heard, **QUICK)  # fmt: skip
    assert any("14 of 24 clips have no teacher scores" in text for text in heard.texts)


def test_stored_logits_with_a_map_of_rows_teach_as_the_npz_does(tones, tmp_path):
    clips = read_clips(tones)
    probabilities = np.clip(clips.targets(), 0.05, 0.95)
    Scores(probabilities, tuple(c.id for c in clips), clips.labels.mids).write(tmp_path / "a.npz")
    np.save(tmp_path / "b.npy", np.log(probabilities / (1 - probabilities)).astype(np.float32)[::-1])
    rows = {clip.id: len(clips) - 1 - row for row, clip in enumerate(clips)}
    (tmp_path / "b.json").write_text(json.dumps(rows))
    histories = [
        finetune(
            "tiny", tones, output=tmp_path / f"run{end}", val_fraction=0, teacher_scores=tmp_path / end, **QUICK
        ).history
        for end in ("a.npz", "b.npy")
    ]
    np.testing.assert_allclose(histories[0].train_loss, histories[1].train_loss, rtol=1e-4)


def test_a_teacher_that_lacks_a_class_is_refused_with_the_way_out(tones, teacher, tmp_path):
    table = pd.read_csv(tones)
    table.loc[0, ["target", "category"]] = [2, "middle"]
    path = tones.parent / "more.csv"
    table.to_csv(path, index=False)
    with pytest.raises(LabelError, match=r"lacks the class 'middle'.*freeze-backbone"):
        finetune("tiny", path, output=tmp_path / "run", teacher=teacher, **QUICK)


def test_a_teacher_of_another_kind_is_refused(overlaps, teacher, tmp_path):
    with pytest.raises(OptionError, match="one class a clip"):
        finetune("tiny", overlaps, output=tmp_path / "run", teacher=teacher, **QUICK)


@pytest.mark.parametrize(
    "wrong", [{"distill_weight": 0.5}, {"distill_weight": 1.5}, {"temperature": 0.0}, {"teacher_scores": "a.npz"}]
)
def test_impossible_settings_are_refused(tones, tmp_path, wrong):
    if "teacher_scores" in wrong:
        wrong["teacher"] = "tiny"
    with pytest.raises(OptionError):
        finetune("tiny", tones, output=tmp_path / "run", **wrong, **QUICK)


def test_a_missing_teacher_is_named_before_training(tones, tmp_path):
    with pytest.raises(AudiotagError, match="nobody"):
        finetune("tiny", tones, output=tmp_path / "run", teacher="nobody", **QUICK)
    assert not (tmp_path / "run").exists()


def test_a_run_with_a_teacher_goes_on_and_refuses_another_one(tones, teacher, tmp_path):
    whole = finetune("tiny", tones, fold=2, output=tmp_path / "run", teacher=teacher, **QUICK)
    again = resume_run(tmp_path / "run", device="cpu")
    assert again.history.train_loss.tolist() == whole.history.train_loss.tolist()
    shutil.rmtree(teacher)
    finetune("tiny", tones, fold=2, output=teacher, options={"width": 6}, **QUICK)
    with pytest.raises(TrainingError, match="teacher"):
        resume_run(tmp_path / "run", device="cpu")


def test_each_fold_has_the_teacher_that_has_not_seen_it(tones, tmp_path):
    settings = {**QUICK, "epochs": 1}
    finetune_folds(Request.of("tiny", train=tones), settings, tmp_path / "teachers")
    finetune_folds(Request.of("tiny", train=tones, teacher=str(tmp_path / "teachers")), settings, tmp_path / "s")
    for fold in (1, 2):
        taught_by = json.loads((tmp_path / "s" / f"fold_{fold}" / "run.json").read_text())["request"]["teacher"]
        assert taught_by == [str(tmp_path / "teachers" / f"fold_{fold}" / "last")]


def test_a_frozen_backbone_can_have_a_teacher(tones, teacher, tmp_path):
    result = finetune(teacher, tones, fold=2, output=tmp_path / "run", teacher=teacher, freeze_backbone=True, **QUICK)
    assert np.isfinite(result.history.train_loss).all()
    assert load_checkpoint(tmp_path / "run").metadata["training"]["distill_weight"] == 0.9
