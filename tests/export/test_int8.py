"""Weights of a quarter of the size: which become int8, how they are rounded, and what the network then says."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import audiotag
from audiotag.cli.main import main
from audiotag.data.source import ClipSource
from audiotag.engines.exported import read_exported
from audiotag.engines.interface import Floats
from audiotag.engines.runtime import onnx_runtime
from audiotag.errors import AudioError, OptionError
from audiotag.export.export import export_ensemble, export_model
from audiotag.export.precision import keep_int8
from audiotag.export.rounding import round_matrix
from audiotag.inference.ensemble import save_ensemble
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.models.checkpoint import save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.loading import load_model
from audiotag.models.model import Model


def correlated(count: int, size: int) -> Floats:
    """Vectors as networks have them: of few directions, with a mean."""
    generator = np.random.default_rng(0)
    few = generator.standard_normal((count, 6)) @ generator.standard_normal((6, size))
    return (1 + few + 0.05 * generator.standard_normal((count, size))).astype(np.float32)


@pytest.mark.parametrize("inputs", [40, 200])  # of less and of more than one block
def test_a_matrix_is_rounded_for_what_it_is_multiplied_with(inputs: int) -> None:
    rows = np.random.default_rng(1).standard_normal((30, inputs))
    heard, later = np.split(correlated(800, inputs), 2)
    errors = []
    for moments in (None, heard.T @ heard / np.float32(len(heard))):
        levels, scales = round_matrix(rows, moments)
        assert levels.dtype == np.int8 and np.abs(levels.astype(int)).max() == 127
        errors.append(np.sqrt(np.mean((later @ (levels * scales[:, None] - rows).T) ** 2)))
    assert errors[1] < 0.25 * errors[0]


def test_without_what_it_is_multiplied_with_each_number_goes_to_the_nearest() -> None:
    rows = np.asarray([[127.0, -3.4, 3.6, 0.0], [0.0, 0.0, 0.0, 0.0], [-12.7, 0.04, 0.06, 1.0]])
    levels, scales = round_matrix(rows, None)
    assert levels.tolist() == [[127, -3, 4, 0], [0, 0, 0, 0], [-127, 0, 1, 10]]
    assert scales == pytest.approx([1, 1, 0.1])
    silent = np.zeros((4, 4), np.float32)
    assert round_matrix(rows, silent)[0].tolist() == levels.tolist()


def tensor(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(sum(map(ord, name))).standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return numpy_helper.from_array(values.astype(np.float32), name)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Every kind of product: which of them are kept how is in the names."""
    weights = {
        "wide.int8": (80, 8, 3, 3),
        "depthwise.half": (80, 1, 9, 9),
        "pointwise.int8": (64, 80, 1, 1),
        "small.half": (16, 64, 1, 1),
        "transposed.int8": (80, 64),
        "plain.int8": (80, 96),
        "product.int8": (96, 64),
        "shared.int8": (64, 64),
        "mixed.half": (64, 64),
        "turned.half": (64, 64),
        "bias": (96,),
    }
    nodes = [
        helper.make_node("Conv", ["spectrogram", "wide.int8"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "depthwise.half"], ["b"], pads=[4, 4, 4, 4], group=80),
        helper.make_node("Conv", ["b", "pointwise.int8"], ["c"]),
        helper.make_node("Conv", ["c", "small.half"], ["d"]),
        helper.make_node("GlobalAveragePool", ["c"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["e"]),
        helper.make_node("Gemm", ["e", "transposed.int8"], ["f"], transB=1),
        helper.make_node("Gemm", ["f", "plain.int8", "bias"], ["g"]),
        helper.make_node("MatMul", ["g", "product.int8"], ["h"]),
        helper.make_node("MatMul", ["h", "shared.int8"], ["i"]),
        helper.make_node("MatMul", ["i", "shared.int8"], ["j"]),
        helper.make_node("MatMul", ["j", "mixed.half"], ["k"]),
        helper.make_node("Gemm", ["k", "mixed.half"], ["l"], transB=1),
        helper.make_node("Transpose", ["turned.half"], ["turned"]),
        helper.make_node("MatMul", ["l", "turned.half"], ["m"]),
        helper.make_node("MatMul", ["m", "turned"], ["logits"]),
    ]
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("spectrogram", floats, ["batch", 8, 10, "time"])],
        [helper.make_tensor_value_info(name, floats, None) for name in ("logits", "d", "e")],
        [tensor(name, *shape) for name, shape in weights.items()],
    )
    path = tmp_path / "network.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def logits(path: Path, inputs: list[dict[str, Floats]]) -> Floats:
    session = onnx_runtime().InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["logits"], one)[0].ravel() for one in inputs])


def test_large_matrices_become_int8_and_the_rest_float16(network: Path) -> None:
    generator = np.random.default_rng(2)
    inputs = [
        {"spectrogram": generator.standard_normal((1, 8, 10, 40 + number)).astype(np.float32)} for number in range(6)
    ]
    before, size = logits(network, inputs), network.stat().st_size
    nearest = Path(shutil.copy(network, network.with_name("nearest.onnx")))
    keep_int8(nearest, [])
    keep_int8(network, inputs)
    errors = [np.abs(logits(path, inputs) - before).mean() for path in (nearest, network)]
    assert 0 < errors[1] < 0.8 * errors[0] < 0.02 * np.abs(before).mean()
    kept = {one.name: one.data_type for one in onnx.load(network).graph.initializer}
    wanted = {"int8": TensorProto.INT8, "half": TensorProto.FLOAT16}
    for name, found in kept.items():
        base, _, kind = name.rpartition(".")
        assert found == wanted.get(kind, TensorProto.FLOAT), name
        assert kind != "int8" or base.endswith("int8"), name
        assert kind != "half" or base.endswith("half"), name
    assert sum(found == TensorProto.INT8 for found in kept.values()) == 6
    assert network.stat().st_size < 0.4 * size


@pytest.fixture
def wide(model: Model) -> Model:
    """With so many classes that they make a large matrix."""
    labels = LabelSet.from_names([f"class {number}" for number in range(3000)], source="test")
    backbone = create_backbone("small", 3000, seed=0).eval()
    return replace(model, backbone=backbone, labels=labels, thresholds=None)


def test_an_export_in_int8_tags_almost_the_same_and_says_how_it_was_made(
    wide: Model, recordings: list[Path], tmp_path: Path
) -> None:
    half, _ = export_model(wide, tmp_path / "half", precision="fp16")
    exported, proof = export_model(wide, tmp_path / "int8", precision="int8", calibrate=tmp_path)
    assert exported.precision == read_exported(tmp_path / "int8").precision == "int8"
    assert exported.network.stat().st_size < 0.85 * half.network.stat().st_size
    before, after = Tagger(wide), audiotag.load(tmp_path / "int8")
    for path in recordings:
        wanted, found = before.tag(path, top=3000), after.tag(path, top=3000)
        scores = dict(zip(found.labels, found.scores, strict=True))
        same = [scores[label] for label in wanted.labels]
        assert 0 < np.abs(np.asarray(same) - wanted.scores).max() < 0.01
    told = json.loads((tmp_path / "int8" / "parity.json").read_text())
    # Three that are heard at once, and one of 70 s in windows of 1 s; more of it than is needed are left out.
    assert told["calibrated"] == {"sounds": str(tmp_path), "passes": 73}
    assert told["bytes"]["network"] == exported.network.stat().st_size
    assert told["top_class"] == proof.top_class and 0 < told["logits"]["relative"] < 0.02
    assert f"Rounded for: 73 passes of {tmp_path}" in (tmp_path / "int8" / "README.md").read_text()


def test_the_clips_of_a_list_can_be_calibrated_on(wide: Model, recordings: list[Path], tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text(
        "path,labels,fold\n" + "".join(f"{path.name},other,{number}\n" for number, path in enumerate(recordings[:3]))
    )
    _, proof = export_model(
        wide, tmp_path / "out", precision="int8", calibrate=ClipSource(tmp_path / "clips.csv", fold=(1, 2))
    )
    assert proof.calibrated == {"sounds": f"folds 1, 2 of {tmp_path / 'clips.csv'}", "passes": 2}
    (tmp_path / "clips.csv").write_text("path,labels\n0.wav,other\ngone.wav,other\n")
    with pytest.raises(AudioError, match=r"gone\.wav"):
        export_model(wide, tmp_path / "more", precision="int8", calibrate=tmp_path / "clips.csv")
    assert not (tmp_path / "more").exists()


def test_the_command_writes_int8_and_refuses_it_without_recordings(recordings: list[Path], tmp_path: Path) -> None:
    command = ["export", "home10", "--output", str(tmp_path / "out"), "--precision"]
    for options, reason in (
        (["int8"], "int8 needs recordings to calibrate on"),
        (["fp16", "--calibrate", str(recordings[1])], "fp16 needs none"),
    ):
        run = CliRunner().invoke(main, [*command, *options])
        assert isinstance(run.exception, OptionError) and reason in str(run.exception)
    with pytest.raises(OptionError, match="int8 needs recordings"):
        export_model("home10", tmp_path / "out", precision="int8")
    run = CliRunner().invoke(main, [*command, "int8", "--calibrate", str(recordings[1])])
    assert run.exit_code == 0, run.output
    assert "have the same highest class" in run.output
    assert len(audiotag.load(tmp_path / "out").tag(recordings[1], top=10)) == 10


def test_all_members_of_an_ensemble_are_calibrated(model: Model, recordings: list[Path], tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "member", model)
    save_ensemble([tmp_path / "member", tmp_path / "member"], tmp_path / "both")
    with pytest.raises(OptionError, match="int8 needs recordings"):
        export_ensemble(tmp_path / "both", tmp_path / "out", precision="int8")
    made = export_ensemble(tmp_path / "both", tmp_path / "out", precision="int8", calibrate=recordings[1])
    assert [exported.precision for exported, _ in made] == ["int8", "int8"]
    assert [proof.calibrated for _, proof in made] == 2 * [{"sounds": str(recordings[1]), "passes": 1}]


@pytest.mark.slow
def test_published_weights_in_int8_hear_the_same(assets: Path, tmp_path: Path) -> None:
    esc10 = assets / "assets/esc10"
    weights = assets / "assets/weights/mn04_as_mAP_432.pt"
    with (esc10 / "esc10.csv").open() as file:
        recordings = [(esc10 / "audio" / row["filename"], int(row["fold"])) for row in csv.DictReader(file)]
    listed = tmp_path / "calibration.csv"
    listed.write_text("path,labels\n" + "".join(f"{path},x\n" for path, fold in recordings if fold == 1))
    model = load_model("mn04_as", weights=weights)
    exported, _ = export_model(model, tmp_path / "int8", precision="int8", calibrate=listed)
    assert exported.network.stat().st_size < 1.2e6
    before, after = Tagger(model), audiotag.load(tmp_path / "int8")
    others = [path for path, fold in recordings if fold != 1]
    highest = [[found.tags.labels[0] for found in tagger.tag_files(others, top=1)] for tagger in (before, after)]
    agreement = np.mean([one == other for one, other in zip(*highest, strict=True)])
    assert len(others) == 240 and agreement >= 0.97
