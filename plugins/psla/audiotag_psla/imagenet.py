"""Starting from ImageNet: timm's EfficientNet weights under PSLA's names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from audiotag.plugin import Backbone, CheckpointError, LoadReport, load_published

_TOP = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
_SQUEEZE = {"se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand"}
_BLOCK = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
    **_SQUEEZE,
}
# Blocks of the first stage have no expansion, and timm counts their layers from the depthwise one.
_FIRST_STAGE = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2", **_SQUEEZE}


def is_timm(state: Mapping[str, Tensor]) -> bool:
    """Whether *state* has the key names of timm's EfficientNet."""
    return "conv_stem.weight" in state and "blocks.0.0.conv_dw.weight" in state


def from_timm(state: Mapping[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """Entries of timm under PSLA's names.

    A stem for three colours is summed over them, which is what it gives for a grey picture. The classifier is kept
    under the name that PSLA's files have for it, and so is not needed.

    Args:
        state: timm's entries.
        blocks: Number of blocks of the network they are for.

    Raises:
        CheckpointError: The file has another number of blocks: it is of another size of EfficientNet.
    """
    stages: dict[int, set[int]] = {}
    for key in state:
        if key.startswith("blocks."):
            _, stage, block, _ = key.split(".", 3)
            stages.setdefault(int(stage), set()).add(int(block))
    places = [(stage, block) for stage in sorted(stages) for block in sorted(stages[stage])]
    if len(places) != blocks:
        raise CheckpointError(
            f"the file is of an EfficientNet with {len(places)} blocks, and this one has {blocks}",
            fix="Give the option variant=b0 … b7 that the file is of.",
        )
    numbers = {place: number for number, place in enumerate(places)}
    renamed = {}
    for key, value in state.items():
        layer, _, entry = key.rpartition(".")
        if layer == "classifier":
            name = "_fc"
        elif layer in _TOP:
            name = _TOP[layer]
        elif layer.startswith("blocks."):
            _, stage, block, inner = layer.split(".", 3)
            known = _FIRST_STAGE if stage == "0" else _BLOCK
            name = f"_blocks.{numbers[int(stage), int(block)]}.{known.get(inner, inner)}"
        else:
            name = layer
        if key == "conv_stem.weight" and value.shape[1] == 3:
            value = value.sum(1, keepdim=True)
        renamed[f"effnet.{name}.{entry}"] = value
    return renamed


def warm_start(network: Backbone, source: Mapping[str, Tensor] | str | Path) -> LoadReport:
    """Fill *network* from ImageNet weights of timm, or from a PSLA file of any class count.

    Args:
        network: The network; its device and training mode stay.
        source: A file, or a state dict (such as ``timm.create_model("tf_efficientnet_b2").state_dict()``). The
            ``tf_`` weights are those that PSLA started from; others have another padding and other batch norms.

    Returns:
        What was loaded, converted, and what starts fresh.

    Raises:
        CheckpointError: The weights are of another variant, or the file cannot be read.
    """
    return load_published(network, source, head="replace")
