"""A linear head over unit-length embeddings in the place of any network's own."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from audiotag.errors import CheckpointError
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.checkpoint import load_checkpoint, save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.embedding_head import over_embedding, set_linear_head
from audiotag.models.fingerprints import backbone_fingerprint, embedding_fingerprint, model_fingerprint
from audiotag.models.heads import change_classes
from audiotag.models.model import Model

LABELS = LabelSet.from_names(["bell", "knock", "bark"])


def made(name: str = "tiny", **options: Any) -> Model:
    backbone = create_backbone(name, 3, **options).eval()
    return Model(backbone, get_host().backbone(name), options, LABELS, name)


@pytest.mark.parametrize(
    ("name", "options"), [("tiny", {}), ("mn", {"width_mult": 0.1}), ("psla", {}), ("mn", {"head_type": "mlp"})]
)
def test_any_head_gives_way(tiny: ModuleType, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    model = made(name, **options)
    sound = 0.1 * torch.randn(2, model.backbone.sample_rate, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        embeddings = model.backbone.embed(sound)
    before = embedding_fingerprint(model)
    assert over_embedding(over_embedding(model)) is model
    weight = torch.randn(3, embeddings.shape[1], generator=torch.Generator().manual_seed(1))
    set_linear_head(model, weight.numpy(), torch.tensor([1.0, 2.0, 3.0]).numpy())
    wanted = embeddings / embeddings.norm(dim=1, keepdim=True) @ weight.T + torch.tensor([1.0, 2.0, 3.0])
    again = load_checkpoint(save_checkpoint(tmp_path / "model", model))
    for one in (model.backbone, model.backbone.accelerated(), model.backbone.exportable(), again.backbone):
        with torch.inference_mode():
            torch.testing.assert_close(one(sound), wanted, rtol=1e-3, atol=1e-4)
    assert embedding_fingerprint(model) == embedding_fingerprint(again) == before
    assert backbone_fingerprint(again) == backbone_fingerprint(model) != backbone_fingerprint(made(name, **options))
    assert model_fingerprint(again) == model_fingerprint(model)
    change_classes(again, LabelSet.from_names(["new", "bark"]))
    with torch.inference_mode():
        torch.testing.assert_close(again.backbone(sound)[:, 1], wanted[:, 2], rtol=1e-3, atol=1e-4)


def test_an_unknown_kind_of_head_is_refused(tiny: ModuleType, tmp_path: Path) -> None:
    facts = save_checkpoint(tmp_path / "model", made()) / "audiotag.json"
    content = json.loads(facts.read_text())
    for kind in ("frames", 3):
        content["backbone"]["head"] = kind
        facts.write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match="head"):
            load_checkpoint(tmp_path / "model")
