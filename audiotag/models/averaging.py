"""One network whose weights are the mean of several checkpoints' (PSLA's aggregation, Gong et al. 2021, section III-D).

Floating-point entries are averaged, batch-norm statistics among them, as PSLA does; what is counted in integers is
copied from the last. (The original's script counts its first checkpoint twice; this does not.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from audiotag.data.heard import CHOSEN_ON, LEARNED, Heard
from audiotag.errors import CheckpointError, LabelError, OptionError
from audiotag.folders import check_new_folder
from audiotag.models.checkpoint import save_checkpoint
from audiotag.models.create import resolved_options
from audiotag.models.heads import change_classes
from audiotag.models.loading import load_model
from audiotag.models.model import Model


class WeightMean:
    """The arithmetic mean of state dicts, summed in float64 in the order they come.

    Attributes:
        count: How many have been added.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[str, Tensor] = {}
        self._last: dict[str, Tensor] = {}

    def add(self, state: Mapping[str, Tensor]) -> None:
        """Count *state* (entries of any device) in; it is not kept.

        Raises:
            CheckpointError: Its entries or their shapes differ from those before.
        """
        known = self._sums | self._last
        wrong = sorted(set(known) ^ set(state)) or [key for key in known if known[key].shape != state[key].shape]
        if self.count and wrong:
            raise CheckpointError(f"weights of different networks cannot be averaged ({', '.join(wrong[:5])})")
        for key, value in state.items():
            tensor = value.detach().cpu()
            if not tensor.is_floating_point():
                self._last[key] = tensor.clone()
            elif key in self._sums:
                self._sums[key] += tensor
            else:
                self._sums[key] = tensor.double().clone()
        self.count += 1

    def mean(self, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean, on the CPU, in the types of *like*.

        Raises:
            CheckpointError: Nothing has been added.
        """
        if self.count == 0:
            raise CheckpointError("there are no weights to average")
        return {
            key: (self._sums[key] / self.count).to(like[key].dtype) if key in self._sums else self._last[key].clone()
            for key in like
        }

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes: tensors and plain values."""
        return {"count": self.count, "sums": dict(self._sums), "last": dict(self._last)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave, to the last bit."""
        self.count, self._sums, self._last = state["count"], dict(state["sums"]), dict(state["last"])


def average_checkpoints(sources: Sequence[str | Path], output: str | Path, *, name: str | None = None) -> Model:
    """Average checkpoints of one network and write the result as a checkpoint.

    Classes are matched by mid: rows of the others' heads are brought into the order of the first. What is counted in
    integers, and the family's own state (`Backbone.extra_state`), are copied from the last; clip length and training
    settings from the first. Tuned thresholds are left out: they belong to other scores.

    Args:
        sources: Two or more: checkpoint folders, run folders (their ``best``), or registered models.
        output: The new checkpoint folder; it must not exist yet.
        name: What the model is called; None for the folder's name.

    Raises:
        CheckpointError: A checkpoint cannot be read, or it is of another network (spec or options) than the first.
        LabelError: The classes differ.
        OptionError: There are fewer than two, or *output* exists.
        OutputError: *output* cannot be written.
    """
    output = Path(output)
    if len(sources) < 2:
        raise OptionError(f"{len(sources)} checkpoints are given", fix="Name two or more to average.")
    check_new_folder(output)
    mean = WeightMean()
    first: Model | None = None
    last: Model | None = None
    heard = {key: Heard() for key in (LEARNED, CHOSEN_ON)}
    for source in sources:
        last = load_model(source)
        if first is None:
            first = last
        else:
            _require_same(first, last, source)
            if last.labels.mids != first.labels.mids:
                change_classes(last, first.labels)
        mean.add(last.backbone.state_dict())
        for key in heard:
            heard[key] |= Heard.of_models([last.metadata], key)
    assert first is not None and last is not None
    backbone = last.backbone
    backbone.load_state_dict(mean.mean(backbone.state_dict()))
    kept: dict[str, Any] = {key: first.metadata[key] for key in ("clip_seconds", "training") if key in first.metadata}
    averaged = Model(
        backbone=backbone,
        spec=first.spec,
        options=first.options,
        labels=first.labels,
        name=name or output.name,
        single_label=first.single_label,
        metadata={
            **kept,
            **{key: str(one) for key, one in heard.items() if one},
            "averaged": {"count": mean.count, "from": [str(source) for source in sources]},
        },
    )
    save_checkpoint(output, averaged)
    return averaged


def _require_same(first: Model, other: Model, where: str | Path) -> None:
    if other.spec.name != first.spec.name:
        raise CheckpointError(
            f"it is of the model {other.spec.name!r}, and the first is of {first.spec.name!r}",
            where=where,
            fix="Average checkpoints of one model; different ones make an ensemble (audiotag models ensemble).",
        )
    mine, theirs = (resolved_options(model.spec, model.options) for model in (other, first))
    if differing := sorted(key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key)):
        raise CheckpointError(
            f"its options differ from those of the first: {', '.join(differing)}",
            where=where,
            fix="Average checkpoints made with the same options, such as the epochs of one run.",
        )
    if other.single_label != first.single_label:
        raise LabelError(
            "its scores mean something else than the first's (one class, or any number)",
            where=where,
            fix="Average checkpoints of one kind.",
        )
    change = first.labels.change_to(other.labels)
    if change.added or change.dropped:
        raise LabelError(
            f"its classes differ from those of the first: {change}",
            where=where,
            fix="Average checkpoints of the same classes.",
        )
