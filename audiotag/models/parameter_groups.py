"""Which parameters learn alike."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

from torch import nn

from audiotag.display import brief_repr


@brief_repr
@dataclass(frozen=True, eq=False)
class ParameterGroup:
    """Parameters that learn at one rate and are decayed alike.

    Attributes:
        name: What they are, unique among the groups of a network.
        parameters: The parameters.
        in_head: Whether they are the head's, whose rate is that of the run times its ``head_lr_ratio``.
        lr_scale: Factor on the rate, above 0; below 1 for layers near the input in layer-wise decay.
        decayed: Whether weight decay applies.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    in_head: bool = False
    lr_scale: float = 1.0
    decayed: bool = True

    def __post_init__(self) -> None:
        if not self.lr_scale > 0:
            raise ValueError(f"the group {self.name!r} has the scale {self.lr_scale}, which must be above 0")


def group_parameters(
    network: nn.Module,
    head: Iterable[nn.Parameter],
    *,
    lr_scale: Callable[[str], float] | None = None,
    not_decayed: Container[str] = (),
) -> list[ParameterGroup]:
    """The parameters of *network* in as few groups as its rules need: body before head, fast before slow.

    Args:
        network: The network.
        head: Parameters of its head.
        lr_scale: Name of a parameter → factor on the rate; None for 1 everywhere.
        not_decayed: Names of parameters that weight decay spares beside biases and scales.
    """
    inside = {id(parameter) for parameter in head}
    groups: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        scale = 1.0 if lr_scale is None else lr_scale(name)
        key = (id(parameter) in inside, scale, parameter.ndim > 1 and name not in not_decayed)
        groups.setdefault(key, []).append(parameter)
    return [
        ParameterGroup(_name(*key), tuple(groups[key]), in_head=key[0], lr_scale=key[1], decayed=key[2])
        for key in sorted(groups, key=lambda key: (key[0], -key[1], key[2]))
    ]


def _name(in_head: bool, lr_scale: float, decayed: bool) -> str:
    scaled = "" if lr_scale == 1.0 else f" × {lr_scale:.6g}"
    return f"{'head' if in_head else 'body'}{scaled}{'' if decayed else ', not decayed'}"
