"""Names → descriptors → implementations."""

from __future__ import annotations

import operator
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib import import_module
from importlib.metadata import packages_distributions
from importlib.resources import files
from typing import Any, Generic, TypeVar

from audiotag.display import Shown, line
from audiotag.errors import AudiotagWarning, PluginError, UnknownNameError, suggest
from audiotag.host.guard import guarded, importing, plugin_code
from audiotag.host.kinds import KINDS, Kind, kind_of
from audiotag.host.loading import Plugin, discover, strict
from audiotag.host.records import CORE_DISTRIBUTION, PluginRecord
from audiotag.host.registry import Registry
from audiotag.specs import (
    AugmentationSpec,
    BackboneSpec,
    CommandSpec,
    DatasetSpec,
    LossSpec,
    MadeSpec,
    MetricSpec,
    OptimiserSpec,
    OutputSpec,
    RecipeSpec,
    SamplingPolicySpec,
    ScheduleSpec,
    SourceSpec,
    Spec,
    WriterSpec,
)

_KNOWN_ELSEWHERE = {
    "audiotag-ced": ("ced",),
    "audiotag-convnext": ("convnext", "ConvNeXt"),
    "audiotag-equiav": ("equiav", "mae_vit", "infonce", "ntxent"),
    "audiotag-mobilenet-baseline": ("mn", "dymn", "home10", "efficientat"),
    "audiotag-psla": ("psla",),
}
"""Distribution of ours → how the names of what it brings begin, for the error about a name nobody registered."""

_FEW = 15
"""So many names are all told in the error about an unknown one."""

S = TypeVar("S", bound=Spec)


class _All(Generic[S]):
    """An attribute of the host: everything of one kind by name."""

    def __init__(self, spec: type[S]) -> None:
        self._spec = spec

    def __get__(self, host: Host, owner: type[Host]) -> Registry[S]:
        return host.registry(self._spec)


class _Named(Generic[S]):
    """A method of the host: the descriptor of one kind that a name means; raises as `Host.get` does."""

    def __init__(self, spec: type[S]) -> None:
        self._spec = spec

    def __get__(self, host: Host, owner: type[Host]) -> Callable[[str], S]:
        return partial(host.get, self._spec)


class Host:
    """Every plugin found, and the descriptors they register.

    Nothing of a plugin runs before the first descriptor is asked for. Then every plugin is imported, and the hooks of
    that kind are called. Of every kind there are all (``host.losses``) and the one that a name means
    (``host.loss("bce")``).
    """

    backbones, backbone = _All(BackboneSpec), _Named(BackboneSpec)
    datasets, dataset = _All(DatasetSpec), _Named(DatasetSpec)
    losses, loss = _All(LossSpec), _Named(LossSpec)
    sampling_policies, sampling_policy = _All(SamplingPolicySpec), _Named(SamplingPolicySpec)
    augmentations, augmentation = _All(AugmentationSpec), _Named(AugmentationSpec)
    optimisers, optimiser = _All(OptimiserSpec), _Named(OptimiserSpec)
    schedules, schedule = _All(ScheduleSpec), _Named(ScheduleSpec)
    metrics, metric = _All(MetricSpec), _Named(MetricSpec)
    writers, writer = _All(WriterSpec), _Named(WriterSpec)
    outputs, output = _All(OutputSpec), _Named(OutputSpec)
    sources, source = _All(SourceSpec), _Named(SourceSpec)
    commands = _All(CommandSpec)
    recipes, recipe = _All(RecipeSpec), _Named(RecipeSpec)

    def __repr__(self) -> str:
        return line(self, *(Shown(one.label) for one in self._records))

    def __init__(self) -> None:
        self._plugins = discover()
        self._registries: dict[str, Registry[Any]] = {}
        self._warned: set[str] = set()
        self._resolved: dict[str, tuple[PluginRecord, BackboneSpec]] = {}
        self._owners: dict[int, tuple[Spec, PluginRecord | None]] = {}
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
        for kind in KINDS.values():
            self.registry(kind.spec)

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

    def registry(self, spec: type[S]) -> Registry[S]:
        """Everything of the kind whose descriptors are of the class *spec*."""
        kind = kind_of(spec)
        with self._lock:
            if kind.name not in self._registries:
                self.require_loaded()
                registry: Registry[S] = Registry(kind)
                for plugin, descriptors in self._collect(kind):
                    for one in descriptors:
                        self._add(registry, plugin.record, one)
                self._registries[kind.name] = registry
            return self._registries[kind.name]

    def _collect(self, kind: Kind) -> Iterator[tuple[Plugin, list[Any]]]:
        for plugin in self._plugins:
            failed = plugin.record.status == "failed"
            self._loading = threading.get_ident(), plugin.record
            try:
                descriptors = plugin.descriptors(kind)
            finally:
                self._loading = None
            if plugin.record.status == "failed" and not failed:
                for listener in self._listeners:
                    listener(plugin.record)
            yield plugin, descriptors

    def _add(self, registry: Registry[Any], record: PluginRecord, spec: Spec) -> None:
        taken = registry.add(record, spec)
        if taken is None:
            return
        if strict():
            raise taken
        for owner in {id(one.record): one.record for one in registry.claims(spec.key)}.values():
            if owner.distribution != CORE_DISTRIBUTION:  # it has its name
                owner.problems.append(str(taken))

    @property
    def command_groups(self) -> dict[str, list[PluginRecord]]:
        """Group of commands → the plugins that bring its commands, those that two claim among them."""
        groups: dict[str, list[PluginRecord]] = {}
        for record, spec in self.commands.everything():
            groups.setdefault(spec.group, []).append(record)
        return groups

    def get(self, spec: type[S], name: str) -> S:
        """The descriptor that *name* means, of the kind whose descriptors are of the class *spec*.

        A plain name means the core's, or else that of the only plugin that registers it; ``DISTRIBUTION:NAME`` means
        that of the distribution. A model that nobody registers is put to the resolver of the family before its dot.

        Raises:
            UnknownNameError: Nobody knows it; the message has close matches and what to install.
            NameTakenError: Two distributions register it.
            PluginError: The family's resolver is broken.
        """
        registry = self.registry(spec)
        owners = registry.owners(name)
        if not owners and spec is BackboneSpec and (resolved := self._resolved_backbone(name)) is not None:
            return resolved  # type: ignore[return-value] # S is BackboneSpec
        if not owners:
            raise self._unknown(registry, name)
        if len(owners) > 1:
            raise registry.taken(owners)
        if len(claims := registry.claims(name)) > 1 and name not in self._warned:
            self._warned.add(name)
            warnings.warn(str(registry.taken(claims)), AudiotagWarning, stacklevel=3)
        return owners[0].spec

    def knows_backbone(self, name: str) -> bool:
        """Whether *name* is that of a backbone, registered or resolved by its family.

        Raises:
            PluginError: The family's resolver is broken.
        """
        try:
            return name in self.backbones or (
                not self.backbones.owners(name) and self._resolved_backbone(name) is not None
            )
        except UnknownNameError:
            return False

    def command(self, group: str, name: str) -> CommandSpec:
        """The command called *name* of the group *group*; raises as `get` does."""
        distribution, colon, plain = name.rpartition(":")
        return self.get(CommandSpec, f"{distribution}{colon}{group} {plain}")

    def owner(self, spec: Spec) -> PluginRecord:
        """The plugin that registered *spec*, or one equal to it (kept by somebody while plugins were loaded anew)."""
        if (owner := self._owner(spec)) is None:
            raise UnknownNameError(f"no plugin registered {spec.name!r}")
        return owner

    def _owner(self, spec: Spec) -> PluginRecord | None:
        if (known := self._owners.get(id(spec))) is None:  # it is kept with its owner, so that no other takes its id
            known = self._owners[id(spec)] = spec, self._find_owner(spec)
        return known[1]

    def _find_owner(self, spec: Spec) -> PluginRecord | None:
        registered = list(self.registry(kind_of(spec).spec).everything())
        for same in (operator.is_, operator.eq):
            for record, candidate in registered:
                if same(candidate, spec):
                    return record
        if isinstance(spec, BackboneSpec) and spec.name in self._resolved:
            return self._resolved[spec.name][0]
        return None

    def _resolved_backbone(self, qualified: str) -> BackboneSpec | None:
        """What the resolver of its family makes of a name that nobody registers; None without a resolver."""
        distribution, colon, name = qualified.rpartition(":")
        if name in self._resolved:
            return self._resolved[name][1]
        family = self.backbones.get(f"{distribution}{colon}{name.partition('.')[0]}")
        if "." not in name or family is None or family.resolver is None:
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

    def _unknown(self, registry: Registry[Any], name: str) -> UnknownNameError:
        advice = [close] if (close := suggest(name, registry)) else []
        advice += self.elsewhere(name)
        failed = [f"{record.label} ({record.reason})" for record in self._records if record.status == "failed"]
        if failed:
            advice.append("Plugins that failed to load: " + "; ".join(failed) + ".")
        if len(registry) <= _FEW:
            advice.append(f"There are: {', '.join(registry)}.")
        advice.append(f"`{registry.kind.listing}` shows what there is; the rest comes with plugins.")
        return UnknownNameError(f"there is no {registry.kind.one} {name!r}", fix=" ".join(advice))

    def elsewhere(self, name: str) -> list[str]:
        """What to install for a name that nobody registers, where a plugin of ours brings one that begins so."""
        installed = {record.distribution for record in self._records}
        return [
            f"It may come with a plugin: pip install {distribution}"
            for distribution, beginnings in _KNOWN_ELSEWHERE.items()
            if name.startswith(beginnings) and distribution not in installed
        ]

    def resolve(self, spec: MadeSpec, reference: str | None = None) -> Callable[..., Any]:
        """Import the implementation behind *spec*, to be called through `make`; or another *reference* in it.

        Raises:
            PluginError: The module cannot be imported or has no such callable.
        """
        return self._import(reference or spec.factory, spec.name, self.owner(spec))

    def make(self, spec: MadeSpec, *arguments: Any, **options: Any) -> Any:
        """Call the factory of *spec*.

        Raises:
            PluginError: It cannot be imported, or it raises anything but an `AudiotagError`.
        """
        factory = self.resolve(spec)
        with self.running(spec, f"making {spec.name!r}"):
            return factory(*arguments, **options)

    def not_a(self, wanted: str, spec: MadeSpec, made: object) -> PluginError:
        """What is told of a factory that made something else than a *wanted*."""
        what = f"the factory {spec.factory!r} returned {type(made).__name__}, not a {wanted}"
        return PluginError(what, where=self.owner(spec).place)

    def running(self, spec: Spec, doing: str) -> AbstractContextManager[None]:
        """A context for code of the implementation of *spec*; see `audiotag.host.guard.plugin_code`."""
        return plugin_code(self.owner(spec).place, doing)

    def computing(self, spec: Spec, doing: str) -> AbstractContextManager[None]:
        """`running` for what is called again and again, step by step.

        It is nothing for what the core registers, or nobody (a network of somebody's own): their errors stay as they
        are. One context serves any number of calls.
        """
        owner = self._owner(spec)
        if owner is None or owner.distribution == CORE_DISTRIBUTION:
            return nullcontext()
        return plugin_code(owner.place, doing)

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
            for registry in self._registries.values()
            for record, spec in registry.everything()
            if isinstance(spec, MadeSpec)
        ]
        found: dict[str, list[PluginRecord]] = {}
        for name, record in named:
            package = re.split(r"[.:]", name)[0]
            if package not in sys.stdlib_module_names:
                found.setdefault(package, []).append(record)
        return found


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
