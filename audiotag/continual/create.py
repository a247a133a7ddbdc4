"""From the name of a storage policy to the policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from audiotag.continual.policy import StoragePolicy
from audiotag.errors import UnknownNameError, suggest
from audiotag.host import get_host
from audiotag.host.options import check_options
from audiotag.specs import SamplingPolicySpec


def storage_policies() -> list[str]:
    """Names of the storage policies that the installed plugins bring."""
    return [name for name, spec in get_host().sampling_policies.items() if spec.role == "storage"]


def create_policy(
    name: str, capacity: int, num_classes: int, *, seed: int | np.random.Generator = 0, **options: Any
) -> StoragePolicy:
    """A fresh policy by the name it is registered under.

    Args:
        name: Name of a sampling policy with the role ``"storage"``.
        capacity: See `StoragePolicy`.
        num_classes: See `StoragePolicy`.
        seed: See `StoragePolicy`.
        options: Settings of the policy (``replace_prob``, ``rho``).

    Raises:
        UnknownNameError: There is no such storage policy.
        OptionError: An option is unknown to the policy or out of range.
        PluginError: The plugin behind it is broken.
    """
    return build_policy(name, capacity, num_classes, options, seed=seed)


def build_policy(
    name: str, capacity: int, num_classes: int, options: Mapping[str, Any], *, seed: int | np.random.Generator = 0
) -> StoragePolicy:
    """`create_policy` with the options that somebody has typed or a file holds, which may have any name."""
    spec = _storage_policy(name)
    check_policy_options(name, options)
    host = get_host()
    policy = host.make(spec, capacity, num_classes, seed=seed, **options)
    if not isinstance(policy, StoragePolicy):
        raise host.not_a("StoragePolicy", spec, policy)
    policy.guard = host.computing(spec, f"deciding as {name!r}")
    return policy


def check_policy_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that a storage policy does not take.

    Raises:
        UnknownNameError: There is no such storage policy.
        OptionError: There is no such option, or its value has another type.
    """
    spec = _storage_policy(name)
    check_options(spec, get_host().resolve(spec), options, given=("capacity", "num_classes", "seed"))


def _storage_policy(name: str) -> SamplingPolicySpec:
    spec = get_host().sampling_policy(name)
    if spec.role != "storage":
        known = storage_policies()
        raise UnknownNameError(
            f"the sampling policy {name!r} chooses clips for training, not for a store",
            fix=suggest(name, known) or f"The storage policies are: {', '.join(known)}.",
        )
    return spec
