"""Weights that others have published, into our networks: strict, and with a report of what went where."""

from __future__ import annotations

import pickle
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from audiotag.arguments import as_path
from audiotag.display import brief_repr
from audiotag.errors import CheckpointError, PluginError
from audiotag.host import get_host
from audiotag.models.backbone import Backbone, ClassRows
from audiotag.models.store import WeightsStore
from audiotag.places import is_file, is_folder
from audiotag.specs import BackboneSpec

WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "weights")
"""Keys under which training scripts put a state dict, beside an epoch or an optimiser."""

PREFIXES = ("module.", "__M__.", "_orig_mod.")
"""Beginnings of keys that wrappers of a network leave: data parallelism, EquiAV's scripts, compilation."""

MEMBERS = ("model.", "net.", "network.", "backbone.", "encoder.")
"""Beginnings that a training module leaves, which keeps the network as a member; taken off where the rest fits."""

_COUNTER = "num_batches_tracked"

_LARGEST = 1e14
"""No trained weight comes near it, and what is computed with larger ones soon overflows float32."""

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Fillable(Protocol):
    """What `load_published` fills: a `Backbone`, or another network that says as much."""

    num_classes: int
    ignored_keys: tuple[str, ...]

    def state_dict(self) -> dict[str, Any]:
        """Entries by name."""

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Any:
        """Fill them."""

    def head_keys(self) -> tuple[str, ...]:
        """See `Backbone.head_keys`."""

    def class_rows(self) -> Mapping[str, ClassRows]:
        """See `Backbone.class_rows`."""

    def convert_published(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `Backbone.convert_published`."""

    def fresh_keys(self, state: Mapping[str, Tensor]) -> Collection[str]:
        """See `Backbone.fresh_keys`."""


@brief_repr
@dataclass(frozen=True)
class LoadReport:
    """What became of the entries of a published file.

    Attributes:
        source: The file, or what the entries came from.
        loaded: Entries of the network that were filled.
        converted: Those of *loaded* that the network renamed or reshaped (its `convert_published`).
        replaced: Entries of the head that stayed fresh because the file's do not fit (``head="replace"``).
        fresh: Entries of the network that files of this kind never hold (its `fresh_keys`); they start anew.
        missing: Batch-norm counters that an older file lacks; they stay as they were (evaluation uses none).
        ignored: Entries of the file that the network declares unneeded (its `ignored_keys`).
        unused: Other entries of the file that the network has no place for (parts that were not built).
        not_tensors: Entries of the file that are no tensors (an epoch, a list of settings).
        prefixes: Prefixes taken off the keys, outermost first.
        file_classes: Classes of the file's head, None where it cannot be told.
        classes: Classes of the network's head.
    """

    source: str
    loaded: tuple[str, ...]
    converted: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    not_tensors: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    file_classes: int | None = None
    classes: int = 0

    def __str__(self) -> str:
        lines = [f"{self.source}: {len(self.loaded)} entries loaded"]
        if self.replaced:
            counts = "" if self.file_classes is None else f" ({self.file_classes} classes there, {self.classes} here)"
            lines.append(f"  head starts fresh{counts}: {_listing(self.replaced)}")
        for title, keys in (
            ("start untrained, since files of this kind have none", self.fresh),
            ("converted", self.converted),
            ("not in the file, kept as they were", self.missing),
            ("not needed", self.ignored),
            ("unused", self.unused),
            ("no tensors", self.not_tensors),
            ("prefixes taken off", self.prefixes),
        ):
            if keys:
                lines.append(f"  {len(keys)} {title}: {_listing(keys)}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a published file (PyTorch's format or safetensors), out of any wrapper (``model``, …).

    Raises:
        CheckpointError: The file is missing or damaged, holds pickled code, or has no tensors.
    """
    return _read(path)[0]


def _read(source: str | Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    path = as_path("the file of weights", source)
    if not is_file(path):
        what = "is a folder, not a file of weights" if is_folder(path) else "does not exist"
        raise CheckpointError(f"the file {what}", where=path, fix="Check the path.")
    if path.suffix == ".safetensors":
        content = read_safetensors(path, "the safetensors file cannot be read", "Download or copy it again.")
    else:
        content = _torch_load(path)
    return _unwrap(content, str(path))


def read_safetensors(path: Path, what: str, fix: str) -> Any:
    """The tensors of a safetensors file, by name.

    Raises:
        CheckpointError: It cannot be read, in the words of *what* and *fix*.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{what} ({error})", where=path, fix=fix) from error


def _torch_load(path: Path) -> Any:
    with path.open("rb") as file:
        beginning = file.read(2)
    if not beginning.startswith((b"PK", b"\x80")):  # PyTorch's archives, and its pickles from before 1.6
        what = "is not a PyTorch checkpoint" if beginning else "is empty"
        raise CheckpointError(f"the file {what}", where=path, fix="Check the path, or download or copy it again.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"(?:GLOBAL|[Gg]lobal:?|[Cc]lass) (?!GLOBAL\b)([\w.]+)", str(error))
        if code is None:
            raise _unreadable(path, error) from error
        raise CheckpointError(
            f"the file is refused: beside tensors it holds pickled Python objects ({code[1]}), and "
            "unpickling them can run any code",
            where=path,
            fix="Where you trust it, load it with its own program and save model.state_dict() alone.",
        ) from error
    except Exception as error:  # the unpickler meets damaged bytes with errors of every kind
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: BaseException) -> CheckpointError:
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return CheckpointError(
        f"the file is not a readable PyTorch checkpoint ({first[:160]})",
        where=path,
        fix="It may be cut short or another kind of file: download or copy it again.",
    )


def _unwrap(content: Any, source: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The state dict inside *content*, and the names of what stands beside its tensors."""
    beside: list[str] = []
    while isinstance(content, Mapping):
        tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        inner = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if tensors or inner is None:
            break
        beside += [str(key) for key in content if key != inner]
        content = content[inner]
    if not isinstance(content, Mapping) or not tensors:
        found = _listing(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise CheckpointError(
            f"no state dict was found in it (it holds: {found or 'nothing'})",
            where=source,
            fix=f"Tensors may be at the top level, or under one of: {', '.join(WRAPPERS)}.",
        )
    beside += [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    return tensors, tuple(beside)


def _without_prefixes(state: dict[str, Tensor], wanted: Iterable[str]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """*state* without the prefixes that most of its keys carry and no key of the network has."""
    wanted = frozenset(wanted)
    taken: list[str] = []
    while True:
        for prefix in (*PREFIXES, *MEMBERS):
            carrying = [key for key in state if key.startswith(prefix)]
            fits = prefix in PREFIXES or any(_bare(key, wanted) in wanted for key in carrying)
            if 2 * len(carrying) > len(state) and fits and not any(key.startswith(prefix) for key in wanted):
                break
        else:
            return state, tuple(taken)
        stripped: dict[str, Tensor] = {}
        for key, value in state.items():
            name = key.removeprefix(prefix)
            if name in stripped:
                raise CheckpointError(f"the entry {name!r} occurs twice, with and without the prefix {prefix!r}")
            stripped[name] = value
        state = stripped
        taken.append(prefix)


def _bare(key: str, wanted: Collection[str]) -> str:
    """*key* without all the prefixes it has, as far as it takes to be one of *wanted*."""
    while key not in wanted:
        prefix = next((prefix for prefix in (*PREFIXES, *MEMBERS) if key.startswith(prefix)), None)
        if prefix is None:
            break
        key = key.removeprefix(prefix)
    return key


@dataclass(frozen=True)
class _Source:
    """A published state under the names of the network."""

    name: str
    state: dict[str, Tensor]
    converted: frozenset[str]
    not_tensors: tuple[str, ...]
    prefixes: tuple[str, ...]


def read_weights(spec: BackboneSpec, paths: Sequence[Path]) -> Mapping[str, Tensor] | Path:
    """What `load_published` takes of the files of a model: one of a known format as it is, else all their entries.

    Raises:
        CheckpointError: A file cannot be read, or two files have an entry of one name.
        PluginError: The model's own reader fails, or returns something else than tensors by name.
    """
    if len(paths) == 1 and spec.reader is None:
        return paths[0]
    entries: dict[str, Tensor] = {}
    for path in paths:
        found = read_state(path) if spec.reader is None else _read_by_plugin(spec, spec.reader, path)
        if twice := sorted(entries.keys() & found.keys()):
            raise CheckpointError(
                f"the entries {_listing(twice)} stand in another file of the model too", where=path, fix="Keep one."
            )
        entries |= found
    return entries


def registered_weights(spec: BackboneSpec, *, progress: bool = False) -> tuple[Mapping[str, Tensor] | Path, Path]:
    """What `load_published` takes of the weights that the registry has of a model, and the path of its first file.

    Raises:
        WeightsError: They cannot be had.
        CheckpointError: As `read_weights` raises.
    """
    assert spec.weights is not None  # the caller has looked
    store = WeightsStore()
    paths = [store.fetch(one, name=spec.name, progress=progress) for one in spec.weights.files]
    return read_weights(spec, paths), paths[0]


def _read_by_plugin(spec: BackboneSpec, reader: str, path: Path) -> dict[str, Tensor]:
    host = get_host()
    read = host.resolve(spec, reader)
    with host.running(spec, f"reading {path}"):
        found = read(path)
    if not isinstance(found, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items()
    ):
        raise PluginError(
            f"the reader {reader!r} returned something else than tensors by name", where=host.owner(spec).place
        )
    return dict(found)


def _open(backbone: Fillable, source: Mapping[str, Any] | str | Path, where: str | Path | None) -> _Source:
    if isinstance(source, Mapping):
        name = "state dict" if where is None else str(where)
        tensors, beside = _unwrap(source, name)
    else:
        name = str(source)
        tensors, beside = _read(source)
    try:
        plain, prefixes = _without_prefixes(tensors, backbone.state_dict())
        state = backbone.convert_published(dict(plain))
    except CheckpointError as error:
        raise CheckpointError(error.what, where=error.where or name, fix=error.fix) from error
    converted = frozenset(key for key, value in state.items() if plain.get(key) is not value)
    return _Source(name, state, converted, beside, prefixes)


def published_classes(
    backbone: Backbone, source: Mapping[str, Any] | str | Path, *, where: str | Path | None = None
) -> int | None:
    """Number of classes of the head in *source*, by the shapes of *backbone*'s head; None where it has none.

    Arguments are as `load_published` takes them.

    Raises:
        CheckpointError: As `read_state` raises.
    """
    return _file_classes(backbone.class_rows(), _open(backbone, source, where).state)


def _file_classes(class_rows: Mapping[str, ClassRows], state: Mapping[str, Tensor]) -> int | None:
    counts = set()
    for key, rows in class_rows.items():
        if key in state:
            per_class = prod(size for size in rows.shape if size != -1)
            count, rest = divmod(state[key].numel(), per_class)
            if rest == 0:  # else the layer has another width, and the others may still tell
                counts.add(count)
    return counts.pop() if len(counts) == 1 else None


def load_published(
    backbone: Fillable,
    source: Mapping[str, Any] | str | Path,
    *,
    head: Literal["strict", "replace"] = "strict",
    where: str | Path | None = None,
) -> LoadReport:
    """Fill *backbone* with published weights; either every entry it needs is filled, or nothing is.

    Args:
        backbone: The network; its device and training mode stay.
        source: A file, or a state dict (possibly wrapped, possibly with prefixed keys).
        head: ``"strict"`` needs the file's head to fit. ``"replace"`` keeps the network's fresh parameters
            for layers of the head that do not fit or are not in the file, and lists them in the report.
        where: What a state dict is called in messages and in the report.

    Returns:
        What was loaded, converted, replaced and left over.

    Raises:
        CheckpointError: The file cannot be read, lacks an entry that the network needs, has one of another
            shape or with numbers that cannot be weights, or (strict) has another number of classes.
    """
    if head not in ("strict", "replace"):
        raise ValueError(f"head is {head!r}; it may be 'strict' or 'replace'")
    opened = _open(backbone, source, where)
    own = backbone.state_dict()
    file_classes = _file_classes(backbone.class_rows(), opened.state)
    absent = [key for key in own if key not in opened.state]
    misshapen = [key for key in own if key in opened.state and opened.state[key].shape != own[key].shape]
    fresh = frozenset(backbone.fresh_keys(opened.state)) & {*absent, *misshapen}
    absent = [key for key in absent if key not in fresh]
    misshapen = [key for key in misshapen if key not in fresh]
    replaced: set[str] = set()
    if head == "replace":
        replaced = _layers_of({*absent, *misshapen} & set(backbone.head_keys()), backbone.head_keys())
    missing = [key for key in absent if key not in replaced and not key.endswith(_COUNTER)]
    misshapen = [key for key in misshapen if key not in replaced]
    if missing or misshapen:
        raise _does_not_fit(backbone, opened, missing, misshapen, file_classes)
    kept = replaced | fresh
    chosen = {key: opened.state[key] for key in own if key in opened.state and key not in kept}
    require_weights(chosen, opened.name, own)
    backbone.load_state_dict(chosen, strict=False)
    spare = [key for key in opened.state if key not in own]
    ignored = tuple(key for key in spare if key.startswith(tuple(backbone.ignored_keys)))
    return LoadReport(
        source=opened.name,
        loaded=tuple(chosen),
        converted=tuple(key for key in chosen if key in opened.converted),
        replaced=tuple(key for key in own if key in replaced),
        fresh=tuple(key for key in own if key in fresh),
        missing=tuple(key for key in absent if key not in replaced),
        ignored=ignored,
        unused=tuple(key for key in spare if key not in ignored),
        not_tensors=opened.not_tensors,
        prefixes=opened.prefixes,
        file_classes=file_classes,
        classes=backbone.num_classes,
    )


def _layers_of(keys: set[str], head_keys: Iterable[str]) -> set[str]:
    """All entries of the layers that own *keys*: half of a layer's parameters must not meet another half."""
    layers = {key.rpartition(".")[0] for key in keys if not key.endswith(_COUNTER)}
    return {key for key in head_keys if key.rpartition(".")[0] in layers}


def _does_not_fit(
    backbone: Fillable, opened: _Source, missing: list[str], misshapen: list[str], file_classes: int | None
) -> CheckpointError:
    own = backbone.state_dict()
    by_class = set(backbone.class_rows())
    if not missing and file_classes is not None and set(misshapen) <= by_class:
        return CheckpointError(
            f"the file has {file_classes} classes and the network {backbone.num_classes}",
            where=opened.name,
            fix=f"Make the network with num_classes={file_classes} (give --labels with that many classes), "
            'or keep its fresh head with head="replace".',
        )
    if not set(own) & set(opened.state):
        return CheckpointError(
            f"none of the file's {len(opened.state)} entries ({_listing(opened.state)}) belongs to this "
            f"{type(backbone).__name__}, which needs {_listing(own)}",
            where=opened.name,
            fix="It is a checkpoint of another family.",
        )
    parts = []
    if missing:
        parts.append(f"it lacks {len(missing)} entries that the network needs: {_listing(missing)}")
    if misshapen:
        shapes = [
            f"{key} is {tuple(opened.state[key].shape)} there and {tuple(own[key].shape)} here" for key in misshapen
        ]
        parts.append(f"{len(misshapen)} entries have another shape: {_listing(shapes)}")
    fix = "Make the network with the options that the file was trained with (width, head, bands, mode, …)."
    if {*missing, *misshapen} <= set(backbone.head_keys()):
        fix = 'Only the head does not: give the options of the file\'s, or keep a fresh one (head="replace").'
    return CheckpointError("the file does not fit the network: " + "; ".join(parts), where=opened.name, fix=fix)


def require_weights(state: Mapping[str, Tensor], where: str | Path, network: Mapping[str, Tensor]) -> None:
    """Refuse entries that cannot stand in for those of *network*, by their type or by their numbers.

    Bad numbers are NaN, infinities, those beyond 1e14, and variances below 0. A bad type is one whose numbers mean
    something only with a scale that lies elsewhere (integers, 8-bit floats), one of no real numbers, or a sparse one.

    Raises:
        CheckpointError: Naming the entries.
    """
    odd = [
        f"{key} ({str(value.dtype if value.layout is torch.strided else value.layout).removeprefix('torch.')})"
        for key, value in state.items()
        if value.layout is not torch.strided or (network[key].is_floating_point() and value.dtype not in _FLOATS)
    ]
    if odd:
        raise CheckpointError(
            f"{len(odd)} entries are of a type that cannot be weights: {_listing(odd)}",
            where=where,
            fix="Save them as float32 (dense, and no longer quantised).",
        )
    bad = [key for key, value in state.items() if not _could_be_weights(key, value)]
    if bad:
        raise CheckpointError(
            f"{len(bad)} entries hold numbers that cannot be weights (not finite, or far too large): {_listing(bad)}",
            where=where,
            fix="The training that wrote it has diverged, or the file is damaged; take an earlier checkpoint.",
        )


def _could_be_weights(key: str, value: Tensor) -> bool:
    if not value.is_floating_point() or value.numel() == 0:
        return True
    least, most = (bound.item() for bound in torch.aminmax(value))  # NaN where there is one
    if key.endswith("running_var"):
        return least >= 0 and most <= _LARGEST**2
    return least >= -_LARGEST and most <= _LARGEST


def _listing(keys: Iterable[str], count: int = 6) -> str:
    keys = list(keys)
    more = f" and {len(keys) - count} more" if len(keys) > count else ""
    return ", ".join(keys[:count]) + more
