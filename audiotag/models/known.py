"""The models that there are: what `audiotag models list` prints, for programs and notebooks. No torch is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from audiotag.display import brief_repr, html_table, line
from audiotag.errors import OptionError, needed_for
from audiotag.host import get_host
from audiotag.models.costs import known_costs
from audiotag.models.store import WeightsStore
from audiotag.specs import BackboneSpec

if TYPE_CHECKING:
    import pandas


@brief_repr
@dataclass(frozen=True)
class KnownModel:
    """A model with published weights, or a family, which makes fresh networks.

    Attributes:
        name: What `audiotag.load` and `audiotag.finetune` take.
        family: The family.
        summary: What it is, in a sentence.
        sample_rate: Hz.
        clip_seconds: Length of clip that it was trained on.
        num_classes: Classes of the weights; None for a family.
        bytes: Size of the weights; None where there are none, or it is not known.
        downloaded: Whether the weights are on this machine; None for a family.
        figures: Published results, name → number.
        inputs: What it takes: ``"waveform"``, ``"video"``.
        plugin: Distribution that brings it.
        parameters: Trainable numbers; this and what follows as `audiotag.models.costs` tells of it, None where it does
            not.
        macs: Multiply-accumulates for ten seconds of sound.
        torch_ms: Milliseconds for ten seconds of sound on one thread, by torch.
        torch_mb: Most memory in MB, by torch.
        onnx_ms: Milliseconds by ONNX Runtime.
        onnx_mb: Most memory by ONNX Runtime.
    """

    name: str
    family: str
    summary: str
    sample_rate: int
    clip_seconds: float
    num_classes: int | None = None
    bytes: int | None = None
    downloaded: bool | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    inputs: tuple[str, ...] = ("waveform",)
    plugin: str = ""
    parameters: int | None = None
    macs: int | None = None
    torch_ms: float | None = None
    torch_mb: float | None = None
    onnx_ms: float | None = None
    onnx_mb: float | None = None

    @property
    def score(self) -> float | None:
        """Published mAP on AudioSet, by which most can be compared."""
        return self.figures.get("AudioSet mAP")

    @property
    def speed(self) -> float | None:
        """Milliseconds of the quicker engine."""
        return self.torch_ms if self.onnx_ms is None else min(self.onnx_ms, self.torch_ms or self.onnx_ms)

    @property
    def memory(self) -> float | None:
        """MB of the smaller engine."""
        return self.torch_mb if self.onnx_mb is None else min(self.onnx_mb, self.torch_mb or self.onnx_mb)

    @property
    def result(self) -> str:
        """The first of the published results, in words; empty where there is none."""
        return next((f"{figure} {value:g}" for figure, value in self.figures.items()), "")


class KnownModels(Sequence[KnownModel]):
    """A list of models, in a notebook a table."""

    def __init__(self, models: Iterable[KnownModel]) -> None:
        self._models = tuple(models)

    def __len__(self) -> int:
        return len(self._models)

    @overload
    def __getitem__(self, wanted: int | str) -> KnownModel: ...

    @overload
    def __getitem__(self, wanted: slice) -> KnownModels: ...

    def __getitem__(self, wanted: Any) -> Any:
        if isinstance(wanted, str):
            found = next((one for one in self if one.name == wanted), None)
            if found is None:
                raise KeyError(wanted)
            return found
        found = self._models[wanted]
        return KnownModels(found) if isinstance(wanted, slice) else found

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(one.name for one in self)

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the published results that any of them has."""
        return tuple(dict.fromkeys(figure for one in self for figure in one.figures))

    def sorted(self, by: str, *, reverse: bool = False) -> KnownModels:
        """The same models in another order; those that do not have what is asked for come last.

        Args:
            by: An attribute (``"name"``, ``"score"``, ``"speed"``), or one of the published results
                (``"ESC-50 accuracy"``).
            reverse: The highest first.

        Raises:
            OptionError: No model has anything of that name.
        """
        known = (*_FIELDS, *_OF_SEVERAL)
        values: dict[str, Any] = {one.name: getattr(one, by) if by in known else one.figures.get(by) for one in self}
        if self and by not in (*known, *self.figures):
            raise OptionError(f"no model has {by!r}", fix=f"There are: {', '.join([*known, *self.figures])}.")
        having = [one for one in self if values[one.name] is not None]
        lacking = [one for one in self if values[one.name] is None]
        return KnownModels([*sorted(having, key=lambda one: values[one.name], reverse=reverse), *lacking])

    def to_frame(self) -> pandas.DataFrame:
        """A DataFrame: a row a model, and of its attributes a column each."""
        with needed_for("a DataFrame"):
            import pandas
        return pandas.DataFrame([[getattr(one, name) for name in _FIELDS] for one in self], columns=list(_FIELDS))

    def __repr__(self) -> str:
        return line(self, *self.names)

    def __str__(self) -> str:
        """A line for each model."""
        width = max(map(len, self.names), default=0)
        return "\n".join(f"{one.name:{width}}  {one.summary}. {one.result}".rstrip() for one in self)

    def _repr_html_(self) -> str:
        shown = ("name", "family", "summary", "sample_rate", "num_classes", "downloaded")
        columns = {name: [getattr(one, name) for one in self] for name in shown}
        columns |= {figure: [one.figures.get(figure) for one in self] for figure in self.figures}
        return html_table(columns, f"{len(self)} models")


_FIELDS = tuple(KnownModel.__dataclass_fields__)
_OF_SEVERAL = ("score", "speed", "memory")
_COSTS = ("parameters", "macs", "torch_ms", "torch_mb", "onnx_ms", "onnx_mb")


def known_models(family: str | None = None, *, published: bool = False) -> KnownModels:
    """The models and families that the installed plugins bring; `audiotag.models` can be called for the same.

    Args:
        family: Only those of this family.
        published: Only models with published weights, no bare families.

    Raises:
        UnknownNameError: There is no such family.
    """
    host = get_host()
    if family is not None:
        family = host.backbone(family).name  # an unknown family is an error with close matches
    store = WeightsStore()
    return KnownModels(
        _known(name, spec, store)  # the name in full where several plugins have it
        for name, spec in host.backbones.items()
        if (family is None or spec.family == family) and (not published or spec.weights is not None)
    )


def _known(name: str, spec: BackboneSpec, store: WeightsStore) -> KnownModel:
    weights = spec.weights
    files = () if weights is None else weights.files
    sizes = [file.bytes for file in files]
    cost = known_costs().get(name)
    return KnownModel(
        name=name,
        family=spec.family,
        summary=spec.summary,
        sample_rate=spec.sample_rate,
        clip_seconds=spec.clip_seconds,
        num_classes=spec.num_classes,
        bytes=sum(size or 0 for size in sizes) if sizes and None not in sizes else None,
        downloaded=None if weights is None else store.has(weights),
        figures=spec.figures,
        inputs=spec.inputs,
        plugin=get_host().owner(spec).distribution,
        **({} if cost is None else {one: getattr(cost, one) for one in _COSTS}),
    )
