"""The matrices of a network file, and what goes into them for some recordings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.engines.interface import Floats
from audiotag.engines.runtime import open_session
from audiotag.engines.threads import usable_threads

_LEAST_NUMBERS = 4096
"""Smaller matrices are left alone."""
_POSITIONS = 256
"""Of one tensor, evenly over its space: neighbours are alike, and more change nothing."""
_MOST_NUMBERS = 1 << 26
"""Of all moments at once: 256 MB."""


@dataclass(frozen=True, eq=False)
class Matrix:
    """A tensor of weights by which a node multiplies; convolutions that are not grouped count as well.

    Attributes:
        tensor: The initialiser.
        input: Name of what it is multiplied with.
        output_axis: Axis of the tensor that the outputs are on.
        input_axis: Axis of what it is multiplied with that is summed over; None where the kernel is larger than 1.
    """

    tensor: Any
    input: str
    output_axis: int
    input_axis: int | None

    def rows(self) -> NDArray[np.float64]:
        """Float64 (outputs, inputs)."""
        from onnx import numpy_helper

        array = np.moveaxis(numpy_helper.to_array(self.tensor), self.output_axis, 0)
        return array.reshape(len(array), -1).astype(np.float64)

    def like_tensor(self, rows: NDArray[Any]) -> NDArray[Any]:
        """(outputs, inputs), or (outputs, 1), as the tensor has them."""
        if self.output_axis == 1:
            return np.ascontiguousarray(rows.T)
        dims = list(self.tensor.dims)
        return rows.reshape(dims if rows.shape[1] > 1 else [dims[0], *[1] * (len(dims) - 1)])


def find_matrices(graph: Any) -> list[Matrix]:
    """The large matrices of *graph*; of what several nodes multiply by in the same way, for the first of them."""
    from onnx import TensorProto

    uses = Counter(name for node in graph.node for name in node.input)
    tensors = {
        tensor.name: tensor
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT and math.prod(tensor.dims) >= _LEAST_NUMBERS
    }
    found: dict[str, list[Matrix]] = {}
    for node in graph.node:
        if len(node.input) > 1 and node.input[1] in tensors:
            matrix = _matrix(node, tensors[node.input[1]])
            found.setdefault(node.input[1], []).extend([] if matrix is None else [matrix])
    return [
        same[0]
        for name, same in found.items()
        if len(same) == uses[name] and len({one.output_axis for one in same}) == 1
    ]


def _matrix(node: Any, tensor: Any) -> Matrix | None:
    attributes = {one.name: one.i for one in node.attribute}
    if node.op_type == "Conv" and attributes.get("group", 1) == 1:
        return Matrix(tensor, node.input[0], 0, 1 if math.prod(tensor.dims[2:]) == 1 else None)
    if node.op_type == "Gemm" and not attributes.get("transA"):
        return Matrix(tensor, node.input[0], 0 if attributes.get("transB") else 1, 1)
    if node.op_type == "MatMul" and len(tensor.dims) == 2:
        return Matrix(tensor, node.input[0], 1, -1)
    return None


def input_moments(
    model: Any, matrices: Sequence[Matrix], inputs: Sequence[Mapping[str, Floats]]
) -> Iterator[tuple[list[Matrix], dict[str, Floats]]]:
    """*matrices* in parts whose moments fit in memory.

    Args:
        model: The network; it may change between parts: moments are those of the network as it is given.
        matrices: Of it.
        inputs: What the network is given, pass by pass.

    Yields:
        The matrices, and name of what goes in → mean of v vᵀ over what goes in, vectors v (inputs,) of positions of
        passes; kernels larger than 1 have none.
    """
    network = model.SerializeToString()
    for part in _parts(matrices):
        axes = {matrix.input: matrix.input_axis for matrix in part if matrix.input_axis is not None}
        yield part, _moments(network, axes, inputs)


def _parts(matrices: Sequence[Matrix]) -> Iterator[list[Matrix]]:
    part: list[Matrix] = []
    numbers = 0
    for matrix in matrices:
        size = 0 if matrix.input_axis is None else (math.prod(matrix.tensor.dims) // _outputs(matrix)) ** 2
        if part and numbers + size > _MOST_NUMBERS:
            yield part
            part, numbers = [], 0
        part.append(matrix)
        numbers += size
    if part:
        yield part


def _outputs(matrix: Matrix) -> int:
    return int(matrix.tensor.dims[matrix.output_axis])


def _moments(network: bytes, axes: Mapping[str, int], inputs: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    import onnx
    from onnx import TensorProto, helper

    if not axes:
        return {}
    model = onnx.load_from_string(network)
    given = {one.name for one in model.graph.input}
    there = {one.name for one in model.graph.output}
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in axes if name not in given | there
    )
    session = open_session(model.SerializeToString(), usable_threads())
    names = [name for name in axes if name not in given]
    sums: dict[str, Floats] = {}
    for one in inputs:
        values = {**one, **dict(zip(names, session.run(names, dict(one)), strict=True))}
        for name, axis in axes.items():
            vectors = np.moveaxis(values[name], axis, -1).reshape(-1, values[name].shape[axis])
            if len(vectors) > _POSITIONS:
                vectors = vectors[np.linspace(0, len(vectors) - 1, _POSITIONS).astype(int)]
            moment = vectors.T @ vectors / np.float32(len(vectors) * len(inputs))
            sums[name] = sums[name] + moment if name in sums else moment
    return sums
