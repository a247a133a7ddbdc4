"""Descriptors of what plugins bring: frozen, cheap, and checked when they are made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pluggy

from audiotag.arguments import description, fits
from audiotag.display import brief_repr
from audiotag.errors import PluginError, suggest

INTERFACE_VERSION = 2
"""Version of the plugin interface. A plugin module may state the one it was written for as ``AUDIOTAG_INTERFACE``."""

ENTRY_POINT_GROUP = "audiotag"

hookimpl = pluggy.HookimplMarker("audiotag")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.()+-]*")
_FILENAME = re.compile(r"[^/\\]+")
_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


_unknown_fields: ContextVar[list[PluginError] | None] = ContextVar("unknown_fields", default=None)


@contextmanager
def noting_unknown_fields() -> Iterator[list[PluginError]]:
    """Within the block descriptors are made without the fields that there are not, which are noted in the list."""
    noted: list[PluginError] = []
    token = _unknown_fields.set(noted)
    try:
        yield noted
    finally:
        _unknown_fields.reset(token)


class _Checked(type):
    """Makes descriptors: a field that there is not is refused with what there is, or noted where the host asks so."""

    def __call__(cls, *arguments: Any, **values: Any) -> Any:
        known = cls.__dataclass_fields__  # type: ignore[attr-defined] # all of them are dataclasses
        noted = _unknown_fields.get()
        for name in [name for name in values if name not in known]:
            called = values.get("name", values.get("filename", "?"))
            error = PluginError(
                f"there is no field {name!r}",
                where=f"{cls.__name__} {called!r}",
                fix=suggest(name, known) or f"The fields are: {', '.join(known)}.",
            )
            if noted is None:
                raise error
            noted.append(error)
            del values[name]
        return super().__call__(*arguments, **values)


class _Descriptor(metaclass=_Checked):
    """What `Spec`, `Weights` and `Remote` share: fields are checked when one is made, and mappings are read-only."""

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():
            value = getattr(self, name)
            # A plugin's author may run no type checker.
            self._require(fits(value, hint), f"{name} must be {description(hint)}, not {value!r:.60}")
            if get_origin(hint) is Literal:
                self._require(value in get_args(hint), f"{name} {value!r} is not known")
            if isinstance(value, Mapping):
                object.__setattr__(self, name, MappingProxyType(dict(value)))

    def _require(self, condition: object, what: str) -> None:
        if not condition:
            called = getattr(self, "name", None) or getattr(self, "filename", "?")
            raise PluginError(what, where=f"{type(self).__name__} {called!r}")

    def _require_reference(self, field: str) -> None:
        reference = getattr(self, field)
        right = reference is None or _FACTORY.fullmatch(reference)
        self._require(right, f"{field} {reference!r} is not of the form 'package.module:callable'")

    def __getstate__(self) -> dict[str, Any]:
        # Read-only views cannot be pickled, and a tagger is handed to other processes with its descriptor.
        return {name: dict(one) if isinstance(one, Mapping) else one for name, one in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        views = {name: MappingProxyType(one) for name, one in state.items() if isinstance(one, dict)}
        self.__dict__.update(state, **views)


@brief_repr
@dataclass(frozen=True, kw_only=True)
class Spec(_Descriptor):
    """What every descriptor carries.

    Attributes:
        name: The name users type. Letters, digits and ``_ . ( ) + -``.
        summary: One line for lists.
        citation: Paper (with its year, arXiv number or DOI, equation or algorithm) or page that describes it.
    """

    name: str
    summary: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(_NAME.fullmatch(self.name), "the name may hold letters, digits and _.()+- only")

    @property
    def key(self) -> str:
        """What it is found by."""
        return self.name


@brief_repr
@dataclass(frozen=True, kw_only=True)
class MadeSpec(Spec):
    """What every descriptor of an implementation carries.

    Attributes:
        factory: The implementation as ``"package.module:callable"``.
    """

    factory: str

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_reference("factory")


@brief_repr
@dataclass(frozen=True, kw_only=True)
class Weights(_Descriptor):
    """A published file of weights.

    Attributes:
        urls: Addresses, tried in order: ``https:``, ``http:``, ``file:``, or what *fetcher* understands. A small file
            that a plugin ships itself has the one address ``package:NAME/path/in/package`` and states its sha256; it is
            used where it lies.
        filename: Name of the file in the cache.
        sha256: Hex digest, or None where the publisher gives none (then recorded at the first download).
        bytes: Size, or None where unknown.
        licence: Licence of the weights.
        note: A word to the user, shown by ``models info`` and when every address fails (a dead link, a login).
        fetcher: ``"package.module:callable"`` for addresses that plain HTTP does not serve, called as
            ``fetcher(url, path)``; None for HTTP and files.
        parts: Further files that make up the same network; the entries of all files are put together.
    """

    urls: tuple[str, ...]
    filename: str
    sha256: str | None = None
    bytes: int | None = None
    licence: str = "unknown"
    note: str = ""
    fetcher: str | None = None
    parts: tuple[Weights, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(
            self.urls and all(":" in url for url in self.urls), "urls must be a tuple of at least one address"
        )
        right = self.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", self.sha256)
        self._require(right, f"sha256 {self.sha256!r} is not 64 lower-case hex digits")
        self._require(_FILENAME.fullmatch(self.filename), "filename must be a plain file name")
        shipped = any(url.startswith("package:") for url in self.urls)
        alone = len(self.urls) == 1 and self.sha256 is not None
        self._require(alone or not shipped, "a file in a package has no other address, and states its sha256")
        others = len({one.filename for one in self.files}) > len(self.parts)
        whole = others and not any(part.parts for part in self.parts)
        self._require(whole, "parts must be files of other names, without parts")

    @property
    def files(self) -> tuple[Weights, ...]:
        """This file and its `parts`."""
        return (self, *self.parts)

    @property
    def shipped(self) -> tuple[str, str] | None:
        """(package, path in it) of a file that comes with a plugin's package; None for one to be downloaded."""
        scheme, _, place = self.urls[0].partition(":")
        package, _, path = place.partition("/")
        return (package, path) if scheme == "package" else None


@brief_repr
@dataclass(frozen=True, kw_only=True)
class BackboneSpec(MadeSpec):
    """A network that turns sound (and pictures) into class scores.

    A spec with `weights` is a published model that can be loaded by name; one without is a family from
    which fresh networks are made.

    Attributes:
        family: Name of the spec without weights from which this one is made (its own name for a family).
        sample_rate: Hz of the waveform that the network takes.
        clip_seconds: Length of clip that the network was trained on.
        min_seconds: Shortest input it is meant for; shorter clips are repeated up to this length.
        max_seconds: Longest input taken in one pass (longer recordings go through in windows of
            `clip_seconds`), None for no bound.
        embedding_dim: Size of the clip embedding, None where options decide it.
        labels: The ordered classes of the weights: the name of a class list of the core (``"audioset"``,
            ``"audioset_strong"``, ``"fsd50k"``, ``"home"``), or ``"package:path/in/package.csv"``; None where there
            are none.
        num_classes: Size of the published head, None for a family and for weights without a head (pre-training).
        single_label: True where logits mean a softmax over classes, False where each means a sigmoid.
        inputs: What the network takes: ``"waveform"``, ``"video"``.
        options: Settings handed to the factory, on top of its defaults.
        weights: Where the published weights are.
        reader: ``"package.module:callable"`` for files of weights that are neither PyTorch's format nor safetensors,
            called as ``reader(path)`` for each file, those of ``--weights`` too; returns name → tensor.
        licence: Licence of the code the network was described in.
        figures: Published results, name → value (``{"AudioSet mAP": 0.471}``).
        recipe: Name of a registered recipe with the family's own defaults for fine-tuning trained weights as a whole.
            What users say, by ``--recipe`` too, wins over it; a head that learns alone and a fresh network go without.
        resolver: For a family with more members than can be listed: ``"package.module:callable"`` that is called as
            ``resolver("FAMILY.REST")`` for such a name that nobody registers. It returns the descriptor of that name,
            or raises `audiotag.errors.UnknownNameError`.
        not_exported: Why its networks cannot be exported (`audiotag export`), as a clause; empty where they can.
        frame_scores: How its frames are scored (`Backbone.frame_logits`), for people; empty where clips are only.
    """

    family: str
    sample_rate: int
    clip_seconds: float
    min_seconds: float
    max_seconds: float | None = None
    embedding_dim: int | None = None
    labels: str | None = None
    num_classes: int | None = None
    single_label: bool = False
    inputs: tuple[str, ...] = ("waveform",)
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Weights | None = None
    reader: str | None = None
    licence: str = "unknown"
    figures: Mapping[str, float] = field(default_factory=dict)
    recipe: str | None = None
    resolver: str | None = None
    not_exported: str = ""
    frame_scores: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_reference("resolver")
        self._require_reference("reader")
        self._require(1000 <= self.sample_rate <= 384_000, f"sample_rate {self.sample_rate} Hz is out of range")
        self._require(0 < self.min_seconds <= self.clip_seconds, "min_seconds must lie between 0 and clip_seconds")
        bounded = self.max_seconds is None or self.max_seconds >= self.clip_seconds
        self._require(bounded, "max_seconds must be at least clip_seconds")
        known = self.inputs and set(self.inputs) <= {"waveform", "video"}
        self._require(known, "inputs may name 'waveform' and 'video' only")
        counted = self.labels is None or self.num_classes is not None
        self._require(counted, "a spec with labels must state num_classes")


@brief_repr
@dataclass(frozen=True, kw_only=True)
class Remote(_Descriptor):
    """A file that a data set is published in.

    Attributes:
        url: Its address, ``https:``, ``http:`` or ``file:``.
        filename: Its name in the folder it is downloaded to.
        checksum: ``"md5:…"`` or ``"sha256:…"`` as the publisher states it, None where none is stated.
        bytes: Size, or None where unknown.
        note: A word to the user (a login, a licence to accept).
    """

    url: str
    filename: str
    checksum: str | None = None
    bytes: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(":" in self.url, f"the address {self.url!r} has no scheme")
        self._require(_FILENAME.fullmatch(self.filename), "filename must be a plain file name")
        right = self.checksum is None or re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", self.checksum)
        self._require(right, f"checksum {self.checksum!r} is not md5:… or sha256:… in lower-case hex")


@brief_repr
@dataclass(frozen=True, kw_only=True)
class DatasetSpec(MadeSpec):
    """A way to read labelled clips. The factory returns an object that follows `Dataset`.

    A generic format (a CSV, a folder per class) has neither licence nor citation; a published data set states both,
    and its factory returns a `PublishedDataset`.

    Attributes:
        extensions: File endings that are read this way when the user names no format; ``"/"`` for folders.
        licence: Licence of the recordings, empty for a generic format.
        homepage: Where people get the data.
        remotes: The files it is published in, empty where they cannot be fetched one by one.
        splits: Names of the official splits, as `PublishedDataset.read` gives them in ``extra``.
    """

    extensions: tuple[str, ...] = ()
    licence: str = ""
    homepage: str = ""
    remotes: tuple[Remote, ...] = ()
    splits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(bool(self.licence) == bool(self.citation), "licence and citation go together")


@brief_repr
@dataclass(frozen=True, kw_only=True)
class LossSpec(MadeSpec):
    """A training loss. The factory returns a module that follows `Loss`, or `PairLoss` for the task ``"embedding"``.

    Attributes:
        task: ``"multilabel"``, ``"singlelabel"`` or ``"embedding"``: what it can be used for.
    """

    task: Literal["multilabel", "singlelabel", "embedding"] = "multilabel"


@brief_repr
@dataclass(frozen=True, kw_only=True)
class SamplingPolicySpec(MadeSpec):
    """A policy that chooses examples.

    Attributes:
        role: ``"training"`` chooses the clips of an epoch (`BatchSampler`); ``"storage"`` chooses what a
            bounded store keeps (`StoragePolicy`).
    """

    role: Literal["training", "storage"]


@brief_repr
@dataclass(frozen=True, kw_only=True)
class WriterSpec(MadeSpec):
    """A format of ``audiotag infer``. The factory is called with a `WriterSettings` and returns a `Writer`.

    Attributes:
        endings: Endings of an output's name that tell the format, with their dots.
        magic: What a file begins with that holds bytes rather than text. It can be read only when it is whole, and so
            is neither printed nor gone on with; the factory is called with the open file too, and returns a
            `FileWriter`.
        times: Whether it can say when something is heard; where not, events and windows are refused.
        least_score: Least score that is reported where the user names none; None: that of other formats.
        end_to_end: Whether recordings are laid end to end, so that the whole length of each must be known.
    """

    endings: tuple[str, ...] = ()
    magic: bytes = b""
    times: bool = True
    least_score: float | None = None
    end_to_end: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        right = all(ending.startswith(".") and ending == ending.lower() for ending in self.endings)
        self._require(right, "endings begin with a dot, in small letters")


@brief_repr
@dataclass(frozen=True, kw_only=True)
class SourceSpec(MadeSpec):
    """Where ``audiotag listen`` hears sound. The factory returns a `LiveSource` or a `RecordingSource`.

    Attributes:
        schemes: What its addresses begin with, without ``://``; a source without any is called ``NAME`` or
            ``NAME:PLACE``.
    """

    schemes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        right = all(re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) for scheme in self.schemes)
        self._require(right, "schemes are names in small letters, without ://")


@brief_repr
@dataclass(frozen=True, kw_only=True)
class OutputSpec(MadeSpec):
    """Who is told of sounds as they happen. The factory returns a `Delivery`, which gets a queue, or an `Output`."""


@brief_repr
@dataclass(frozen=True, kw_only=True)
class AugmentationSpec(MadeSpec):
    """How clips are varied in training. The factory returns a function of a batch; see `AugmentationContext`.

    Attributes:
        on: What it varies: ``"waveform"`` or ``"spectrogram"``. A network that does not bear it goes without.
    """

    on: Literal["waveform", "spectrogram"]


@brief_repr
@dataclass(frozen=True, kw_only=True)
class OptimiserSpec(MadeSpec):
    """How parameters follow the gradient. The factory returns a ``torch.optim.Optimizer``."""


@brief_repr
@dataclass(frozen=True, kw_only=True)
class ScheduleSpec(MadeSpec):
    """How the learning rate changes. The factory returns a function: position in epochs → factor of the base rate.

    Attributes:
        shape: The settings that shape it beside the warm-up, and their defaults; None where the factory knows better.
            There are ``initial_lr``, ``final_lr``, ``ramp_start``, ``ramp_length`` and ``step_every``.
    """

    shape: Mapping[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        known = ("initial_lr", "final_lr", "ramp_start", "ramp_length", "step_every")
        for name in self.shape:
            self._require(name in known, f"there is no setting {name!r} of schedules; there are {', '.join(known)}")


@brief_repr
@dataclass(frozen=True, kw_only=True)
class MetricSpec(MadeSpec):
    """A number that says how well scores fit the labels. The factory is the metric itself.

    Attributes:
        title: What reports call it; empty for its name.
        task: The data that it is for: ``"multilabel"``, ``"singlelabel"`` or ``"any"``; or ``"events"`` for one of
            sound events, which is called with `audiotag.evaluation.event_criteria.ScoredSet` alone.
    """

    title: str = ""
    task: Literal["multilabel", "singlelabel", "any", "events"] = "any"


@brief_repr
@dataclass(frozen=True, kw_only=True)
class CommandSpec(MadeSpec):
    """A click command of a plugin, reached as ``audiotag x GROUP NAME``.

    Attributes:
        group: Name of the group, usually the plugin's family.
    """

    group: str

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(_NAME.fullmatch(self.group), f"group {self.group!r} is not a plain name")

    @property
    def key(self) -> str:
        """Group and name."""
        return f"{self.group} {self.name}"


@brief_repr
@dataclass(frozen=True, kw_only=True)
class RecipeSpec(Spec):
    """Named settings of a fine-tuning run, kept as a TOML file in a package.

    The file holds settings of ``audiotag finetune`` and may have a table ``[options]`` of the backbone's family.

    Attributes:
        path: The file as ``"package:path/in/package.toml"``.
    """

    path: str

    def __post_init__(self) -> None:
        super().__post_init__()
        right = re.fullmatch(r"[A-Za-z_][\w.]*:[\w./-]+\.toml", self.path)
        self._require(right, f"path {self.path!r} is not of the form 'package:file.toml'")
