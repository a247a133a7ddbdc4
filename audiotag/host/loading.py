"""Finding plugins and loading them one by one, each in a manager of its own, so that none can harm another."""

from __future__ import annotations

import inspect
import os
import re
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from audiotag import hookspecs
from audiotag.errors import PluginError, suggest
from audiotag.host.records import SLOW_IMPORT_SECONDS, PluginRecord
from audiotag.plugin import (
    ENTRY_POINT_GROUP,
    INTERFACE_VERSION,
    BackboneSpec,
    CommandSpec,
    DatasetSpec,
    LossSpec,
    RecipeSpec,
    SamplingPolicySpec,
)

CORE_DISTRIBUTION = "audiotag"

HOOKS: Mapping[str, tuple[str, type]] = {
    "register_backbones": ("backbones", BackboneSpec),
    "register_datasets": ("datasets", DatasetSpec),
    "register_losses": ("losses", LossSpec),
    "register_sampling_policies": ("sampling_policies", SamplingPolicySpec),
    "register_commands": ("commands", CommandSpec),
    "register_recipes": ("recipes", RecipeSpec),
}
"""Hook → (kind of descriptor, its class)."""


def strict() -> bool:
    """Whether a failing plugin stops the program (``AUDIOTAG_STRICT_PLUGINS``)."""
    return os.environ.get("AUDIOTAG_STRICT_PLUGINS", "").lower() not in ("", "0", "false", "no")


def allow_list() -> set[str] | None:
    """Distributions and entry points named by ``AUDIOTAG_LOAD_PLUGINS``, or None where every plugin loads."""
    text = os.environ.get("AUDIOTAG_LOAD_PLUGINS")
    if text is None:
        return None
    return {_normal(part) for part in re.split(r"[,\s]+", text) if part}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def discover() -> list[tuple[PluginRecord, EntryPoint]]:
    """Every installed entry point, in a fixed order: the core's own, then by distribution and name."""
    found: dict[tuple[str, str, str], tuple[PluginRecord, EntryPoint]] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        distribution = entry.dist.name if entry.dist is not None else "unknown"
        version = entry.dist.version if entry.dist is not None else "unknown"
        record = PluginRecord(entry.name, distribution, version, entry.value)
        # An editable install beside a stale egg-info lists the same entry point twice.
        found.setdefault((_normal(distribution), entry.name, entry.value), (record, entry))
    return [found[key] for key in sorted(found, key=lambda key: (key[0] != CORE_DISTRIBUTION, key))]


def load(record: PluginRecord, entry: EntryPoint) -> dict[str, list[Any]]:
    """Import one plugin and call its hooks.

    Failures are written into *record* (and raised as `PluginError` when plugins are strict).

    Returns:
        Kind → descriptors; empty for a plugin that failed.
    """
    allowed = allow_list()
    is_core = _normal(record.distribution) == CORE_DISTRIBUTION
    if allowed is not None and not is_core and not allowed & {_normal(record.distribution), _normal(record.name)}:
        record.status = "skipped"
        record.problems.append("AUDIOTAG_LOAD_PLUGINS does not name it")
        return {}
    try:
        return _load(record, entry)
    except PluginError as error:
        problem, cause = error, error.__cause__ or error
    except (Exception, SystemExit) as error:  # a plugin may do anything while it is imported
        problem, cause = _raised(record, error), error
    if strict():
        raise PluginError(
            f"the plugin {record.name!r} failed: {problem}",
            where=record.label,
            fix="Mend or uninstall it, or unset AUDIOTAG_STRICT_PLUGINS to go on without it.",
        ) from cause
    record.fail(problem)
    record.provides.clear()
    return {}


def _raised(record: PluginRecord, error: BaseException) -> PluginError:
    """What is told of a plugin whose own code raised *error*."""
    return PluginError(
        f"{type(error).__name__}: {error}",
        fix=(
            f"Upgrade it (pip install --upgrade {record.distribution}) or uninstall it; "
            "AUDIOTAG_STRICT_PLUGINS=1 with AUDIOTAG_TRACEBACK=1 shows where it comes from."
        ),
    )


def _load(record: PluginRecord, entry: EntryPoint) -> dict[str, list[Any]]:
    started = time.perf_counter()
    module = entry.load()
    record.seconds = time.perf_counter() - started
    if record.seconds > SLOW_IMPORT_SECONDS:
        record.problems.append(
            f"importing it took {record.seconds:.1f} s; its descriptor module should not import the implementation "
            "(name it as 'package.module:callable'): tell its authors, or leave it out with AUDIOTAG_LOAD_PLUGINS"
        )
    wanted = getattr(module, "AUDIOTAG_INTERFACE", INTERFACE_VERSION)
    if wanted != INTERFACE_VERSION:
        raise PluginError(
            f"it is built for version {wanted} of the plugin interface, and this audiotag has {INTERFACE_VERSION}",
            fix=(
                "Upgrade audiotag (pip install --upgrade audiotag)."
                if isinstance(wanted, int) and wanted > INTERFACE_VERSION
                else f"Upgrade the plugin (pip install --upgrade {record.distribution})."
            ),
        )
    manager = pluggy.PluginManager("audiotag")
    manager.add_hookspecs(hookspecs)
    _check_hooks(manager, module)
    manager.register(module, name=record.name)
    collected: dict[str, list[Any]] = {}
    for hook, (kind, spec_class) in HOOKS.items():
        caller = getattr(manager.hook, hook)
        if not caller.get_hookimpls():
            continue
        record.hooks.append(hook)
        results = caller()
        if len(results) < len(caller.get_hookimpls()):  # pluggy leaves out a None
            raise PluginError(f"{hook} returned nothing", fix=f"Return a list of {spec_class.__name__}.")
        for specs in results:
            checked = _check_specs(hook, specs, spec_class)
            collected.setdefault(kind, []).extend(checked)
            record.provides.setdefault(kind, []).extend(spec.name for spec in checked)
    return collected


def _check_hooks(manager: pluggy.PluginManager, module: Any) -> None:
    """Refuse hooks that the host does not have and those that take arguments, in words of ours."""
    advice = f"The hooks are {', '.join(HOOKS)}; none takes an argument."
    for name in dir(module):
        if manager.parse_hookimpl_opts(module, name) is None:
            continue
        if name not in HOOKS:
            close = suggest(name, HOOKS, count=1)
            raise PluginError(
                f"it implements the hook {name!r}, which there is not", fix=f"{close} {advice}" if close else advice
            )
        if arguments := list(inspect.signature(getattr(module, name)).parameters):
            raise PluginError(f"its hook {name!r} takes {', '.join(map(repr, arguments))}", fix=advice)


def _check_specs(hook: str, specs: object, spec_class: type) -> list[Any]:
    if isinstance(specs, spec_class):
        raise PluginError(f"{hook} returned one {spec_class.__name__}", fix="Return a list of them.")
    if not isinstance(specs, Iterable) or isinstance(specs, str | Mapping):
        raise PluginError(f"{hook} returned {type(specs).__name__}", fix=f"Return a list of {spec_class.__name__}.")
    checked = list(specs)
    for spec in checked:
        if not isinstance(spec, spec_class):
            raise PluginError(
                f"{hook} returned a list that holds {spec!r}", fix=f"It may hold {spec_class.__name__} only."
            )
    return checked
