"""Ways to make a network of int8: size, agreement with float32, accuracy and speed.

    OMP_NUM_THREADS=1 python benchmarks/int8.py [--weights ../shared/assets/weights/mn04_as_mAP_432.pt] [--runs FOLDER]

`mn04_as` on the folds of ESC-10: calibrated on one, compared with float32 on the others (highest of 527 classes), all
four in turn. Accuracy is that of networks with a head for ESC-10, learned on three folds (kept in --runs), calibrated
on one of these and measured on the fourth. Speed is one thread, ten seconds, the network alone, turn by turn with
float32: the median of ratios. `mn10` has fresh weights: size and speed only.
"""

from __future__ import annotations

import argparse
import io
import logging
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.preprocess import quant_pre_process
from tagging import settle

from audiotag.data.source import ClipSource
from audiotag.engines.exported import LOGITS, NETWORK_FILE, SPECTROGRAM
from audiotag.engines.interface import Floats
from audiotag.engines.runtime import open_session
from audiotag.export import matrices
from audiotag.export.calibration import Calibration
from audiotag.export.folder import write_exported
from audiotag.export.network import write_network
from audiotag.export.precision import keep_half, keep_int8
from audiotag.models.create import create_backbone
from audiotag.models.loading import load_model
from audiotag.models.model import Model
from audiotag.training.finetune import finetune

ASSETS = Path(__file__).parents[2] / "shared" / "assets"
ESC10 = ASSETS / "esc10" / "esc10.csv"
FOLDS = (1, 2, 3, 4)
STATIC_CLIPS = 16
ROUNDS = 11

Inputs = list[dict[str, Floats]]


def everything(path: Path, inputs: Inputs) -> None:
    with patch.object(matrices, "_LEAST_NUMBERS", 256):
        keep_int8(path, inputs)


class Reader(CalibrationDataReader):
    """What onnxruntime's quantiser asks for."""

    def __init__(self, inputs: Inputs) -> None:
        length = statistics.mode(one[SPECTROGRAM].shape for one in inputs)  # percentiles take one length only
        self.inputs = iter([one for one in inputs if one[SPECTROGRAM].shape == length][:STATIC_CLIPS])

    def get_next(self) -> dict[str, Floats] | None:
        """The next clip; None after the last."""
        return next(self.inputs, None)


def static(
    path: Path,
    inputs: Inputs,
    method: CalibrationMethod = CalibrationMethod.MinMax,
    in_float: Callable[[Any], list[str]] = lambda graph: [],
) -> None:
    """Int8 activations too, with onnxruntime's own tools."""
    quant_pre_process(path, path, skip_symbolic_shape=True)
    with redirect_stdout(io.StringIO()):
        quantize_static(
            path,
            path,
            Reader(inputs),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=in_float(onnx.load(path).graph),
            calibrate_method=method,
        )


def delicate(graph: Any) -> list[str]:
    """First and last layers, squeeze-and-excitation, and what stands on either side of a hard swish."""
    swish = [node for node in graph.node if node.op_type == "HardSwish"]
    beside = {name for node in swish for name in (*node.input, *node.output)}
    first = next(node.name for node in graph.node if node.op_type == "Conv")
    return [
        node.name
        for node in graph.node
        if node.name == first
        or node.op_type in ("Gemm", "HardSwish", "ReduceMean", "Sigmoid", "Mul")
        or beside & {*node.input, *node.output}
    ]


def early(graph: Any) -> list[str]:
    """All but the pointwise convolutions of the last five stages."""
    late = tuple(f"/features/features.{number}/" for number in range(12, 17))
    depthwise = {node.name for node in graph.node if any(one.name == "group" and one.i > 1 for one in node.attribute)}
    return [node.name for node in graph.node if node.name in depthwise or not node.name.startswith(late)]


WAYS: dict[str, Callable[[Path, Inputs], None]] = {
    "float16": lambda path, inputs: keep_half(path),
    "weights, all from 256 numbers, nearest": lambda path, inputs: everything(path, []),
    "weights, all from 256 numbers, rounded for inputs": everything,
    "weights, nearest": lambda path, inputs: keep_int8(path, []),
    "weights, rounded for inputs (`--precision int8`)": keep_int8,
    "static, all": static,
    "static, ranges by percentile, delicate parts float": lambda path, inputs: static(
        path, inputs, CalibrationMethod.Percentile, delicate
    ),
    "static, late pointwise convolutions only": lambda path, inputs: static(path, inputs, in_float=early),
}


def session(path: Path) -> Any:
    return open_session(str(path), threads=1)


def highest(path: Path, inputs: Inputs) -> list[int]:
    opened = session(path)
    return [int(opened.run([LOGITS], one)[0].argmax()) for one in inputs]


def ratio(path: Path, base: Path, openings: int) -> float:
    """Time with *path* over that with *base*; where a session lies in memory counts, so both are opened anew."""
    given = {SPECTROGRAM: np.random.default_rng(0).standard_normal((1, 128, 1000)).astype(np.float32)}
    found = []
    for _ in range(openings):
        opened = [session(path), session(base)]
        for _ in range(ROUNDS):
            times = []
            for one in opened:
                began = time.perf_counter()
                one.run([LOGITS], given)
                times.append(time.perf_counter() - began)
            found.append(times[0] / times[1])
    return statistics.median(found)


def made(base: Path, way: str, inputs: Inputs) -> Path:
    path = base.with_name("way.onnx")
    shutil.copy(base, path)
    WAYS[way](path, inputs)
    return path


def written(model: Model, folder: Path) -> Path:
    folder.mkdir()
    write_exported(model, folder)
    return folder / NETWORK_FILE


def esc10_model(weights: Path, runs: Path, fold: int) -> Model:
    run = runs / f"run{fold}"
    if not run.exists():
        source = ClipSource(ESC10)
        finetune("mn04_as", source, output=run, weights=weights, fold=fold, freeze_backbone=True, epochs=30)
    return load_model(run)


def row(*cells: object) -> None:
    print("|", *(f"{cell} |" for cell in cells), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=ASSETS / "weights" / "mn04_as_mAP_432.pt")
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--openings", type=int, default=9)
    given = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        published = load_model("mn04_as", weights=given.weights)
        clips = {fold: ClipSource(ESC10, fold=fold) for fold in FOLDS}
        inputs = {fold: Calibration.of(published, clips[fold]).inputs for fold in FOLDS}
        classes = {fold: [clip.labels[0] for clip in clips[fold].read()] for fold in FOLDS}
        base = written(published, folder / "published")
        heard = {fold: highest(base, inputs[fold]) for fold in FOLDS}
        heads = {
            fold: written(esc10_model(given.weights, given.runs or folder, fold), folder / f"esc{fold}")
            for fold in FOLDS
        }
        large = folder / "mn10.onnx"
        write_network(settle(create_backbone("mn", 527, width_mult=1.0, seed=0)), large, [320_000, 160_000])

        def accuracy(path_of: Callable[[int], Path]) -> float:
            right = [np.equal(highest(path_of(fold), inputs[fold]), classes[fold]).mean() for fold in FOLDS]
            return float(np.mean(right))

        row("", "mn04, MB", "same highest class", "ESC-10", "time", "mn10, MB", "time")
        row("---", *["---:"] * 6)
        float_accuracy = accuracy(lambda fold: heads[fold])
        row(
            "float32",
            f"{base.stat().st_size / 1e6:.2f}",
            "",
            f"{float_accuracy:.2%}",
            1,
            f"{large.stat().st_size / 1e6:.2f}",
            1,
        )
        for way in WAYS:
            same: Counter[bool] = Counter()
            for fold in FOLDS:
                path = made(base, way, inputs[fold])
                for other in FOLDS:
                    if other != fold:
                        same.update(np.equal(highest(path, inputs[other]), heard[other]).tolist())
            size, time_ratio = path.stat().st_size / 1e6, ratio(path, base, given.openings)
            right = accuracy(lambda fold, way=way: made(heads[fold], way, inputs[fold % 4 + 1]))
            wide = made(large, way, inputs[1][:STATIC_CLIPS])
            row(
                way,
                f"{size:.2f}",
                f"{same[True] / same.total():.1%}",
                f"{right:.2%}",
                f"{time_ratio:.2f}",
                f"{wide.stat().st_size / 1e6:.2f}",
                f"{ratio(wide, large, given.openings):.2f}",
            )


if __name__ == "__main__":
    main()
