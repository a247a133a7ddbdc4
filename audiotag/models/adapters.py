"""Low-rank adapters of linear layers (LoRA: Hu et al., ICLR 2022, arXiv 2106.09685).

A layer W x + b becomes W x + b + (α / r) B A x, where A (r, inputs) begins at random and B (outputs, r) at zero
(section 4.1). W and b stay as they are. Merged, W + (α / r) B A, the network costs no more than before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from audiotag.documents import Fields
from audiotag.errors import OptionError
from audiotag.models.backbone import Backbone
from audiotag.seeding import scoped_torch_rng


@dataclass(frozen=True, kw_only=True)
class Adapters:
    """What a checkpoint says of adapters, beside which it holds no more than the head.

    Attributes:
        rank: Inner size r.
        alpha: Scale α of what they add, divided by the rank.
        base: Where the rest of the network is: ``"published"``, the weights that the registry has of the model, or
            ``"file"``, one that the run keeps (`BASE_FILE`).
        digest: Hash of that rest (`audiotag.models.fingerprints.state_digest`).
    """

    rank: int
    alpha: float
    base: Literal["published", "file"]
    digest: str

    @classmethod
    def read(cls, fields: Fields) -> Adapters:
        """From the facts of a checkpoint.

        Raises:
            AudiotagError: As *fields* raises.
        """
        base = fields.text("base")
        if base not in ("published", "file"):
            raise fields.refuse("base", "must be published or file")
        rank, alpha = fields.integer("rank", least=1), fields.number("alpha")
        if alpha <= 0:
            raise fields.refuse("alpha", "must be above 0")
        return cls(rank=rank, alpha=alpha, base="file" if base == "file" else "published", digest=fields.text("digest"))

    def __str__(self) -> str:
        return f"rank {self.rank}, alpha {self.alpha:g}"


class LowRankLinear(nn.Linear):
    """A linear layer that stays as it is, with an adapter.

    Args:
        linear: The layer, whose parameters it shares.
        rank: Inner size of the adapter.
        alpha: Its scale, divided by *rank*.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        nn.Module.__init__(self)  # nn.Linear's own would make parameters that are thrown away
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.scale = alpha / rank
        self.adapter_down = nn.Parameter(linear.weight.new_empty(rank, self.in_features))
        self.adapter_up = nn.Parameter(linear.weight.new_zeros(self.out_features, rank))
        nn.init.kaiming_uniform_(self.adapter_down, a=math.sqrt(5))
        self.train(linear.training)

    def forward(self, given: Tensor) -> Tensor:
        """(…, inputs) → (…, outputs)."""
        low = functional.linear(given, self.adapter_down)
        return super().forward(given) + self.scale * functional.linear(low, self.adapter_up)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One linear layer that computes the same up to rounding."""
        plain = nn.Linear(self.in_features, self.out_features, self.bias is not None)
        added = self.scale * (self.adapter_up.double() @ self.adapter_down.double())
        plain.weight = nn.Parameter((self.weight.double() + added).to(self.weight.dtype))
        plain.bias = self.bias
        return plain.train(self.training)


def linear_layers(network: nn.Module, *inside: str) -> tuple[str, ...]:
    """Names of the linear layers within the modules named *inside*, for `Backbone.adapter_layers`.

    Args:
        network: The network.
        inside: Dotted names of its modules (``"blocks"``).
    """
    return tuple(
        f"{name}.{inner}"
        for name in inside
        for inner, module in network.get_submodule(name).named_modules()
        if isinstance(module, nn.Linear)
    )


def add_adapters(backbone: Backbone, rank: int, alpha: float, *, seed: int = 0) -> None:
    """Give each of the network's `adapter_layers` an adapter, and let nothing learn but these and the head.

    Args:
        backbone: Changed in place; its scores stay as they were.
        rank: Inner size of the adapters, at least 1.
        alpha: Their scale, divided by *rank*.
        seed: Seed of their parameters.

    Raises:
        OptionError: The network names no layers that take them.
    """
    layers = {name: backbone.get_submodule(name) for name in backbone.adapter_layers}
    if not layers:
        raise OptionError(
            "the network names no layers for low-rank adapters, which are for transformers",
            where=type(backbone).__name__,
            fix="Train the head alone (--freeze-backbone) or the whole network; CED and EquiAV take adapters.",
        )
    backbone.requires_grad_(False)
    with scoped_torch_rng(seed, "adapters"):
        for name, linear in layers.items():
            assert isinstance(linear, nn.Linear)  # `audiotag plugins check` looks
            if rank > (most := min(linear.weight.shape)):
                raise OptionError(
                    f"adapters of rank {rank} are larger than what they are for ({name} has rank {most})",
                    where="adapter",
                    fix="Give a smaller rank; 4 to 16 are usual.",
                )
            backbone.set_submodule(name, LowRankLinear(linear, rank, alpha))
    for parameter in backbone.head_parameters():
        parameter.requires_grad_(True)


def merge_adapters(backbone: Backbone) -> None:
    """Put plain layers that compute the same into the places of those with adapters."""
    for name in [name for name, module in backbone.named_modules() if isinstance(module, LowRankLinear)]:
        layer = backbone.get_submodule(name)
        assert isinstance(layer, LowRankLinear)
        backbone.set_submodule(name, layer.merged())


def learned_keys(backbone: Backbone) -> set[str]:
    """Entries of the state dict of a network with adapters that a run changes: theirs and the head's."""
    ends = (".adapter_down", ".adapter_up")
    return {key for key in backbone.state_dict() if key.endswith(ends)} | {*backbone.head_keys()}


def hold_statistics(backbone: Backbone) -> None:
    """Leave the statistics of batch norms before the head as they are; the rest stays in training mode."""
    for module in backbone.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
