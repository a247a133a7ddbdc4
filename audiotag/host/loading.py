"""Finding plugins and loading them one by one, each in a manager of its own, so that none can harm another."""

from __future__ import annotations

import inspect
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from audiotag import hookspecs
from audiotag.errors import AudiotagError, PluginError, suggest
from audiotag.host.guard import described, guarded, importing
from audiotag.host.kinds import HOOKS, Kind
from audiotag.host.records import CORE_DISTRIBUTION, SLOW_IMPORT_SECONDS, PluginRecord
from audiotag.host.registry import normal
from audiotag.specs import ENTRY_POINT_GROUP, INTERFACE_VERSION, Spec, noting_unknown_fields


def strict() -> bool:
    """Whether a failing plugin stops the program (``AUDIOTAG_STRICT_PLUGINS``)."""
    return os.environ.get("AUDIOTAG_STRICT_PLUGINS", "").lower() not in ("", "0", "false", "no")


def _names(text: str) -> set[str]:
    return {normal(part) for part in re.split(r"[,\s]+", text) if part}


def left_out(record: PluginRecord) -> str | None:
    """Why a plugin is not to be loaded, None where it is: the core always is."""
    names = {normal(record.distribution), normal(record.name)}
    if record.distribution == CORE_DISTRIBUTION:
        return None
    if names & _names(os.environ.get("AUDIOTAG_SKIP_PLUGINS", "")):
        return "AUDIOTAG_SKIP_PLUGINS names it"
    allowed = os.environ.get("AUDIOTAG_LOAD_PLUGINS")
    return None if allowed is None or names & _names(allowed) else "AUDIOTAG_LOAD_PLUGINS does not name it"


def discover() -> list[Plugin]:
    """Every installed entry point, in a fixed order: the core's own, then by distribution and name."""
    found: dict[tuple[str, str, str], Plugin] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        plugin = Plugin(entry)
        # An editable install beside a stale egg-info lists the same entry point twice.
        found.setdefault((normal(plugin.record.distribution), entry.name, entry.value), plugin)
    return [found[key] for key in sorted(found, key=lambda key: (key[0] != CORE_DISTRIBUTION, key))]


class Plugin:
    """One entry point: imported when the first descriptor is asked for, each hook called when its kind is.

    Failures are written into the record, or raised as `PluginError` where plugins are strict.

    Attributes:
        record: What is known about it.
    """

    def __init__(self, entry: EntryPoint) -> None:
        self._entry = entry
        self._manager: pluggy.PluginManager | None = None
        self._imported = False
        self._interface: Any = INTERFACE_VERSION
        distribution, version, damage = _origin(entry)
        self.record = PluginRecord(entry.name, distribution, version, entry.value)
        self._damage = damage

    def descriptors(self, kind: Kind) -> list[Spec]:
        """What the hook of *kind* returns; empty where the plugin lacks it or has failed."""
        self.load()
        if self._manager is None or kind.hook not in self.record.hooks:
            return []
        checked: list[Spec] = []
        with self._set_aside(), guarded(self.record.place, kind.hook, self._raised):
            with noting_unknown_fields() as unknown:
                found = _call(self._manager, kind)
            self._tell_of_fields(unknown)
            checked = found
            self.record.provides[kind.name] = [spec.name for spec in checked]
        return checked

    def load(self) -> None:
        """Import the plugin, unless that was done or the user leaves it out."""
        if self._imported:
            return
        record, reason = self.record, left_out(self.record)
        if reason is not None:
            record.status = "skipped"
            record.problems.append(reason)
        else:
            with self._set_aside(), guarded(record.place, "importing it", self._raised):
                self._manager = self._import()
        self._imported = True

    def _import(self) -> pluggy.PluginManager:
        record = self.record
        if self._damage is not None:
            raise PluginError(
                f"what pip wrote about it cannot be read ({self._damage})",
                fix=f"Install it again (pip install --force-reinstall {record.distribution}).",
            )
        started = time.perf_counter()
        with noting_unknown_fields() as unknown, importing():
            module = self._entry.load()
        record.seconds = time.perf_counter() - started
        if record.seconds > SLOW_IMPORT_SECONDS:
            record.problems.append(
                f"importing it took {record.seconds:.1f} s; its descriptor module should not import the implementation "
                "(name it as 'package.module:callable'): report it to its authors, or leave it out with "
                "AUDIOTAG_LOAD_PLUGINS"
            )
        self._interface = getattr(module, "AUDIOTAG_INTERFACE", INTERFACE_VERSION)
        if not isinstance(self._interface, int) or self._interface < INTERFACE_VERSION:
            raise PluginError(
                f"it is built for version {self._interface} of the plugin interface, and this audiotag has "
                f"{INTERFACE_VERSION}",
                fix=f"Upgrade the plugin (pip install --upgrade {record.distribution}). Its authors find what has "
                "changed on the page 'Writing plugins'.",
            )
        if self._is_newer:
            record.problems.append(
                f"it is built for version {self._interface} of the plugin interface, and this audiotag has "
                f"{INTERFACE_VERSION}: what is new is left out; upgrade audiotag (pip install --upgrade audiotag)"
            )
        self._tell_of_fields(unknown)
        manager = pluggy.PluginManager("audiotag")
        manager.add_hookspecs(hookspecs)
        self._check_hooks(manager, module)
        manager.register(module, name=record.name)
        record.hooks = [hook for hook in HOOKS if getattr(manager.hook, hook).get_hookimpls()]
        return manager

    @property
    def _is_newer(self) -> bool:
        return bool(self._interface > INTERFACE_VERSION)

    def _tell_of_fields(self, unknown: list[PluginError]) -> None:
        """Refuse fields that there are not; those of a newer interface are a problem only, and left out."""
        if unknown and not self._is_newer:
            raise unknown[0]
        self.record.problems += [
            f"left out, as this audiotag is older: {error.where}: {error.what}" for error in unknown
        ]

    def _check_hooks(self, manager: pluggy.PluginManager, module: Any) -> None:
        """Refuse hooks that the host does not have, unless they are optional, and those that take arguments."""
        advice = f"The hooks are {', '.join(HOOKS)}; none takes an argument."
        for name in dir(module):
            options = manager.parse_hookimpl_opts(module, name)
            if options is None or (name not in HOOKS and options["optionalhook"]):
                continue
            if name not in HOOKS:
                close = suggest(name, HOOKS, count=1)
                newer = "Upgrade audiotag (pip install --upgrade audiotag)." if self._is_newer else close
                raise PluginError(
                    f"it implements an unknown hook, {name!r}", fix=f"{newer} {advice}" if newer else advice
                )
            if arguments := list(inspect.signature(getattr(module, name)).parameters):
                raise PluginError(f"its hook {name!r} takes {', '.join(map(repr, arguments))}", fix=advice)

    @contextmanager
    def _set_aside(self) -> Iterator[None]:
        try:
            yield
        except AudiotagError as error:
            problem = error if isinstance(error, PluginError) else self._raised(described(error))
            if strict():
                raise PluginError(
                    f"the plugin {self.record.name!r} failed: {problem}",
                    where=self.record.label,
                    fix="Repair or uninstall it, or unset AUDIOTAG_STRICT_PLUGINS to continue without it.",
                ) from (error.__cause__ or error)
            self.record.fail(problem)

    def _raised(self, what: str) -> PluginError:
        """What is told of a plugin whose own code raised *what*."""
        return PluginError(
            what,
            fix=(
                f"Upgrade it (pip install --upgrade {self.record.distribution}) or uninstall it; "
                "AUDIOTAG_STRICT_PLUGINS=1 with AUDIOTAG_TRACEBACK=1 shows where it comes from."
            ),
        )


def _origin(entry: EntryPoint) -> tuple[str, str, str | None]:
    """Distribution and version that bring *entry*, and what keeps them from being read."""
    if entry.dist is None:
        return "unknown", "unknown", None
    try:
        name, version = entry.dist.name, entry.dist.version
        if name and version:
            return name, version, None
        damage = "METADATA names no distribution and version"
    except Exception as error:  # the standard library meets damaged metadata with errors of every kind
        damage = f"METADATA is missing or damaged: {described(error)}"
    return entry.value.partition(".")[0], "unknown", damage


def _call(manager: pluggy.PluginManager, kind: Kind) -> list[Spec]:
    results = getattr(manager.hook, kind.hook)()
    if not results:  # pluggy leaves out a None
        raise PluginError(f"{kind.hook} returned nothing", fix=f"Return a list of {kind.spec.__name__}.")
    return [spec for specs in results for spec in _check_specs(kind.hook, specs, kind.spec)]


def _check_specs(hook: str, specs: object, spec_class: type[Spec]) -> list[Spec]:
    if isinstance(specs, spec_class):
        raise PluginError(f"{hook} returned one {spec_class.__name__}", fix="Return a list of them.")
    if not isinstance(specs, Iterable) or isinstance(specs, str | Mapping):
        raise PluginError(f"{hook} returned {type(specs).__name__}", fix=f"Return a list of {spec_class.__name__}.")
    checked = list(specs)
    for spec in checked:
        if not isinstance(spec, spec_class):
            raise PluginError(
                f"{hook} returned a list that holds {spec!r:.80}", fix=f"It may hold {spec_class.__name__} only."
            )
    for spec in checked:
        spec.__post_init__()  # again: there are ways to make or change one without it
    return checked
