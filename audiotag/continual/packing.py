"""Arrays as plain JSON types, bit by bit, for states and journals."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.documents import Fields

_KINDS = ("<f4", "<f8")


def pack(array: NDArray[Any]) -> dict[str, Any]:
    """A float32 or float64 array as a JSON object: its type, shape and bytes."""
    plain = np.ascontiguousarray(array, dtype=np.dtype(array.dtype).newbyteorder("<"))
    return {
        "kind": plain.dtype.str,
        "shape": list(plain.shape),
        "data": base64.b64encode(plain.tobytes()).decode("ascii"),
    }


def unpack(fields: Fields) -> NDArray[Any]:
    """The array that `pack` wrote.

    Raises:
        AudiotagError: It is damaged, or holds something else than finite numbers; of the class that *fields* raises.
    """
    kind, shape, data = fields.text("kind"), fields.get("shape"), fields.text("data")
    if kind not in _KINDS or not isinstance(shape, list) or not all(type(one) is int and one >= 0 for one in shape):
        raise fields.refuse("shape", "and kind are those of no array")
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise fields.refuse("data", "is not base64") from error
    if len(content) != math.prod(shape) * np.dtype(kind).itemsize:
        raise fields.refuse("data", "has another size than its shape says")
    array: NDArray[Any] = np.frombuffer(content, dtype=kind).reshape(shape).astype(np.dtype(kind).newbyteorder("="))
    if not np.isfinite(array).all():
        raise fields.refuse("data", "holds NaN or infinite numbers")
    return array
