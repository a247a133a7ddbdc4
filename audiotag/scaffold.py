"""The beginning of a plugin: a small distribution that installs, passes the kit's checks and works at once."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from string import Template

from audiotag.errors import OptionError, PluginError
from audiotag.folders import atomic_folder
from audiotag.host import get_host
from audiotag.host import kinds as host_kinds
from audiotag.specs import INTERFACE_VERSION

_ROOT = Path(__file__).parent / "templates" / "plugin"
_ENDING = ".template"
_SPEC = f"spec{_ENDING}"
"""The descriptor of a kind, an entry of what its hook returns."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")


@dataclass(frozen=True)
class _Kind:
    """What differs between the kinds.

    Attributes:
        title: What the thing is called.
        module: The file to begin with.
        host: The host's name for its kind.
        usage: Commands that use it, one a line.
        extra: The extra of audiotag that it imports.
    """

    title: str
    module: str
    host: str
    usage: str
    extra: str = ""


_FINETUNE = "audiotag finetune --backbone mn04_as --train"
_BY_FOLDER = {
    "backbone": _Kind(
        "A network",
        "network.py",
        "backbones",
        "audiotag finetune --backbone $name --train clips/ --output runs/$name\n"
        "audiotag infer --model runs/$name recording.wav",
        extra="[torch]",
    ),
    "dataset": _Kind(
        "A dataset format", "dataset.py", "datasets", f"{_FINETUNE} clips.tsv --format $name --output runs/$name"
    ),
    "published": _Kind(
        "A published data set", "published.py", "datasets", "audiotag data validate downloads/$name --format $name"
    ),
    "loss": _Kind(
        "A training loss",
        "loss.py",
        "losses",
        f"{_FINETUNE} clips/ --loss $name --multi-label --output runs/$name",
        extra="[torch]",
    ),
    "training": _Kind(
        "A sampling policy for training",
        "policy.py",
        "sampling_policies",
        f"{_FINETUNE} clips/ --sampler $name --output runs/$name",
        extra="[torch]",
    ),
    "storage": _Kind(
        "A policy of a bounded store",
        "policy.py",
        "sampling_policies",
        "audiotag store init memory --policy $name --labels home --capacity 500",
    ),
    "augmentation": _Kind(
        "An augmentation",
        "augmentation.py",
        "augmentations",
        f"{_FINETUNE} clips/ --augment $name --output runs/$name",
        extra="[torch]",
    ),
    "metric": _Kind(
        "A metric", "metric.py", "metrics", "audiotag evaluate --model runs/home --data clips/ --metric $name"
    ),
    "writer": _Kind(
        "An output format",
        "writer.py",
        "writers",
        "audiotag infer --events --format $name --output events.srt recording.wav",
    ),
    "command": _Kind("A command", "command.py", "commands", "audiotag x $name count clips/"),
    "recipe": _Kind(
        "A recipe",
        "recipes/$name.toml",
        "recipes",
        "audiotag finetune --recipe $name --backbone mn04_as --train clips/ --output runs/$name",
    ),
}
"""Folder of templates → the kind."""

ROLES = tuple(host_kinds.KINDS["sampling_policies"].roles)
KINDS = tuple(dict.fromkeys("policy" if folder in ROLES else folder for folder in _BY_FOLDER))


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


def write_plugin(name: str, kinds: Sequence[str], output: Path, *, role: str | None = None) -> NewPlugin:
    """Write a plugin to a new folder below *output*.

    Args:
        name: What users will type: letters, digits and single underscores.
        kinds: Of `KINDS`: what it brings, each by that name.
        output: Folder that the distribution's folder is made in.
        role: Of a policy, one of `ROLES`.

    Raises:
        OptionError: *name* cannot be used or is taken, kinds exclude each other, a role is missing or not needed.
        PluginError: The folder exists already.
        OutputError: It cannot be written.
    """
    parts = _parts(kinds, role)
    about = [_BY_FOLDER[part] for part in parts]
    for kind in about:
        _check_name(name, kind.host)
    distribution = _distribution(name)
    titles = [kind.title if not number else kind.title.lower() for number, kind in enumerate(about)]
    words = {
        "name": name,
        "entry": name,
        "distribution": distribution,
        "package": distribution.replace("-", "_"),
        "class_name": _class_name(name),
        "title": _enumerated(titles),
        "extra": max(kind.extra for kind in about),
        "audiotag_versions": compatible_versions(version("audiotag")),
        "interface": str(INTERFACE_VERSION),
    }
    words["modules"] = Template(_enumerated([f"`{kind.module}`" for kind in about])).substitute(words)
    words |= _descriptors(parts, words)
    usage = tuple(Template(line).substitute(words) for kind in about for line in kind.usage.splitlines())
    words["usage"] = "\n".join(usage)
    folder = output / distribution
    if folder.exists():
        raise PluginError("the folder exists already", where=folder, fix="Choose another name, or move it away.")
    written = []
    with atomic_folder(folder) as partial:
        for place, template in _templates(parts):
            path = partial / Template(place).substitute(words)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(template).substitute(words), encoding="utf-8")
            written.append(folder / path.relative_to(partial))
    return NewPlugin(folder, distribution, tuple(sorted(written)), usage)


def _parts(kinds: Sequence[str], role: str | None) -> list[str]:
    """The folders of templates for *kinds*, which are checked."""
    for kind in kinds:
        if kind not in KINDS:
            raise OptionError(f"there is no kind {kind!r}", fix=f"The kinds are: {', '.join(KINDS)}.")
    if "policy" in kinds and role not in ROLES:
        raise OptionError(
            "a policy needs a role",
            fix="Give --role training (the clips of an epoch) or --role storage (what a bounded store keeps).",
        )
    if "policy" not in kinds and role is not None:
        raise OptionError(f"a {_enumerated(list(kinds))} has no role", fix="Leave --role out.")
    if {"dataset", "published"} <= {*kinds}:
        raise OptionError("one name cannot be a format and a published data set", fix="Choose one of them.")
    return [str(role) if kind == "policy" else kind for kind in dict.fromkeys(kinds)]


def _distribution(name: str) -> str:
    return f"audiotag-{name.replace('_', '-').lower()}"


def _class_name(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def _enumerated(words: list[str]) -> str:
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _descriptors(parts: list[str], words: Mapping[str, str]) -> dict[str, str]:
    """What the module of descriptors imports, and its hooks."""
    imports, hooks = ["hookimpl"], ""
    for part in parts:
        kind, about = host_kinds.KINDS[_BY_FOLDER[part].host], _BY_FOLDER[part]
        entry = Template((_ROOT / part / _SPEC).read_text(encoding="utf-8")).substitute(words)
        imports.append(kind.spec.__name__)
        hooks += f'\n\n@hookimpl\ndef {kind.hook}():\n    """{about.title}."""\n    return [\n{entry}    ]\n'
    return {"imports": "\n".join(f"    {name}," for name in sorted(imports)), "hooks": hooks.rstrip()}


def compatible_versions(installed: str) -> str:
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
    if keyword.iskeyword(name) or keyword.iskeyword(_class_name(name)):
        raise OptionError(f"{name!r} is a word of Python", fix="Choose another name.")
    plugins = get_host().plugins
    taken = [record.label for record in plugins if record.distribution.lower() == _distribution(name)]
    taken += [record.label for record in plugins if name in record.provides.get(host_kind, ())]
    if taken:
        raise OptionError(f"the name {name!r} is taken by {taken[0]}", fix="Choose another name.")


def _templates(parts: list[str]) -> Iterator[tuple[str, str]]:
    """(path with placeholders, text with placeholders) of every file of a plugin that brings *parts*."""
    for part in ("common", *parts):
        for path in sorted((_ROOT / part).rglob(f"*{_ENDING}")):
            place = path.relative_to(_ROOT / part).as_posix().removesuffix(_ENDING)
            if path.name != _SPEC:
                # What is common to all has the distribution's own files as well.
                place = place.replace("package/", "$package/") if part == "common" else f"$package/{place}"
                yield place, path.read_text(encoding="utf-8")
