"""Size and cost of a network: parameters, multiply-accumulates, analytical peak memory.

Nothing is asked of a network beyond `Backbone`: convolutions and matrix products are counted where PyTorch carries
them out, so that layers written with functions (dynamic convolutions, attention) count as well as modules. Two
optional attributes of a block (any module that takes a feature map and returns one) refine its memory:

- ``keeps_input = True``: its input waits for an addition at the end of the block.
- ``sliceable = True``: its inner feature maps can be worked off in slices of channels, so that only a slice of them
  need exist at a time (the memory-efficient inverted residual: Sandler et al., MobileNetV2, CVPR 2018,
  arXiv 1801.04381, section 5.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from audiotag.errors import OptionError
from audiotag.models.backbone import Backbone

ELEMENT_BYTES = 2
"""Activations are taken to have 16 bits each."""

_RUNNING = ("running_mean", "running_var")
SLICES = 8
"""Slices in which the memory-efficient inverted residual works off its inner feature maps."""


@dataclass(frozen=True)
class Complexity:
    """What a network costs for one clip.

    Attributes:
        seconds: Length of the clip.
        parameters: Trainable numbers, head included.
        head_parameters: Those that `Backbone.reset_head` replaces.
        running_statistics: Numbers that batch norms keep beside their parameters (means and variances); some
            authors count them among the parameters.
        macs: Multiply-accumulates of convolutions, linear layers and matrix products; the front end is left out.
        peak_memory: Bytes of the largest sum of a layer's input and output, with whatever input waits for an
            addition meanwhile, at 16 bits a number. Elementwise layers are taken to work in place.
        sliced_peak_memory: The same with the inner feature maps of sliceable blocks in eighths.
    """

    seconds: float
    parameters: int
    head_parameters: int
    running_statistics: int
    macs: int
    peak_memory: int
    sliced_peak_memory: int

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain JSON types."""
        return asdict(self)


def measure_complexity(backbone: Backbone, seconds: float = 10.0) -> Complexity:
    """Count what *backbone* costs for one clip, by running it once on silence in eval mode.

    Args:
        backbone: Any network; it is left as it was.
        seconds: Length of the clip.

    Raises:
        OptionError: *seconds* is not above 0.
    """
    if not seconds > 0:
        raise OptionError(f"a clip of {seconds} seconds cannot be measured", fix="Give a length above 0.")
    count = _Count()
    modes = [(module, module.training) for module in backbone.modules()]
    backbone.eval()
    try:
        _run(backbone, seconds, count)
    finally:
        for module, training in modes:
            module.training = training
    return Complexity(
        seconds=seconds,
        parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        head_parameters=sum({id(one): one.numel() for one in backbone.head_parameters()}.values()),
        running_statistics=sum(buffer.numel() for name, buffer in backbone.named_buffers() if name.endswith(_RUNNING)),
        macs=count.macs,
        peak_memory=count.peak * ELEMENT_BYTES,
        sliced_peak_memory=count.sliced_peak * ELEMENT_BYTES,
    )


def _run(backbone: Backbone, seconds: float, count: _Count) -> None:
    device = next(backbone.parameters()).device
    spectrogram = video = None
    with torch.no_grad():
        if backbone.front_end is not None:
            samples = round(seconds * backbone.sample_rate)
            spectrogram = backbone.front_end(torch.zeros(1, samples, device=device))
        if backbone.video_shape is not None:
            video = torch.zeros(1, *backbone.video_shape, device=device)
        # Attention in one fused operation would hide its matrix products.
        with _watched(backbone, count), sdpa_kernel(SDPBackend.MATH), _without_fused_transformers(), count:
            features = backbone.forward_spectrogram(spectrogram, video)
            backbone.forward_head(backbone.head_input(features))


@contextmanager
def _without_fused_transformers() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _watched(backbone: Backbone, count: _Count) -> ExitStack:
    """Tell *count* when a block that says something about its memory begins and ends."""
    hooks = ExitStack()
    for module in backbone.modules():
        if getattr(module, "keeps_input", False) or getattr(module, "sliceable", False):
            hooks.enter_context(module.register_forward_pre_hook(count.enter))
            hooks.enter_context(module.register_forward_hook(count.leave))
    return hooks


class _Block:
    """A block under way: the input that waits, and what its layers take while in slices."""

    def __init__(self, module: nn.Module, features: Tensor) -> None:
        self.sliceable = bool(getattr(module, "sliceable", False))
        self.keeps_input = bool(getattr(module, "keeps_input", False))
        self.place = features.untyped_storage().data_ptr()
        self.elements = features.numel()
        self.layers: list[tuple[int, int]] = []

    def sliced_elements(self, output: int) -> int:
        """Elements at the block's worst moment, with its inner maps in slices."""
        inner = [
            (0 if index == 0 else taken) + (0 if index == len(self.layers) - 1 else given)
            for index, (taken, given) in enumerate(self.layers)
        ]
        return self.elements + output + max(inner, default=0) // SLICES


class _Count(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch leaves the class untyped
    """Sums up the operations carried out while it is active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0
        self.peak = 0
        self.sliced_peak = 0
        self._blocks: list[_Block] = []

    def enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """A block begins."""
        self._blocks.append(_Block(module, inputs[0]))

    def leave(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        """A block ends."""
        block = self._blocks.pop()
        if block.sliceable:
            self.sliced_peak = max(self.sliced_peak, block.sliced_elements(output.numel()) + self._waiting())

    def _waiting(self, *used: Tensor) -> int:
        """Elements of inputs that wait for an addition, without those that a layer uses anyway."""
        places = {tensor.untyped_storage().data_ptr() for tensor in used}
        waiting = {
            block.place: block.elements for block in self._blocks if block.keeps_input and block.place not in places
        }
        return sum(waiting.values())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Carry out one operation, and count it where it multiplies matrices."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        operations = flop_registry.get(func.overloadpacket)
        if operations is not None:
            self.macs += operations(*args, **kwargs, out_val=output) // 2
            self._remember(_activations(func.overloadpacket, args), output)
        return output

    def _remember(self, inputs: list[Tensor], output: Tensor) -> None:
        taken, given = sum(tensor.numel() for tensor in inputs), output.numel()
        elements = taken + given + self._waiting(*inputs)
        self.peak = max(self.peak, elements)
        slicing = next((block for block in self._blocks if block.sliceable), None)
        if slicing is None:
            self.sliced_peak = max(self.sliced_peak, elements)
        else:
            slicing.layers.append((taken, given))


def _activations(operation: Any, args: tuple[Any, ...]) -> list[Tensor]:
    """The activations among the operands; stored parameters are none, nor is a kernel, computed or not."""
    operands = args[_OPERANDS.get(operation, slice(0, 2))]
    return [one for one in operands if not isinstance(one if one._base is None else one._base, nn.Parameter)]


_OPERANDS = {
    torch.ops.aten.convolution: slice(0, 1),
    torch.ops.aten.addmm: slice(1, 3),
    torch.ops.aten.baddbmm: slice(1, 3),
}
"""Operation of PyTorch → which of its arguments it multiplies, where they are not the first two."""
