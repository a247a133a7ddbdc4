"""Which published file a state dict comes from, and what a network can take from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from audiotag.plugin import CheckpointError
from audiotag_equiav.branches import SOUND, TRAINED_GRID, Branches
from audiotag_equiav.positions import fit_table

_BRANCH_PARTS = ("patch_embed", "blocks", "norm")


def is_mae(state: Mapping[str, Tensor]) -> bool:
    """Whether *state* is a plain vision transformer, such as MAE's encoder: one branch without a name."""
    return "patch_embed.proj.weight" in state and "patch_embed_a.proj.weight" not in state


def is_pretrained(state: Mapping[str, Tensor]) -> bool:
    """Whether *state* comes from EquiAV's pre-training: it has transformation encoders and no head."""
    has_head = any(key.startswith("mlp_head.") for key in state)
    return not has_head and any(key.startswith(("aug_encoder_", "cross_attn_")) for key in state)


def published_entries(network: Branches, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of *state* under the names of *network*.

    - MAE: the first component of a name takes the suffix of each branch; patch weights of one channel are repeated
      over the network's three. The position table is left out: it has a place for the class token and the grid of a
      picture.
    - EquiAV: position tables of another number of frames are fitted.

    Entries without a place stay under their own names.

    Raises:
        CheckpointError: A position table is not of the trained grid.
    """
    entries = _from_mae(network, state) if is_mae(state) else dict(state)
    own = network.state_dict()
    key = f"pos_embed_{SOUND}"
    if key in own and key in entries and entries[key].shape != own[key].shape:
        entries[key] = _fitted(entries[key], network)
    return entries


def _from_mae(network: Branches, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    own = network.state_dict()
    entries: dict[str, Tensor] = {}
    for key, value in state.items():
        first, dot, rest = key.partition(".")
        names = [f"{first}_{modality}{dot}{rest}" for modality in network.modalities]
        if first not in _BRANCH_PARTS or not any(name in own for name in names):
            entries[key] = value
            continue
        for name in names:
            channels = own[name].shape[1] if first == "patch_embed" and value.ndim == 4 else None
            if channels is not None and value.shape[1] == 1:
                entries[name] = value.expand(-1, channels, -1, -1).contiguous()
            else:
                entries[name] = value
    return entries


def _fitted(table: Tensor, network: Branches) -> Tensor:
    rows, columns = TRAINED_GRID
    if table.ndim != 3 or table.shape[1] % rows or table.shape[2] != network.config.width:
        raise CheckpointError(
            f"the entry pos_embed_{SOUND} has the shape {tuple(table.shape)}, and (1, {rows} · columns, "
            f"{network.config.width}) can be fitted",
            fix="It is a checkpoint of another width.",
        )
    columns = table.shape[1] // rows
    return fit_table(table.to(torch.float32), (rows, columns), network.config.grid(SOUND))


def fresh_keys(network: Branches, state: Mapping[str, Tensor], one_layer: Collection[str]) -> frozenset[str]:
    """Entries of *network* that a file of this kind never holds, so that they start anew.

    - Fine-tuned: none.
    - Pre-trained: the head, and one-layer projections (pre-training has three layers).
    - MAE: everything beside patches, blocks and norms.

    Args:
        network: The network to be filled.
        state: The entries under the network's names, as `published_entries` gives them.
        one_layer: Modalities whose projection has one layer.
    """
    own = network.state_dict()
    if is_mae_entries(state):
        kept = tuple(f"{part}_{modality}." for part in _BRANCH_PARTS for modality in network.modalities)
        return frozenset(key for key in own if not key.startswith(kept))
    if is_pretrained(state):
        begin = ("mlp_head.", *(f"pred_{modality}_inter." for modality in one_layer))
        return frozenset(key for key in own if key.startswith(begin))
    return frozenset()


def is_mae_entries(entries: Mapping[str, Tensor]) -> bool:
    """Whether *entries*, as `published_entries` gives them, come from MAE's encoder."""
    # Its class token and its one position table have no place here and keep their names.
    return "cls_token" in entries or ("pos_embed" in entries and "mlp_head.0.weight" not in entries)
