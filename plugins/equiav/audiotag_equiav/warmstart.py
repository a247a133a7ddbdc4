"""Starting from other weights: MAE or pre-trained EquiAV, into a network for classes or for pre-training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from audiotag.plugin import LoadReport, load_published
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
    return load_published(network, source, head="replace")
