"""Starting from other weights: MAE or pre-trained EquiAV, into a network for classes or for pre-training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from audiotag.plugin import PREFIXES, CheckpointError, LoadReport, load_published, read_state
from audiotag_equiav.backbone import EquiAV
from audiotag_equiav.pretraining_network import PretrainingNetwork


def warm_start(network: EquiAV | PretrainingNetwork, source: Mapping[str, Tensor] | str | Path) -> LoadReport:
    """Fill *network* with what a published file holds; what files of that kind never hold starts anew.

    - MAE ViT-B into either network: patches, blocks and norms of each branch.
    - EquiAV pre-trained into `EquiAV`: branches, and three-layer projections where the network has such. The head
      starts anew.
    - EquiAV fine-tuned into `EquiAV`: everything; a head of another class count starts anew.
    - EquiAV pre-trained into `PretrainingNetwork`: everything.

    Args:
        network: The network; its device and training mode stay.
        source: A file, or a state dict, with or without the prefixes that scripts leave (``module.``, ``__M__.``).

    Returns:
        What was taken (`loaded`), made anew (`fresh`, `replaced`), and left over (`ignored`, `unused`).

    Raises:
        CheckpointError: The file cannot be read, or lacks something that files of its kind hold.
    """
    if isinstance(network, EquiAV):
        return load_published(network, source, head="replace")
    return _fill(network, source)


def _fill(network: PretrainingNetwork, source: Mapping[str, Tensor] | str | Path) -> LoadReport:
    name = "state dict" if isinstance(source, Mapping) else str(source)
    state = dict(source) if isinstance(source, Mapping) else read_state(source)
    prefixes = []
    while prefix := next((one for one in PREFIXES if all(key.startswith(one) for key in state)), None):
        prefixes.append(prefix)
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    entries = network.convert_published(state)
    own = network.state_dict()
    fresh = frozenset(network.fresh_keys(entries))
    missing = [key for key in own if key not in entries and key not in fresh]
    misshapen = [
        f"{key} is {tuple(entries[key].shape)} there and {tuple(own[key].shape)} here"
        for key in own
        if key in entries and key not in fresh and entries[key].shape != own[key].shape
    ]
    if missing or misshapen:
        raise CheckpointError(
            f"the file does not fit the pre-training network: {len(missing)} entries are missing "
            f"({', '.join(missing[:5]) or 'none'}), {len(misshapen)} have another shape "
            f"({'; '.join(misshapen[:5]) or 'none'})",
            where=name,
            fix="Give a MAE ViT-B or EquiAV pre-training checkpoint, and the options it was made with.",
        )
    chosen = {key: entries[key] for key in own if key not in fresh}
    broken = [key for key, value in chosen.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise CheckpointError(f"entries hold values that are not finite: {', '.join(broken[:5])}", where=name)
    network.load_state_dict(chosen, strict=False)
    spare = [key for key in entries if key not in own]
    ignored = tuple(key for key in spare if key.startswith(network.unused_norms()))
    return LoadReport(
        source=name,
        loaded=tuple(chosen),
        converted=tuple(key for key in chosen if state.get(key) is not entries[key]),
        fresh=tuple(key for key in own if key in fresh),
        ignored=ignored,
        unused=tuple(key for key in spare if key not in ignored),
        prefixes=tuple(prefixes),
    )
