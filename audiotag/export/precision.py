"""Networks in fewer bytes: weights kept as float16, and computed with in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_LEAST_NUMBERS = 256
"""Smaller tensors (biases, shapes) are hardly worth a conversion."""


def keep_half(path: Path) -> None:
    """Rewrite an ONNX file so that its weights are float16, each followed by a conversion to float32.

    ONNX Runtime converts once, when it opens the file, so that passes take as long as before. Weights that float16
    does not hold stay as they are.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    graph = model.graph
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
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    path.write_bytes(model.SerializeToString())
