"""Networks in fewer bytes: weights kept as float16 or int8, and computed with in float32.

ONNX Runtime makes float32 of them once, when it opens the file, so that passes take as long as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiotag.engines.exported import PRECISIONS
from audiotag.engines.interface import Floats
from audiotag.errors import OptionError
from audiotag.export.matrices import Matrix, find_matrices, input_moments
from audiotag.export.rounding import round_matrix

_LEAST_NUMBERS = 256
"""Smaller tensors (biases, shapes) are hardly worth a conversion."""


def require_precision(precision: str, calibrated: bool) -> None:
    """Refuse a precision that there is not, int8 without recordings to calibrate on, and these without it.

    Raises:
        OptionError: It is so.
    """
    if precision not in PRECISIONS:
        raise OptionError(f"there is no precision {precision!r}", fix=f"Use one of: {', '.join(PRECISIONS)}.")
    if precision == "int8" and not calibrated:
        raise OptionError(
            "int8 needs recordings to calibrate on",
            fix="Give typical recordings (--calibrate), or take fp16, which needs none.",
        )
    if precision != "int8" and calibrated:
        raise OptionError(
            f"recordings to calibrate on are given, and {precision} needs none", fix="Leave them out, or take int8."
        )


def keep_half(path: Path) -> None:
    """Rewrite an ONNX file so that its weights are float16, each followed by a conversion to float32.

    Weights that float16 does not hold stay as they are.
    """
    import onnx

    model = onnx.load(path)
    _halve(model.graph)
    path.write_bytes(model.SerializeToString())


def keep_int8(path: Path, inputs: Sequence[Mapping[str, Floats]]) -> None:
    """Rewrite an ONNX file so that its large matrices are int8 with a scale a row, and its other weights float16.

    Depthwise kernels and small matrices cost little as float16 and most of the accuracy as int8.

    Args:
        path: The file, whose weights are float32.
        inputs: What the network is given for some recordings; its matrices are rounded so that what they make of it
            changes least.
    """
    import onnx

    model = onnx.load(path)
    matrices = find_matrices(model.graph)
    for part, moments in input_moments(model, matrices, inputs):
        for matrix in part:
            _round(model.graph, matrix, moments.get(matrix.input))
    _halve(model.graph)
    path.write_bytes(model.SerializeToString())


def _round(graph: Any, matrix: Matrix, moments: Floats | None) -> None:
    from onnx import TensorProto, helper, numpy_helper

    tensor, name = matrix.tensor, matrix.tensor.name
    levels, scales = round_matrix(matrix.rows(), moments)
    kept, by_row = matrix.like_tensor(levels), matrix.like_tensor(scales[:, None])
    tensor.CopyFrom(numpy_helper.from_array(kept, f"{name}.int8"))
    graph.initializer.append(numpy_helper.from_array(by_row, f"{name}.scale"))
    # Not DequantizeLinear: ONNX Runtime leaves that to every pass, which then takes twice as long.
    cast = helper.make_node("Cast", [f"{name}.int8"], [f"{name}.levels"], to=TensorProto.FLOAT)
    _go_first(graph, [cast, helper.make_node("Mul", [f"{name}.levels", f"{name}.scale"], [name])])


def _halve(graph: Any) -> None:
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _LEAST_NUMBERS:
            continue
        with np.errstate(over="ignore"):
            half = numpy_helper.to_array(tensor).astype(np.float16)
        if not np.isfinite(half).all():
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    _go_first(graph, casts)


def _go_first(graph: Any, nodes: Sequence[Any]) -> None:
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
