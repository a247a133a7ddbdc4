"""Folders of unknown origin: whatever is wrong with one is an error of ours, before the network is opened."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from safetensors.numpy import load_file, save_file

import audiotag
from audiotag.engines.exported import file_sha256, read_exported
from audiotag.engines.network_file import check_network_file
from audiotag.engines.onnx_engine import OnnxEngine
from audiotag.errors import AudiotagError, CheckpointError


def change(folder: Path, path: str, value: Any) -> None:
    """Set an entry of the facts: ``change(folder, "lengths.clip", -1)``."""
    facts = json.loads((folder / "audiotag.json").read_text())
    *parents, last = path.split(".")
    inner = facts
    for name in parents:
        inner = inner[name]
    inner[last] = value
    (folder / "audiotag.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format_version", 2),
        ("format_version", "1"),
        ("precision", "fp8"),
        ("name", None),
        ("inputs", []),
        ("inputs", ["video"]),
        ("inputs", ["waveform", "video"]),
        ("inputs", ["waveform", "waveform"]),
        ("video_shape", [3, 8, 8]),
        ("network.outputs", ["logits"]),
        ("network.outputs", ["logits", "embedding", "code"]),
        ("network.sha256", "0" * 64),
        ("lengths.clip", -1.0),
        ("lengths.clip", float("nan")),
        ("lengths.longest", 1e9),
        ("lengths.window_mean", "scores"),
        ("lengths.shortest", 1e9),
        ("lengths.sample_rate", 16_000),
        ("embedding_dim", 0),
        ("frame_rate", 0),
        ("labels", []),
        ("labels", [{"mid": "a", "name": "a"}] * 3),
        ("thresholds", [0.5, 0.5]),
        ("thresholds", [0.5, 0.5, 2.0]),
        ("front_end", None),
        ("front_end.hop", 0),
        ("front_end.hop", 1),
        ("front_end.n_fft", 4),
        ("front_end.shift", 1.5),
        ("front_end.pad_samples", 1 << 40),
        ("front_end.digest", ""),
        ("source", "mn"),
        ("metadata", []),
    ],
)
def test_wrong_facts_are_refused(folder: Path, path: str, value: Any) -> None:
    change(folder, path, value)
    with pytest.raises(CheckpointError):
        read_exported(folder)
    with pytest.raises(AudiotagError):
        audiotag.load(folder)


def test_a_network_that_gives_other_outputs_than_the_folder_says_is_refused(folder: Path) -> None:
    change(folder, "network.outputs", ["logits", "embedding", "frames", "frame_logits"])
    node = helper.make_node("Identity", ["spectrogram"], ["logits"])
    given = helper.make_tensor_value_info("spectrogram", TensorProto.FLOAT, ["a", "b", "c"])
    made = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["a", "b", "c"])
    _put(folder, helper.make_model(helper.make_graph([node], "g", [given], [made])))
    with pytest.raises(CheckpointError, match="not what the folder says"):
        audiotag.load(folder).logits(np.zeros(8000, np.float32), 8000)


@pytest.mark.parametrize("content", [b"", b"no network", b"\x80\x05cos\nsystem\n(S'true'\ntR.", b"\x08" + b"\xff" * 40])
def test_what_is_no_network_is_refused(folder: Path, content: bytes) -> None:
    (folder / "network.onnx").write_bytes(content)
    change(folder, "network.sha256", file_sha256(folder / "network.onnx"))
    with pytest.raises(CheckpointError):
        OnnxEngine(folder).forward(np.zeros((1, 8000), np.float32))


def test_a_cut_or_changed_file_is_refused(folder: Path) -> None:
    for name in ("network.onnx", "front_end.safetensors", "audiotag.json"):
        whole = (folder / name).read_bytes()
        for content in (whole[: len(whole) // 2], b""):
            (folder / name).write_bytes(content)
            with pytest.raises(CheckpointError):
                read_exported(folder)
        (folder / name).unlink()
        with pytest.raises(AudiotagError):
            audiotag.load(folder)
        (folder / name).write_bytes(whole)
    read_exported(folder)


def _arrays(**changed: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda arrays: {**arrays, **{name: change(arrays[name]) for name, change in changed.items()}}


@pytest.mark.parametrize(
    "alter",
    [
        _arrays(window=lambda window: window * 0.5),
        _arrays(window=lambda window: window.astype(np.float64)),
        _arrays(window=lambda window: np.full_like(window, np.nan)),
        _arrays(filters=lambda filters: filters[:, :-1]),
        _arrays(filters=lambda filters: filters[0]),
        lambda arrays: {"window": arrays["window"]},
        lambda arrays: {**arrays, "more": arrays["window"]},
    ],
)
def test_another_front_end_is_refused(folder: Path, alter: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path = folder / "front_end.safetensors"
    altered = {name: np.ascontiguousarray(array) for name, array in alter(load_file(path)).items()}
    save_file(altered, path)
    with pytest.raises(CheckpointError):
        read_exported(folder)


def _put(folder: Path, model: onnx.ModelProto) -> None:
    (folder / "network.onnx").write_bytes(model.SerializeToString())
    change(folder, "network.sha256", file_sha256(folder / "network.onnx"))


def _outside(tensor: TensorProto) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")


def _first_initializer(model: onnx.ModelProto) -> None:
    _outside(model.graph.initializer[0])


def _constant_in_a_branch(model: onnx.ModelProto) -> None:
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], [0.0])
    _outside(tensor)
    branch = helper.make_graph([helper.make_node("Constant", [], ["t"], value=tensor)], "branch", [], [])
    model.graph.node.append(helper.make_node("If", ["condition"], ["result"], then_branch=branch, else_branch=branch))


def _in_a_sparse_tensor(model: onnx.ModelProto) -> None:
    sparse = model.graph.sparse_initializer.add()
    _outside(sparse.values)


def _in_a_function(model: onnx.ModelProto) -> None:
    function = model.functions.add(name="f", domain="")
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], [0.0])
    _outside(tensor)
    function.node.append(helper.make_node("Constant", [], ["t"], value=tensor))


def _foreign_operator(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("RunThis", ["spectrogram"], ["x"], domain="com.example"))


@pytest.mark.parametrize(
    "alter", [_first_initializer, _constant_in_a_branch, _in_a_sparse_tensor, _in_a_function, _foreign_operator]
)
def test_a_network_that_refers_elsewhere_is_refused(folder: Path, alter: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(folder / "network.onnx")
    alter(model)
    _put(folder, model)
    with pytest.raises(CheckpointError, match="not opened"):
        audiotag.load(folder)


def test_a_network_nested_without_end_is_refused(tmp_path: Path) -> None:
    content = b""
    for _ in range(200):  # a graph in an attribute of a node of a graph …
        for field in (0x32, 0x2A, 0x0A):  # attribute.g, node.attribute, graph.node
            size, length = len(content), []
            while size > 0x7F:
                length.append(0x80 | size & 0x7F)
                size >>= 7
            content = bytes([field, *length, size]) + content
    path = tmp_path / "network.onnx"
    size, length = len(content), []
    while size > 0x7F:
        length.append(0x80 | size & 0x7F)
        size >>= 7
    path.write_bytes(bytes([0x3A, *length, size]) + content)
    with pytest.raises(CheckpointError, match="not an ONNX network"):
        check_network_file(path)


_numbers = st.one_of(st.integers(-3, 3), st.integers(), st.sampled_from([1 << 62, 10**400, 1e308]), st.floats())
_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), _numbers, st.text(max_size=8), st.sampled_from(["../../secret", "/etc/passwd"])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_the_facts_say_the_folder_is_read_or_refused(folder: Path, data: st.DataObject) -> None:
    facts = inner = json.loads(_FACTS.setdefault(str(folder), (folder / "audiotag.json").read_text()))
    key = data.draw(st.sampled_from(sorted(inner)))
    while inner[key] and isinstance(inner[key], dict | list) and data.draw(st.booleans()):
        inner = inner[key]
        key = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
    if data.draw(st.booleans()):
        inner[key] = data.draw(_values)
    else:
        del inner[key]
    (folder / "audiotag.json").write_text(json.dumps(facts))
    try:
        exported = read_exported(folder)
    except AudiotagError as error:
        assert str(folder) in str(error.where) and error.fix
    else:
        assert exported.network == folder / "network.onnx"


_FACTS: dict[str, str] = {}
"""Folder → what it said at first."""


@pytest.mark.parametrize(
    "header",
    [
        {"window": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}},
        {"window": {"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 0]}},
        {"window": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"window": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"window": {"dtype": "code", "shape": [1], "data_offsets": [0, 4]}},
        ["window"],
    ],
)
def test_arrays_larger_than_their_file_are_refused(folder: Path, header: Any) -> None:
    text = json.dumps(header).encode()
    for length in (len(text), 1 << 40):
        (folder / "front_end.safetensors").write_bytes(length.to_bytes(8, "little") + text + bytes(4))
        with pytest.raises(CheckpointError, match="arrays cannot be read"):
            read_exported(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["audiotag.json", "front_end.safetensors", "network.onnx"])
def test_a_pipe_or_a_device_in_the_place_of_a_file_is_refused(folder: Path, name: str) -> None:
    """Whoever opened the pipe would wait for ever; the device has no end."""
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        (folder / name).unlink()
        make(folder / name)
        with pytest.raises(AudiotagError):
            audiotag.load(folder)
        with pytest.raises(CheckpointError):
            read_exported(folder)
