"""From the name of a storage policy to the policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audiotag.continual.policy import StoragePolicy
from audiotag.errors import OptionError, PluginError, UnknownNameError, suggest
from audiotag.host.host import get_host


def storage_policies() -> list[str]:
    """Names of the storage policies that the installed plugins bring."""
    return [name for name, spec in get_host().sampling_policies.items() if spec.role == "storage"]


def check_policy_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that are no settings of a policy, but what every policy is made with.

    Raises:
        OptionError: One is.
    """
    for option in ("capacity", "num_classes", "seed", "generator", "name"):
        if option in options:
            raise OptionError(
                f"{option!r} is no setting of a policy", where=name, fix="Give it as an option of its own."
            )


def create_policy(name: str, capacity: int, num_classes: int, *, seed: int = 0, **options: Any) -> StoragePolicy:
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
    check_policy_options(name, options)
    spec = get_host().sampling_policy(name)
    if spec.role != "storage":
        known = storage_policies()
        raise UnknownNameError(
            f"the sampling policy {name!r} chooses clips for training, not for a store",
            fix=suggest(name, known) or f"The storage policies are: {', '.join(known)}.",
        )
    factory = get_host().resolve(spec)
    try:
        policy = factory(capacity, num_classes, seed=seed, **options)
    except (TypeError, ValueError, OverflowError) as error:
        raise OptionError(f"the policy cannot be made with {options}: {error}", where=name) from error
    if not isinstance(policy, StoragePolicy):
        raise PluginError(f"{spec.factory!r} gave a {type(policy).__name__}, not a StoragePolicy", where=name)
    return policy
