"""Names → descriptors → implementations."""

from __future__ import annotations

import operator
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from importlib.metadata import packages_distributions
from importlib.resources import files
from typing import Any

from audiotag.errors import NameTakenError, PluginError, UnknownNameError, suggest
from audiotag.host.guard import guarded, importing, plugin_code
from audiotag.host.loading import CORE_DISTRIBUTION, HOOKS, Plugin, discover, strict
from audiotag.host.records import PluginRecord
from audiotag.specs import BackboneSpec, CommandSpec, DatasetSpec, LossSpec, RecipeSpec, SamplingPolicySpec

_KNOWN_ELSEWHERE = {
    "audiotag-convnext": ("convnext", "ConvNeXt"),
    "audiotag-equiav": ("equiav", "mae_vit", "infonce", "ntxent"),
    "audiotag-mobilenet-baseline": ("mn", "dymn", "home10", "efficientat"),
    "audiotag-psla": ("psla",),
}
"""Distribution of ours → how the names of what it brings begin, for the error about a name nobody registered."""

_SINGULAR = {
    "backbones": "model",
    "datasets": "dataset format",
    "losses": "loss",
    "sampling_policies": "sampling policy",
    "commands": "command",
    "recipes": "recipe",
}

AnySpec = BackboneSpec | DatasetSpec | LossSpec | SamplingPolicySpec | CommandSpec | RecipeSpec


_Owners = dict[str, list[tuple[PluginRecord, Any]]]


class Host:
    """Every plugin found, and the descriptors they register.

    Nothing of a plugin runs before the first descriptor is asked for. Then every plugin is imported, and the hooks of
    that kind are called.
    """

    def __init__(self) -> None:
        self._plugins = discover()
        self._owners: dict[str, _Owners] = {}
        self._resolved: dict[str, tuple[PluginRecord, BackboneSpec]] = {}
        self._lock = threading.RLock()
        self._loading: tuple[int, PluginRecord] | None = None
        self._listeners: list[Callable[[PluginRecord], object]] = []

    @property
    def plugins(self) -> list[PluginRecord]:
        """One record per entry point, in loading order, complete: every hook has been called."""
        self.load_all()
        return self._records

    @property
    def _records(self) -> list[PluginRecord]:
        return [plugin.record for plugin in self._plugins]

    def load_all(self) -> None:
        """Call every hook that has not been called yet.

        Raises:
            PluginError: A plugin fails or two claim one name, and ``AUDIOTAG_STRICT_PLUGINS`` is set.
        """
        for kind, _ in HOOKS.values():
            self._of(kind)

    def require_loaded(self) -> None:
        """Refuse to answer a plugin that asks while it is loaded itself, which would wait for its own end.

        Raises:
            PluginError: Naming the plugin.
        """
        if self._loading is not None and self._loading[0] == threading.get_ident():
            raise PluginError(
                "it asks the host about plugins while it is loaded itself",
                fix="Its authors must do so in the implementation, which is imported later, not in the module that "
                f"registers descriptors ({self._loading[1].module}).",
            )

    def _of(self, kind: str) -> _Owners:
        """Name → those who registered it, for one kind."""
        with self._lock:
            if kind not in self._owners:
                self.require_loaded()
                owners: _Owners = {}
                for plugin, descriptors in self._collect(kind):
                    for spec in descriptors:
                        self._add(kind, owners, plugin.record, spec)
                self._owners[kind] = owners
            return self._owners[kind]

    def _collect(self, kind: str) -> Iterator[tuple[Plugin, list[Any]]]:
        hook = next(hook for hook, (one, _) in HOOKS.items() if one == kind)
        for plugin in self._plugins:
            failed = plugin.record.status == "failed"
            self._loading = threading.get_ident(), plugin.record
            try:
                descriptors = plugin.descriptors(hook)
            finally:
                self._loading = None
            if plugin.record.status == "failed" and not failed:
                for listener in self._listeners:
                    listener(plugin.record)
            yield plugin, descriptors

    def _add(self, kind: str, owners: _Owners, record: PluginRecord, spec: Any) -> None:
        key = f"{spec.group} {spec.name}" if isinstance(spec, CommandSpec) else spec.name
        owners.setdefault(key, []).append((record, spec))
        if len(owners[key]) > 1:
            error = _taken(kind, key, owners[key])
            if strict():
                raise error
            for owner in {id(owner): owner for owner, _ in owners[key]}.values():
                owner.problems.append(str(error))

    def _specs(self, kind: str) -> dict[str, Any]:
        return {name: owners[0][1] for name, owners in self._of(kind).items() if len(owners) == 1}

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
    def command_groups(self) -> dict[str, list[PluginRecord]]:
        """Group of commands → the plugins that bring its commands, those that two claim among them."""
        groups: dict[str, list[PluginRecord]] = {}
        for owners in self._of("commands").values():
            for record, spec in owners:
                groups.setdefault(spec.group, []).append(record)
        return groups

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

    def command(self, group: str, name: str) -> CommandSpec:
        """The command called *name* of the group *group*; raises as `backbone` does."""
        found: CommandSpec = self._get("commands", f"{group} {name}")
        return found

    def owner(self, spec: AnySpec) -> PluginRecord:
        """The plugin that registered *spec*, or one equal to it (kept by somebody while plugins were loaded anew)."""
        kind = next(kind for kind, spec_class in HOOKS.values() if isinstance(spec, spec_class))
        registered = [owner for owners in self._of(kind).values() for owner in owners]
        for same in (operator.is_, operator.eq):
            for record, candidate in registered:
                if same(candidate, spec):
                    return record
        if isinstance(spec, BackboneSpec) and spec.name in self._resolved:
            return self._resolved[spec.name][0]
        raise UnknownNameError(f"no plugin registered {spec.name!r}")

    def _get(self, kind: str, name: str) -> Any:
        owners = self._of(kind).get(name)
        if owners is None:
            raise self._unknown(kind, name)
        if len(owners) > 1:
            raise _taken(kind, name, owners)
        return owners[0][1]

    def _resolved_backbone(self, name: str) -> BackboneSpec | None:
        """What the resolver of its family makes of *name*; None for a registered name and without a resolver."""
        if name in self._resolved:
            return self._resolved[name][1]
        family = self.backbones.get(name.partition(".")[0])
        if name in self._of("backbones") or "." not in name or family is None or family.resolver is None:
            return None
        owner = self.owner(family)
        resolver = self._import(family.resolver, family.name, owner)
        with plugin_code(owner.place, f"resolving {name!r}"):
            spec = resolver(name)
        if not isinstance(spec, BackboneSpec) or (spec.name, spec.family) != (name, family.name):
            raise PluginError(
                f"the resolver {family.resolver!r} returned {spec!r:.80} for {name!r}",
                where=owner.place,
                fix=f"It has to return a BackboneSpec of that name and of the family {family.name!r}.",
            )
        self._resolved[name] = (owner, spec)
        return spec

    def _unknown(self, kind: str, name: str) -> UnknownNameError:
        advice = [close] if (close := suggest(name, self._of(kind))) else []
        advice += self.elsewhere(name)
        failed = [f"{record.label} ({record.reason})" for record in self._records if record.status == "failed"]
        if failed:
            advice.append("Plugins that failed to load: " + "; ".join(failed) + ".")
        listing = {"backbones": "audiotag models list", "recipes": "audiotag recipes list"}.get(
            kind, "audiotag plugins list"
        )
        advice.append(f"`{listing}` shows what there is; the rest comes with plugins.")
        return UnknownNameError(f"there is no {_SINGULAR[kind]} {name!r}", fix=" ".join(advice))

    def elsewhere(self, name: str) -> list[str]:
        """What to install for a name that nobody registers, where a plugin of ours brings one that begins so."""
        installed = {record.distribution for record in self._records}
        return [
            f"It may come with a plugin: pip install {distribution}"
            for distribution, beginnings in _KNOWN_ELSEWHERE.items()
            if name.startswith(beginnings) and distribution not in installed
        ]

    def resolve(self, spec: AnySpec) -> Callable[..., Any]:
        """Import the implementation behind *spec*; call it through `make`.

        Raises:
            PluginError: The module cannot be imported or has no such callable.
        """
        assert not isinstance(spec, RecipeSpec)  # a file, not code
        return self._import(spec.factory, spec.name, self.owner(spec))

    def make(self, spec: AnySpec, *arguments: Any, **options: Any) -> Any:
        """Call the factory of *spec*.

        Raises:
            PluginError: It cannot be imported, or it raises anything but an `AudiotagError`.
        """
        factory = self.resolve(spec)
        with self.running(spec, f"making {spec.name!r}"):
            return factory(*arguments, **options)

    def running(self, spec: AnySpec, doing: str) -> AbstractContextManager[None]:
        """A context for code of the implementation of *spec*; see `audiotag.host.guard.plugin_code`."""
        return plugin_code(self.owner(spec).place, doing)

    def read_file(self, spec: RecipeSpec) -> str:
        """The text of a recipe.

        Raises:
            PluginError: The package cannot be imported, or there is no such file of text in UTF-8.
        """
        package, _, path = spec.path.partition(":")
        with self.running(spec, f"reading {spec.path!r}"):
            return files(package).joinpath(path).read_text(encoding="utf-8")

    def _import(self, factory: str, name: str, owner: PluginRecord) -> Callable[..., Any]:
        def failed(what: str) -> PluginError:
            return PluginError(
                f"the implementation {factory!r} of {name!r} cannot be imported: {what}",
                where=owner.place,
                fix=f"Reinstall it (pip install --force-reinstall {owner.distribution}) or report it to its authors.",
            )

        module_name, _, attribute = factory.partition(":")
        with guarded(owner.place, f"importing {factory!r}", failed), importing():
            found: Any = import_module(module_name)
            for part in attribute.split("."):
                found = getattr(found, part)
        if not callable(found):
            raise PluginError(f"{factory!r} of {name!r} is not callable", where=owner.place)
        return found  # type: ignore[no-any-return]

    def failures(self) -> Iterator[PluginRecord]:
        """Plugins that have failed so far."""
        return (record for record in self._records if record.status == "failed")

    def tell_failures(self, listener: Callable[[PluginRecord], object]) -> None:
        """Call *listener* with every plugin that fails from now on, and those that have failed already."""
        for record in self.failures():
            listener(record)
        self._listeners.append(listener)

    def blame(self, error: BaseException) -> PluginRecord | None:
        """The plugin in whose code *error* was raised, as far as its traceback tells; None for code of ours."""
        named = self._packages()
        for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
            package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            if package == CORE_DISTRIBUTION:
                return None
            if package in named:
                # This looks through every distribution that is installed, which takes a while.
                brought = packages_distributions().get(package)
                for record in named[package]:
                    if brought is None or record.distribution in brought:
                        return record
        return None

    def _packages(self) -> dict[str, list[PluginRecord]]:
        """Package → plugins, for the packages that descriptors and implementations of plugins are in."""
        named = [(record.module, record) for record in self._records]
        named += [
            (spec.factory, record)
            for kind in self._owners.values()
            for owners in kind.values()
            for record, spec in owners
            if not isinstance(spec, RecipeSpec)
        ]
        found: dict[str, list[PluginRecord]] = {}
        for name, record in named:
            package = re.split(r"[.:]", name)[0]
            if package not in sys.stdlib_module_names:
                found.setdefault(package, []).append(record)
        return found


def _taken(kind: str, name: str, owners: list[tuple[PluginRecord, Any]]) -> NameTakenError:
    labels = " and ".join(record.label for record, _ in owners)
    return NameTakenError(
        f"the {_SINGULAR[kind]} {name!r} is registered by {labels}",
        fix=f"Uninstall one of them (pip uninstall {owners[-1][0].distribution}), or name those to load in "
        "AUDIOTAG_LOAD_PLUGINS.",
    )


_lock = threading.Lock()
_host: Host | None = None


def get_host() -> Host:
    """The host of this process.

    Raises:
        PluginError: A plugin asks while it is loaded itself, or one fails and ``AUDIOTAG_STRICT_PLUGINS`` is set.
    """
    global _host
    with _lock:
        if _host is None:
            _host = Host()
        host = _host
    host.require_loaded()
    if strict():
        host.load_all()
    return host


def reset_host() -> None:
    """Forget the loaded plugins, so that the next `get_host` looks again (after installing one, in tests)."""
    global _host
    with _lock:
        _host = None
