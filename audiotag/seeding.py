"""Random numbers from explicit seeds, without leaving a trace in the global state."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derived_seed(*parts: int | str) -> int:
    """A seed in [0, 2**63) from any number of *parts* (a run's seed, "mixup", epoch, step).

    Distinct parts give independent streams.
    """
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def torch_generator(*parts: int | str) -> torch.Generator:
    """A CPU generator of torch seeded from *parts*."""
    import torch

    return torch.Generator().manual_seed(derived_seed(*parts))


def numpy_generator(*parts: int | str) -> np.random.Generator:
    """A numpy generator seeded from *parts*."""
    return np.random.default_rng(derived_seed(*parts))


@contextmanager
def scoped_torch_rng(*parts: int | str, devices: list[torch.device] | None = None) -> Iterator[None]:
    """Run a block whose code draws from torch's global generator (initialisation, dropout) from an own seed.

    The global state is put back afterwards, so nothing outside notices.

    Args:
        parts: What the seed is derived from.
        devices: CUDA devices whose generators the block uses too.
    """
    import torch

    cuda = [device for device in devices or [] if device.type == "cuda"]
    with torch.random.fork_rng(devices=cuda):
        state = torch_generator(*parts).get_state()
        torch.set_rng_state(state)
        for device in cuda:
            torch.cuda.set_rng_state(torch.Generator(device).manual_seed(derived_seed(*parts)).get_state(), device)
        yield
