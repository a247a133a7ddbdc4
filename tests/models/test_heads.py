"""Changing a model's classes carries rows by mid."""

import numpy as np
import pytest
import torch

from audiotag.host import get_host
from audiotag.labels import Label, LabelSet
from audiotag.models.create import create_backbone
from audiotag.models.heads import change_classes
from audiotag.models.model import Model


def _labels(*mids):
    return LabelSet([Label(mid, mid.upper()) for mid in mids])


def _model(name, labels, **options):
    backbone = create_backbone(name, len(labels), **options).eval()
    return Model(
        backbone, get_host().backbone(name), options, labels, name, thresholds=np.linspace(0.1, 0.9, len(labels))
    )


SMALL = {"depth": 1, "width": 16, "heads": 2, "target_length": 64, "projection_dim": 16}

CASES = [
    ("tiny", {"head_type": "linear"}),
    ("tiny", {"head_type": "mlp"}),
    ("mn", {"width_mult": 0.1, "head_type": "mlp"}),
    ("mn", {"width_mult": 0.1, "head_type": "fully_convolutional"}),
    ("mn", {"width_mult": 0.1, "head_type": "multihead_attention_pooling"}),
    ("dymn", {"width_mult": 0.4}),
    ("dymn", {"width_mult": 0.1, "head_type": "fully_convolutional"}),
    ("dymn", {"width_mult": 0.1, "head_type": "multihead_attention_pooling"}),
    ("equiav", {**SMALL, "head": "linear"}),
    ("equiav", {**SMALL, "head": "mlp"}),
    ("equiav", {**SMALL, "head": "linear", "inter_linear": False, "projection_width": 24}),
]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_kept_classes_keep_their_rows_and_scores(tiny, name, options):
    if name not in get_host().backbones:
        pytest.skip(f"no plugin brings {name}")
    model = _model(name, _labels("a", "b", "c"), **options)
    waveform = torch.randn(2, 4 * model.backbone.sample_rate, generator=torch.Generator().manual_seed(0)) / 10
    with torch.inference_mode():
        before = model.backbone(waveform)
    old = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    change = change_classes(model, _labels("c", "new", "a"))
    assert (change.kept, change.added, change.dropped) == (("c", "a"), ("new",), ("b",))
    model.backbone.eval()
    with torch.inference_mode():
        after = model.backbone(waveform)
    assert after.shape == (2, 3)
    torch.testing.assert_close(torch.sigmoid(after[:, [0, 2]]), torch.sigmoid(before[:, [2, 0]]), rtol=0, atol=1e-6)
    rows = model.backbone.class_rows()
    state = model.backbone.state_dict()
    assert rows.keys() <= state.keys()
    for key, value in state.items():
        if key not in rows:
            assert torch.equal(value, old[key]), key
        elif value.ndim:
            by_class = [one.reshape(rows[key].shape).movedim(rows[key].axis, 0) for one in (old[key], value)]
            assert torch.equal(by_class[1][[0, 2]], by_class[0][[2, 0]]), key
    assert model.thresholds.tolist() == [0.9, 0.5, 0.1]


def test_new_rows_follow_the_seed(tiny):
    states = []
    for seed in (0, 0, 1):
        model = _model("tiny", _labels("a"))
        change_classes(model, _labels("b"), seed=seed)
        states.append(model.backbone.state_dict()["classifier.0.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
