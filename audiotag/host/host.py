"""Names → descriptors → implementations."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from audiotag.errors import NameTakenError, PluginError, UnknownNameError, suggest
from audiotag.host.loading import HOOKS, discover, load, strict
from audiotag.host.records import PluginRecord
from audiotag.plugin import BackboneSpec, CommandSpec, DatasetSpec, LossSpec, RecipeSpec, SamplingPolicySpec

_KNOWN_ELSEWHERE = {
    "equiav": "audiotag-equiav",
    "mae_vit": "audiotag-equiav",
    "mn": "audiotag-mobilenet-baseline",
    "dymn": "audiotag-mobilenet-baseline",
}
"""Beginnings of names that a plugin of ours brings, for the error about a name nobody registered."""

_SINGULAR = {
    "backbones": "model",
    "datasets": "dataset format",
    "losses": "loss",
    "sampling_policies": "sampling policy",
    "commands": "command",
    "recipes": "recipe",
}

AnySpec = BackboneSpec | DatasetSpec | LossSpec | SamplingPolicySpec | CommandSpec | RecipeSpec


class Host:
    """Every plugin found, and the descriptors they registered.

    Attributes:
        plugins: One record per entry point, in loading order.
    """

    def __init__(self) -> None:
        self.plugins: list[PluginRecord] = []
        self._owners: dict[str, dict[str, list[tuple[PluginRecord, Any]]]] = {kind: {} for kind, _ in HOOKS.values()}
        self._resolved: dict[str, tuple[PluginRecord, BackboneSpec]] = {}
        for record, entry in discover():
            self.plugins.append(record)
            for kind, specs in load(record, entry).items():
                for spec in specs:
                    self._add(kind, record, spec)

    def _add(self, kind: str, record: PluginRecord, spec: Any) -> None:
        key = f"{spec.group} {spec.name}" if isinstance(spec, CommandSpec) else spec.name
        owners = self._owners[kind].setdefault(key, [])
        owners.append((record, spec))
        if len(owners) > 1:
            error = self._taken(kind, key)
            if strict():
                raise error
            for owner in {id(owner): owner for owner, _ in owners}.values():
                owner.problems.append(str(error))

    def _taken(self, kind: str, name: str) -> NameTakenError:
        labels = " and ".join(record.label for record, _ in self._owners[kind][name])
        last = self._owners[kind][name][-1][0].distribution
        return NameTakenError(
            f"the {_SINGULAR[kind]} {name!r} is registered by {labels}",
            fix=f"Uninstall one of them (pip uninstall {last}), or name those to load in AUDIOTAG_LOAD_PLUGINS.",
        )

    def _specs(self, kind: str) -> dict[str, Any]:
        return {name: owners[0][1] for name, owners in self._owners[kind].items() if len(owners) == 1}

    @property
    def backbones(self) -> dict[str, BackboneSpec]:
        """Name → descriptor, leaving out names that two plugins claim."""
        return self._specs("backbones")

    @property
    def datasets(self) -> dict[str, DatasetSpec]:
        """Name → descriptor, leaving out names that two plugins claim."""
        return self._specs("datasets")

    @property
    def losses(self) -> dict[str, LossSpec]:
        """Name → descriptor, leaving out names that two plugins claim."""
        return self._specs("losses")

    @property
    def sampling_policies(self) -> dict[str, SamplingPolicySpec]:
        """Name → descriptor, leaving out names that two plugins claim."""
        return self._specs("sampling_policies")

    @property
    def commands(self) -> dict[str, CommandSpec]:
        """``"group name"`` → descriptor, leaving out names that two plugins claim."""
        return self._specs("commands")

    @property
    def recipes(self) -> dict[str, RecipeSpec]:
        """Name → descriptor, leaving out names that two plugins claim."""
        return self._specs("recipes")

    def backbone(self, name: str) -> BackboneSpec:
        """The backbone called *name*; a name that nobody registers is put to the resolver of the family before its dot.

        Raises:
            UnknownNameError: Nobody knows it; the message has close matches and what to install.
            NameTakenError: Two distributions register it.
            PluginError: The family's resolver is broken.
        """
        found: BackboneSpec = self._resolved_backbone(name) or self._get("backbones", name)
        return found

    def knows_backbone(self, name: str) -> bool:
        """Whether *name* is that of a backbone, registered or resolved by its family.

        Raises:
            PluginError: The family's resolver is broken.
        """
        try:
            return name in self.backbones or self._resolved_backbone(name) is not None
        except UnknownNameError:
            return False

    def dataset(self, name: str) -> DatasetSpec:
        """The dataset format called *name*; raises as `backbone` does."""
        found: DatasetSpec = self._get("datasets", name)
        return found

    def loss(self, name: str) -> LossSpec:
        """The loss called *name*; raises as `backbone` does."""
        found: LossSpec = self._get("losses", name)
        return found

    def sampling_policy(self, name: str) -> SamplingPolicySpec:
        """The sampling policy called *name*; raises as `backbone` does."""
        found: SamplingPolicySpec = self._get("sampling_policies", name)
        return found

    def recipe(self, name: str) -> RecipeSpec:
        """The recipe called *name*; raises as `backbone` does."""
        found: RecipeSpec = self._get("recipes", name)
        return found

    def owner(self, spec: AnySpec) -> PluginRecord:
        """The plugin that registered *spec*, or one equal to it (kept by somebody while plugins were loaded anew)."""
        registered = [owner for kind in self._owners.values() for owners in kind.values() for owner in owners]
        for same in (operator.is_, operator.eq):
            for record, candidate in registered:
                if same(candidate, spec):
                    return record
        if isinstance(spec, BackboneSpec) and spec.name in self._resolved:
            return self._resolved[spec.name][0]
        raise UnknownNameError(f"no plugin registered {spec.name!r}")

    def _get(self, kind: str, name: str) -> Any:
        owners = self._owners[kind].get(name)
        if owners is None:
            raise self._unknown(kind, name)
        if len(owners) > 1:
            raise self._taken(kind, name)
        return owners[0][1]

    def _resolved_backbone(self, name: str) -> BackboneSpec | None:
        """What the resolver of its family makes of *name*; None for a registered name and without a resolver."""
        if name in self._resolved:
            return self._resolved[name][1]
        family = self.backbones.get(name.partition(".")[0])
        if name in self._owners["backbones"] or "." not in name or family is None or family.resolver is None:
            return None
        owner = self.owner(family)
        spec = self._import(family.resolver, family.name, owner)(name)
        if not isinstance(spec, BackboneSpec) or (spec.name, spec.family) != (name, family.name):
            raise PluginError(
                f"the resolver {family.resolver!r} returned {spec!r:.80} for {name!r}",
                where=owner.label,
                fix=f"It has to return a BackboneSpec of that name and of the family {family.name!r}.",
            )
        self._resolved[name] = (owner, spec)
        return spec

    def _unknown(self, kind: str, name: str) -> UnknownNameError:
        advice = [close] if (close := suggest(name, self._owners[kind])) else []
        if kind == "backbones":
            for beginning, distribution in _KNOWN_ELSEWHERE.items():
                installed = any(record.distribution == distribution for record in self.plugins)
                if name.startswith(beginning) and not installed:
                    advice.append(f"It may come with a plugin: pip install {distribution}")
        failed = [f"{record.label} ({record.reason})" for record in self.plugins if record.status == "failed"]
        if failed:
            advice.append("Plugins that failed to load: " + "; ".join(failed) + ".")
        listing = {"backbones": "audiotag models list", "recipes": "audiotag recipes list"}.get(
            kind, "audiotag plugins list"
        )
        advice.append(f"`{listing}` shows what there is.")
        return UnknownNameError(f"there is no {_SINGULAR[kind]} {name!r}", fix=" ".join(advice))

    def resolve(
        self, spec: BackboneSpec | DatasetSpec | LossSpec | SamplingPolicySpec | CommandSpec
    ) -> Callable[..., Any]:
        """Import the implementation behind *spec*.

        Raises:
            PluginError: The module cannot be imported or has no such callable.
        """
        return self._import(spec.factory, spec.name, self.owner(spec))

    def _import(self, factory: str, name: str, owner: PluginRecord) -> Callable[..., Any]:
        module_name, _, attribute = factory.partition(":")
        try:
            found: Any = import_module(module_name)
            for part in attribute.split("."):
                found = getattr(found, part)
        except (Exception, SystemExit) as error:  # a plugin may do anything while it is imported
            raise PluginError(
                f"the implementation {factory!r} of {name!r} cannot be imported: {type(error).__name__}: {error}",
                where=owner.label,
                fix=f"Reinstall it (pip install --force-reinstall {owner.distribution}) or report it to its authors.",
            ) from error
        if not callable(found):
            raise PluginError(f"{factory!r} of {name!r} is not callable", where=owner.label)
        return found  # type: ignore[no-any-return]

    def failures(self) -> Iterator[PluginRecord]:
        """Plugins that were set aside."""
        return (record for record in self.plugins if record.status == "failed")


_lock = threading.Lock()
_host: Host | None = None


def get_host() -> Host:
    """The host of this process; plugins are loaded at the first call."""
    global _host
    with _lock:
        if _host is None:
            _host = Host()
        return _host


def reset_host() -> None:
    """Forget the loaded plugins, so that the next `get_host` looks again (after installing one, in tests)."""
    global _host
    with _lock:
        _host = None
