"""A backbone as an ONNX file, checked against torch before anybody sees it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audiotag.engines.exported import EMBEDDING, FRAME_LOGITS, FRAMES, INPUTS, LOGITS, PICTURE
from audiotag.engines.interface import Floats
from audiotag.engines.runtime import open_session
from audiotag.engines.threads import usable_threads
from audiotag.errors import AudiotagError, OptionError, needed_for
from audiotag.models.backbone import Backbone
from audiotag.seeding import torch_generator

OPSET = 18
TOLERANCE = 1e-3
"""Largest difference of an output, relative to its largest number, with which an export counts as right."""


class _Outputs(nn.Module):
    """What the network file computes: all outputs at once from the inputs by position."""

    def __init__(self, backbone: Backbone, outputs: Sequence[str]) -> None:
        super().__init__()
        self.backbone = backbone
        self.outputs = tuple(outputs)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(self.backbone.inputs, given, strict=True))
        backbone = self.backbone
        features = backbone.forward_spectrogram(named.get("waveform"), named.get("video"))
        made = {
            LOGITS: lambda: backbone.forward_head(backbone.head_input(features)),
            EMBEDDING: lambda: backbone.pool(features),
            FRAMES: lambda: backbone.frames(features),
            FRAME_LOGITS: lambda: backbone.frame_logits(features),
        }
        return tuple(made[name]() for name in self.outputs)


@dataclass(frozen=True)
class NetworkFile:
    """What was written.

    Attributes:
        outputs: Names of its outputs.
        exporter: ``"traced"`` (TorchScript) or ``"captured"`` (torch.export).
    """

    outputs: tuple[str, ...]
    exporter: str


def write_network(backbone: Backbone, path: Path, samples: Sequence[int]) -> NetworkFile:
    """Write *backbone* as ONNX, and make sure that ONNX Runtime gives what torch gives.

    Tracing takes a second or two and is tried first. It follows the calls of one example, so a network whose Python
    depends on the size of its input comes out wrong; that shows on inputs of other sizes, and capturing the network's
    program, which takes about half a minute, is tried then.

    Args:
        backbone: The network, in eval mode; it is not changed.
        path: The new file.
        samples: Lengths of waveforms that it must be right for; those of one spectrogram length count once.

    Returns:
        What was written.

    Raises:
        OptionError: The network can be written by neither way, or gives other numbers.
    """
    with needed_for("exporting"):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    copy = backbone.exportable()
    outputs = (LOGITS, EMBEDDING, FRAMES, *([FRAME_LOGITS] if backbone.gives_frame_logits else []))
    network = _Outputs(copy, outputs).eval()
    trials = [given for given in _trials(copy, samples) if _takes(network, given)]
    refused: list[str] = []
    for exporter, export in (("traced", _traced), ("captured", _captured)):
        try:
            _quietly(export, network, trials[0], path)
            worst = _largest_difference(network, trials, path)
        except Exception as error:  # exporters fail with errors of every kind, ONNX Runtime with its own
            refused.append(f"{exporter}: {type(error).__name__}, {str(error).strip().partition(chr(10))[0]:.200}")
            continue
        if worst <= TOLERANCE:
            return NetworkFile(outputs, exporter)
        refused.append(f"{exporter}: its numbers differ by {worst:.1g} of the largest")
    raise OptionError(
        f"the network cannot be exported ({'; '.join(refused)})",
        where=type(backbone).__name__,
        fix="Its family can give a copy made of other operations: Backbone.exportable.",
    )


def _takes(network: _Outputs, given: tuple[Tensor, ...]) -> bool:
    """Whether the network takes an input of this size: some are made for one length of clip."""
    try:
        with torch.inference_mode():
            network(*given)
    except AudiotagError:
        return False
    return True


def _trials(backbone: Backbone, samples: Sequence[int]) -> list[tuple[Tensor, ...]]:
    """Inputs of several sizes: the first is the example, a batch of two, since one would be taken for a constant."""
    generator = torch_generator(0, "export")
    trials: dict[Any, tuple[Tensor, ...]] = {}
    for number, length in enumerate(samples):
        batch = 2 if number == 0 else 1 + number % 3
        given = []
        if backbone.front_end is not None:
            with torch.inference_mode():
                sound = 0.1 * torch.randn(batch, length, generator=generator)
                given.append(backbone.front_end(sound).clone())
        if backbone.video_shape is not None:
            given.append(torch.randn(batch, *backbone.video_shape, generator=generator))
        trials.setdefault(tuple(one.shape for one in given), tuple(given))
    return list(trials.values())


def _traced(network: _Outputs, example: tuple[Tensor, ...], path: Path) -> None:
    axes = {name: {0: "batch"} for name in network.outputs}
    axes |= {name: {0: "batch", 1: "frames"} for name in (FRAMES, FRAME_LOGITS) if name in network.outputs}
    axes |= {INPUTS[name]: _free_axes(network, name) for name in network.backbone.inputs}
    torch.onnx.export(
        network,
        example,
        str(path),
        dynamo=False,
        opset_version=OPSET,
        input_names=_input_names(network),
        output_names=list(network.outputs),
        dynamic_axes=axes,
    )


def _captured(network: _Outputs, example: tuple[Tensor, ...], path: Path) -> None:
    dynamic = torch.export.Dim.DYNAMIC
    shapes = tuple(dict.fromkeys(_free_axes(network, name), dynamic) for name in network.backbone.inputs)
    torch.onnx.export(
        network,
        example,
        str(path),
        dynamo=True,
        opset_version=OPSET,
        input_names=_input_names(network),
        output_names=list(network.outputs),
        dynamic_shapes=(shapes,),
        external_data=False,
        verbose=False,
    )


def _input_names(network: _Outputs) -> list[str]:
    return [INPUTS[name] for name in network.backbone.inputs]


def _free_axes(network: _Outputs, name: str) -> dict[int, str]:
    """Axes of an input whose size is free; a spectrogram's length, unless the front end fixes it."""
    if INPUTS[name] == PICTURE or network.backbone.front_end is None:
        return {0: "batch"}
    description = getattr(network.backbone.front_end, "description", None)
    return {0: "batch"} if description is not None and description.frames is not None else {0: "batch", 2: "time"}


def _quietly(export: Any, *arguments: Any) -> None:
    """Call an exporter, which warns of its own future, and prints whole graphs where it fails."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        export(*arguments)


def _largest_difference(network: _Outputs, trials: Sequence[tuple[Tensor, ...]], path: Path) -> float:
    """Of any output of any trial, relative to the output's largest number; infinite where shapes differ."""
    session = open_session(str(path), usable_threads(), silent=True)
    worst = 0.0
    for given in trials:
        with torch.inference_mode():
            wanted = [output.numpy() for output in network(*given)]
        named = dict(zip(_input_names(network), (one.numpy() for one in given), strict=True))
        found: list[Floats] = session.run(list(network.outputs), named)
        for one, other in zip(wanted, found, strict=True):
            if one.shape != other.shape:
                return np.inf
            worst = max(worst, float(np.abs(one - other).max() / max(float(np.abs(one).max()), 1e-6)))
    return worst if np.isfinite(worst) else np.inf
