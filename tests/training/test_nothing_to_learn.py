"""Labels that leave nothing to learn or to measure are called so, instead of an accuracy of 1."""

import numpy as np
import pandas as pd
import pytest
import torch

from audiotag.audio.augmentation import Augmentation
from audiotag.audio.variation import vary_spectrogram
from audiotag.errors import TrainingError
from audiotag.evaluation.evaluation import evaluate_scores
from audiotag.labels import LabelSet
from audiotag.training.finetune import finetune
from audiotag.training.reporting import Reporter

QUICK = {"epochs": 1, "batch_size": 6, "workers": 0, "device": "cpu"}

pytestmark = pytest.mark.usefixtures("tiny")


class Messages(Reporter):
    def __init__(self):
        self.texts = []

    def message(self, text):
        self.texts.append(text)


@pytest.mark.parametrize("single_label", [True, False, None])
def test_clips_that_all_have_the_one_class_teach_nothing(tones, tmp_path, single_label):
    table = pd.read_csv(tones)
    table[table["category"] == "low"].to_csv(tones, index=False)
    with pytest.raises(TrainingError, match="cannot be trained on"):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", single_label=single_label, **QUICK)


def test_clips_of_one_class_out_of_several_teach_nothing_either(tones, tmp_path):
    table = pd.read_csv(tones)
    table[table["category"] == "low"].to_csv(tones, index=False)
    labels = LabelSet.from_names(["low", "high"])
    with pytest.raises(TrainingError, match="cannot be trained on"):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", labels=labels, **QUICK)


def test_one_class_that_is_not_in_every_clip_can_be_learned(overlaps, tmp_path):
    table = pd.read_csv(overlaps)
    table["labels"] = ["low" if "low" in names else "none" for names in table["labels"]]
    table.to_csv(overlaps, index=False)
    finetune("tiny", overlaps, output=tmp_path / "run", single_label=False, **QUICK)


def test_validation_clips_that_tell_nothing_are_said(tones, tmp_path):
    table = pd.read_csv(tones)
    val = tones.with_name("val.csv")
    table[(table["category"] == "low") & (table["fold"] == 1)].to_csv(val, index=False)
    table[table["fold"] == 2].to_csv(tones, index=False)
    messages = Messages()
    finetune("tiny", tones, val=val, output=tmp_path / "run", reporter=messages, **QUICK)
    assert any("nothing can be measured on the clips to validate on" in text for text in messages.texts)


@pytest.mark.parametrize(
    ("targets", "single_label", "warns"),
    [
        ([[1], [1]], True, True),
        ([[1], [1]], False, True),
        ([[0], [0]], False, True),
        ([[1, 0], [1, 0]], True, True),
        ([[1, 0], [0, 1]], True, False),
        ([[1], [0]], False, False),
    ],
)
def test_an_evaluation_that_measures_nothing_says_so(targets, single_label, warns):
    labels = LabelSet.from_names(["a", "b"][: len(targets[0])])
    result = evaluate_scores(np.array(targets), np.array(targets) * 0.9, labels, single_label=single_label)
    assert any("Nothing was measured" in one for one in result.warnings) == warns


@pytest.mark.parametrize(("bands", "frames"), [(1, 1), (1, 50), (2, 3), (8, 20), (64, 1)])
@pytest.mark.parametrize("stripes", [1, 3])
def test_the_usual_masks_leave_half_of_any_spectrogram(bands, frames, stripes):
    augmentation = Augmentation(
        frequency_mask=16, time_mask=64, frequency_stripes=stripes, time_stripes=stripes, mask_with="silence"
    )
    generator = torch.Generator().manual_seed(0)
    masked = vary_spectrogram(augmentation, torch.ones(200, bands, frames), 0.0, generator)
    assert masked.amax(dim=(1, 2)).min() == 1.0
    assert (masked.amax(dim=2).mean(dim=1) >= 0.5).all()
    assert (masked.amax(dim=1).mean(dim=1) >= 0.5).all()
