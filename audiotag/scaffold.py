"""The beginning of a plugin: a small distribution that installs, passes the kit's checks and works at once."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from audiotag.errors import OptionError, PluginError
from audiotag.folders import atomic_folder
from audiotag.host import get_host
from audiotag.specs import INTERFACE_VERSION

KINDS = ("backbone", "dataset", "loss", "policy")
ROLES = ("training", "storage")

_ENDING = ".template"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")


@dataclass(frozen=True)
class _Kind:
    """What differs between the kinds: what the thing is called, its module, how it is used, which extra it imports."""

    title: str
    module: str
    host_kind: str
    usage: tuple[str, ...]
    extra: str = ""


_BY_FOLDER = {
    "backbone": _Kind(
        "A network",
        "network",
        "backbones",
        (
            "audiotag finetune --backbone $name --train clips/ --output runs/$name",
            "audiotag infer --model runs/$name recording.wav",
        ),
        extra="[torch]",
    ),
    "dataset": _Kind(
        "A dataset format",
        "dataset",
        "datasets",
        ("audiotag finetune --backbone mn04_as --train clips.tsv --format $name --output runs/$name",),
    ),
    "loss": _Kind(
        "A training loss",
        "loss",
        "losses",
        ("audiotag finetune --backbone mn04_as --train clips/ --loss $name --multi-label --output runs/$name",),
        extra="[torch]",
    ),
    "training": _Kind(
        "A sampling policy for training",
        "policy",
        "sampling_policies",
        ("audiotag finetune --backbone mn04_as --train clips/ --sampler $name --output runs/$name",),
        extra="[torch]",
    ),
    "storage": _Kind(
        "A policy of a bounded store",
        "policy",
        "sampling_policies",
        ("audiotag store init memory --policy $name --labels home --capacity 500",),
    ),
}
"""Folder of templates → the kind."""


@dataclass(frozen=True)
class NewPlugin:
    """What was written.

    Attributes:
        folder: The folder of the distribution.
        distribution: Its name.
        files: Its files.
        usage: Commands that use it.
    """

    folder: Path
    distribution: str
    files: tuple[Path, ...]
    usage: tuple[str, ...]


def write_plugin(name: str, kind: str, output: Path, *, role: str | None = None) -> NewPlugin:
    """Write a plugin to a new folder below *output*.

    Args:
        name: What users will type: letters, digits and single underscores.
        kind: One of `KINDS`.
        output: Folder that the distribution's folder is made in.
        role: Of a policy, one of `ROLES`.

    Raises:
        OptionError: *name* cannot be used or is taken, a role is missing or not needed.
        PluginError: The folder exists already.
        OutputError: It cannot be written.
    """
    if kind not in KINDS:
        raise OptionError(f"there is no kind {kind!r}", fix=f"The kinds are: {', '.join(KINDS)}.")
    if kind == "policy" and role not in ROLES:
        raise OptionError(
            "a policy needs a role",
            fix="Give --role training (the clips of an epoch) or --role storage (what a bounded store keeps).",
        )
    if kind != "policy" and role is not None:
        raise OptionError(f"a {kind} has no role", fix="Leave --role out.")
    part = str(role) if kind == "policy" else kind
    about = _BY_FOLDER[part]
    _check_name(name, about.host_kind)
    distribution = f"audiotag-{name.replace('_', '-').lower()}"
    words = {
        "name": name,
        "entry": name,
        "distribution": distribution,
        "package": distribution.replace("-", "_"),
        "class_name": "".join(word[:1].upper() + word[1:] for word in name.split("_")),
        "title": about.title,
        "module": about.module,
        "extra": about.extra,
        "audiotag_versions": _compatible(version("audiotag")),
        "interface": str(INTERFACE_VERSION),
    }
    usage = tuple(Template(line).substitute(words) for line in about.usage)
    words["usage"] = "\n".join(usage)
    folder = output / distribution
    if folder.exists():
        raise PluginError("the folder exists already", where=folder, fix="Choose another name, or move it away.")
    written = []
    with atomic_folder(folder) as partial:
        for place, template in _templates(part):
            path = partial / Template(place).substitute(words)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(template).substitute(words), encoding="utf-8")
            written.append(folder / path.relative_to(partial))
    return NewPlugin(folder, distribution, tuple(sorted(written)), usage)


def _compatible(installed: str) -> str:
    """The versions that a plugin asks for: this minor one, because the next may change the interface."""
    major, minor = (int(part) for part in installed.split(".")[:2])
    return f">={major}.{minor},<{major}.{minor + 1}"


def _check_name(name: str, host_kind: str) -> None:
    """Refuse a name that cannot be a registered name, a package and a class, or that something has already."""
    if not _NAME.fullmatch(name):
        raise OptionError(
            f"{name!r} cannot be the name of a plugin",
            fix="Begin with a letter; use letters and digits, with single underscores between words (my_net).",
        )
    if name.lower().startswith("audiotag"):
        raise OptionError(
            f"{name!r} begins with audiotag, and the distribution's name will anyway", fix="Leave that part out."
        )
    capitals = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
    if keyword.iskeyword(name) or keyword.iskeyword(capitals):
        raise OptionError(f"{name!r} is a word of Python", fix="Choose another name.")
    host = get_host()
    distribution = f"audiotag-{name.replace('_', '-').lower()}"
    taken = [record.label for record in host.plugins if record.distribution.lower() == distribution]
    taken += [record.label for record in host.plugins if name in record.provides.get(host_kind, ())]
    if taken:
        raise OptionError(f"the name {name!r} is taken by {taken[0]}", fix="Choose another name.")


def _templates(part: str) -> Iterator[tuple[str, str]]:
    """(path with placeholders, text with placeholders) of every file of a kind of plugin."""
    root = files("audiotag").joinpath("templates", "plugin")
    yield from _walk(root.joinpath("common"), "")
    for place, text in _walk(root.joinpath(part), ""):
        yield f"$package/{place}", text


def _walk(folder: Traversable, place: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            name = "$package" if entry.name == "package" else entry.name
            yield from _walk(entry, f"{place}{name}/")
        elif entry.name.endswith(_ENDING):
            yield f"{place}{entry.name.removesuffix(_ENDING)}", entry.read_text(encoding="utf-8")
