"""What a network file (ONNX) refers to, read without the package onnx: whether it is safe to open.

ONNX is a protocol-buffer message. This walks over its graphs and tensors and skips the numbers. A tensor may say that
its numbers lie in another file, which a stranger may choose; exported networks never do. And operators outside ONNX's
own sets need code that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from audiotag.errors import CheckpointError

LARGEST = 1 << 31
"""Bytes of a network file: a protocol buffer cannot be larger."""

_DOMAINS = {b"", b"ai.onnx", b"com.microsoft"}
_DEPTH = 32

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Message → number of a field → message in it. Where a message is looked into, its fields are checked by `_refuse`.
_PARTS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_NODE_DOMAIN = 7


def check_network_file(path: Path) -> None:
    """Refuse a network file that refers to other files or needs operators of others.

    Raises:
        CheckpointError: It does, is no ONNX file, or cannot be read.
    """
    try:
        size = path.stat().st_size
        if not 0 < size < LARGEST:
            raise CheckpointError(f"the size of the network file is out of range ({size} bytes)", where=path, fix=_FIX)
        content = np.memmap(path, dtype=np.uint8, mode="r").data
    except OSError as error:
        raise CheckpointError(f"the network cannot be read: {error.strerror or error}", where=path, fix=_FIX) from error
    try:
        reason = _refusal(content, "model", 0)
    except (IndexError, ValueError) as error:
        raise CheckpointError("the file is not an ONNX network", where=path, fix=_FIX) from error
    if reason is not None:
        raise CheckpointError(
            f"the network {reason}, so it is not opened", where=path, fix="Export the model again, or do not trust it."
        )


_FIX = "Copy the folder again, or export the model again."


def _refusal(message: memoryview, kind: str, depth: int) -> str | None:
    """Why *message* is not to be opened, None where it may be."""
    if depth > _DEPTH:
        raise ValueError("nested too deeply")
    for number, value in _fields(message):
        if kind == "tensor" and number in (_EXTERNAL_DATA, _DATA_LOCATION):
            if number == _EXTERNAL_DATA or value != 0:
                return "has numbers in another file"
        elif kind == "node" and number == _NODE_DOMAIN and isinstance(value, memoryview):
            if bytes(value) not in _DOMAINS:
                return f"has operators of {bytes(value)[:60]!r}"
        elif (inner := _PARTS[kind].get(number)) is not None:
            if not isinstance(value, memoryview):
                raise ValueError("no message")
            if (reason := _refusal(value, inner, depth + 1)) is not None:
                return reason
    return None


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field: an integer, or the bytes of what has a length; other numbers as None-like 0."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, place = _varint(message, place)
            yield number, value
        elif wire == _BYTES:
            length, place = _varint(message, place)
            if length > len(message) - place:
                raise ValueError("cut off")
            yield number, message[place : place + length]
            place += length
        elif wire in (_FIXED32, _FIXED64):
            place += 4 if wire == _FIXED32 else 8
        else:
            raise ValueError("no protocol buffer")
    if place != len(message):
        raise ValueError("cut off")


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("no number")
