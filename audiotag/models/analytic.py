"""A head that never forgets: ridge regression on sums over clips, which neither their order nor their number changes.

Analytic continual learning: Zhuang et al., ACIL, NeurIPS 2022 (arXiv 2205.14922); the layer of random features:
McDonnell et al., RanPAC, NeurIPS 2023 (arXiv 2307.02251).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from audiotag.arguments import real_number, whole_number
from audiotag.documents import Fields, json_text, parse_json
from audiotag.errors import CheckpointError, LabelError, OptionError
from audiotag.files import write_atomically
from audiotag.labels import Label, LabelSet
from audiotag.models.ridge import (
    UNKNOWN,
    Array,
    Solution,
    Sums,
    calibrated,
    choose_penalty,
    inverse_at,
    require_clips,
    solve,
)

_FORMAT, _VERSION = "audiotag analytic learner", 1
_FIX = "Copy it again from where it was written."
_LARGEST_SIDE = 20_000  # features: 1.6 GB


class AnalyticLearner:
    """Classes learnt from embeddings in closed form, one clip at a time, without forgetting and without kept sound.

    Embeddings are scaled to unit length, and centred at the mean of all clips when the head is solved for. All that is
    kept are sums over clips: one symmetric matrix, and one column for each class. So the order of clips does not matter
    (unless *forgetting* is below 1), a clip can be taken out again, and the sums of two learners add up to those of one
    that was given the clips of both.

    With one class a clip, the classes are told apart by the cosine to their means, in the metric of the covariance of
    all clips shrunk towards the identity (Friedman, Regularized discriminant analysis, 1989). With several, each class
    has a ridge regression, and the penalty is chosen by generalised cross-validation. Scores are calibrated by a
    sigmoid (Platt, 1999), or a softmax, whose slope follows from the same sums by estimates of the left-out residuals.

    Args:
        labels: The classes at first.
        dim: Length of an embedding.
        single_label: Whether a clip has one class at most.
        penalty: Ridge penalty on embeddings of unit length; None chooses it from the sums.
        forgetting: Factor in (0, 1] on everything learnt before, at each clip: 0.999 gives the last thousand clips most
            of the weight. The order of clips then matters.
        random_features: Number of random rectified features in place of the embedding itself; 0 for none.
        seed: Of these features.
        origin: Fingerprint of the network that gives the embeddings, where it is known: learners of different networks
            are not merged.

    Attributes:
        labels: The classes.
        sums: What is kept of the clips, to look at only.

    Raises:
        OptionError: A value is out of range.
    """

    def __init__(
        self,
        labels: LabelSet,
        dim: int,
        *,
        single_label: bool = True,
        penalty: float | None = None,
        forgetting: float = 1.0,
        random_features: int = 0,
        seed: int = 0,
        origin: str = "",
    ) -> None:
        self.labels = labels
        self.origin = origin
        self.dim = whole_number("dim", dim)
        self.single_label = single_label
        self.penalty = None if penalty is None else real_number("penalty", penalty, least=1e-12)
        self.forgetting = real_number("forgetting", forgetting, least=1e-6, most=1.0)
        self.random_features = whole_number("random_features", random_features, least=0)
        self.seed = whole_number("seed", seed, least=0)
        features = self.random_features or self.dim
        if features > _LARGEST_SIDE:
            raise OptionError(f"there would be {features} features", fix=f"Use at most {_LARGEST_SIDE}.")
        self.sums = Sums.empty(features, len(labels))
        self._solution: Solution | None = None
        self._projection: Array | None = None

    def __repr__(self) -> str:
        return f"AnalyticLearner({len(self.labels)} classes, dim={self.dim}, clips={self.clips:g})"

    @property
    def clips(self) -> float:
        """Sum of the weights of the clips that are known now."""
        return float(self.sums.weights[0])

    @property
    def counts(self) -> Array:
        """Sum of the weights of the clips of each class, float64 (classes,)."""
        return self.sums.counts.copy()

    def learn(self, embedding: ArrayLike, labels: str | Iterable[str], weight: float = 1.0) -> None:
        """Learn one clip.

        Args:
            embedding: (dim,), not zero.
            labels: Its classes, by mid or name; none of them for a clip of another sound.
            weight: How much it counts, above 0.

        Raises:
            LabelError: A class is unknown, or there are several and clips have one.
            OptionError: The embedding or the weight cannot be.
        """
        self._change(np.atleast_2d(np.asarray(embedding, dtype=np.float64)), [labels], [weight], 1)

    def learn_clips(
        self, embeddings: ArrayLike, labels: Iterable[str | Iterable[str]], weights: ArrayLike | None = None
    ) -> None:
        """Learn clips one after another.

        Args:
            embeddings: (clips, dim).
            labels: The classes of each, as for `learn`.
            weights: (clips,); None for 1 each.

        Raises:
            LabelError: As `learn`; nothing is learnt.
            OptionError: As `learn`, or the numbers of clips differ; nothing is learnt.
        """
        matrix = np.asarray(embeddings, dtype=np.float64)
        self._change(matrix, list(labels), np.ones(len(matrix)) if weights is None else weights, 1)

    def unlearn(self, embedding: ArrayLike, labels: str | Iterable[str], weight: float = 1.0) -> None:
        """Take a clip out again, as if it had never been learnt.

        Args:
            embedding: As it was given to `learn`.
            labels: As they were.
            weight: As it was; with a forgetting factor f, times f for each clip learnt since.

        Raises:
            LabelError: As `learn`.
            OptionError: As `learn`, or fewer clips are known.
        """
        self._change(np.atleast_2d(np.asarray(embedding, dtype=np.float64)), [labels], [weight], -1)

    def add_classes(self, labels: Iterable[Label]) -> None:
        """Have more classes; those that are there already stay as they are."""
        self.set_classes(self.labels.extended(labels))

    def set_classes(self, labels: LabelSet) -> None:
        """Have these classes, in this order, matched by mid; those that are left out are forgotten (`remove_class`)."""
        self.sums.choose(labels.positions_in(self.labels))
        self.labels, self._solution = labels, None

    def remove_class(self, label: str) -> None:
        """Forget a class: its clips are then clips of none, as if they had been learnt without this label.

        What they add to the covariance of all clips stays; `unlearn` takes that out, clip by clip.

        Raises:
            LabelError: There is no such class, or no other.
        """
        place = self.labels.index(label)
        kept = [one for index, one in enumerate(self.labels) if index != place]
        self.set_classes(LabelSet(kept, self.labels.source))

    def merge(self, other: AnalyticLearner) -> AnalyticLearner:
        """The learner of the clips of both; classes are matched by mid, this one's first.

        Raises:
            OptionError: They were made with other settings.
        """
        mine, its = self._settings(), other._settings()
        differing = [name for name in mine if mine[name] != its[name]]
        if "origin" in differing:
            raise OptionError(
                "the learners learnt from the embeddings of different networks",
                fix="Merge learners of one model, not fine-tuned in between.",
            )
        if differing:
            raise OptionError(
                f"the learners differ in {', '.join(differing)}", fix="Merge learners made with the same settings."
            )
        merged, added = deepcopy(self), deepcopy(other.sums)
        merged.add_classes(other.labels)
        added.choose(merged.labels.positions_in(other.labels))
        for field in fields(Sums):
            getattr(merged.sums, field.name)[...] += getattr(added, field.name)
        merged._solution = None
        return merged

    def chosen_penalty(self) -> float:
        """The ridge penalty in use.

        Raises:
            TrainingError: No clip is known.
        """
        require_clips(self.sums)
        if self.penalty is not None:
            return self.penalty
        return choose_penalty(self.sums, single_label=self.single_label)

    def cross_validation_error(self, penalty: float) -> float:
        """Generalised cross-validation's estimate of the squared error on a new clip, summed over classes.

        Raises:
            OptionError: The penalty is not above 0.
            TrainingError: No clip is known.
        """
        return float(self._solve(real_number("penalty", penalty, least=1e-12)).errors.sum())

    def decisions(self, embeddings: ArrayLike) -> Array:
        """Logits of clips, float64 (clips, classes): −∞ for classes without clips.

        Args:
            embeddings: (clips, dim).

        Raises:
            OptionError: The embeddings cannot be.
            TrainingError: No clip is known.
        """
        weight, bias = self._affine()
        decisions: Array = self._features(np.asarray(embeddings, dtype=np.float64)) @ weight + bias
        decisions[:, bias == UNKNOWN] = -np.inf
        return decisions

    def linear(self) -> tuple[Array, Array]:
        """The head as a linear layer over embeddings of unit length: weight (classes, dim) and bias (classes,).

        Its outputs are `decisions`, but for −10⁴ in place of −∞. Without any clip all are.

        Raises:
            OptionError: There are random features before it.
        """
        if self.random_features:
            raise OptionError("random features are no linear layer", fix="Make the learner with random_features=0.")
        if not self.clips:
            return np.zeros((len(self.labels), self.dim)), np.full(len(self.labels), UNKNOWN)
        weight, bias = self._affine()
        return np.ascontiguousarray(weight.T), bias

    def scores(self, embeddings: ArrayLike) -> Array:
        """Calibrated probabilities of clips, float64 (clips, classes) in [0, 1]; 0 for classes without clips.

        Args:
            embeddings: (clips, dim).

        Raises:
            OptionError: As `decisions`.
            TrainingError: As `decisions`.
        """
        logits = self.decisions(embeddings)
        if not self.single_label:
            sigmoid: Array = np.exp(-np.logaddexp(0.0, -logits))
            return sigmoid
        best = logits.max(axis=1, keepdims=True)
        exponentials = np.exp(logits - np.where(np.isfinite(best), best, 0.0))
        softmax: Array = exponentials / np.maximum(exponentials.sum(axis=1, keepdims=True), 1e-300)
        return softmax

    def save(self, path: str | Path) -> None:
        """Write the learner to a safetensors file, in one step.

        It holds half of the matrix, a column for each class, a checksum, and no clip.

        Raises:
            OutputError: It cannot be written.
        """
        write_atomically(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """What `save` writes."""
        from safetensors.numpy import save

        arrays = {field.name: getattr(self.sums, field.name) for field in fields(Sums)}
        arrays["gram"] = self.sums.gram[np.tril_indices(len(self.sums.gram))]
        facts = {
            "format": _FORMAT,
            "format_version": _VERSION,
            "mids": self.labels.mids,
            "names": self.labels.names,
            **self._settings(),
        }
        facts["checksum"] = _checksum(facts, arrays)
        return save(arrays, metadata={"audiotag": json_text(facts)})  # one entry: their order is by chance

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            CheckpointError: The file is no learner, or damaged.
        """
        facts, arrays = _read(Path(path))
        mids, names = facts.texts("mids"), facts.texts("names")
        dim, random_features = facts.integer("dim", least=1), facts.integer("random_features", least=0)
        side = random_features or dim
        expected = {
            "gram": (side * (side + 1) // 2,),
            "total": (side,),
            "by_class": (side, len(mids)),
            "counts": (len(mids),),
            "weights": (2,),
        }
        if {name: array.shape for name, array in arrays.items()} != expected or len(names) != len(mids):
            raise CheckpointError("its sums do not fit its settings", where=path, fix=_FIX)
        if not all(array.dtype == np.float64 and np.isfinite(array).all() for array in arrays.values()):
            raise CheckpointError("its sums are not finite numbers of float64", where=path, fix=_FIX)
        try:
            learner = cls(
                LabelSet(map(Label, mids, names), str(path)),
                dim,
                single_label=facts.flag("single_label"),
                penalty=None if facts.get("penalty") is None else facts.number("penalty"),
                forgetting=facts.number("forgetting"),
                random_features=random_features,
                seed=facts.integer("seed"),
                origin=facts.text("origin"),
            )
        except (OptionError, LabelError) as error:
            raise CheckpointError(f"its settings cannot be ({error})", where=path, fix=_FIX) from error
        learner.sums.gram[np.tril_indices(side)] = arrays.pop("gram")
        for name, array in arrays.items():
            getattr(learner.sums, name)[...] = array
        return learner

    def _settings(self) -> dict[str, Any]:
        names = ("dim", "single_label", "penalty", "forgetting", "random_features", "seed", "origin")
        return {name: getattr(self, name) for name in names}

    def _change(self, embeddings: Array, labels: list[str | Iterable[str]], weights: ArrayLike, sign: int) -> None:
        inputs, factors = self._features(embeddings), np.asarray(weights, dtype=np.float64)
        if factors.shape != (len(inputs),) or len(labels) != len(inputs):
            raise OptionError(
                f"there are {len(inputs)} embeddings, {len(labels)} labels and weights of shape {factors.shape}",
                fix="Give the labels and the weight of each clip.",
            )
        if not (np.isfinite(factors) & (factors > 0)).all():
            raise OptionError("a weight is not above 0", fix="Use unlearn to take a clip out.")
        targets = np.stack([self._targets(one) for one in labels]) if labels else np.zeros((0, len(self.labels)))
        sums = self.sums
        if sign < 0:
            if sums.weights[0] < factors.sum() - 1e-9 or (sums.counts < factors @ targets - 1e-9).any():
                raise OptionError("fewer clips are known", fix="Take out only what was learnt, with its labels.")
            sums.add(inputs, targets, factors, -1)
            sums.clear_rounding()
        elif self.forgetting == 1.0:
            sums.add(inputs, targets, factors, 1)
        else:
            for row in range(len(inputs)):
                sums.fade(self.forgetting)
                sums.add(inputs[row : row + 1], targets[row : row + 1], factors[row : row + 1], 1)
        self._solution = None

    def _targets(self, labels: str | Iterable[str]) -> Array:
        columns = {self.labels.index(label) for label in ([labels] if isinstance(labels, str) else labels)}
        if self.single_label and len(columns) > 1:
            raise LabelError(
                "a clip has several labels", where=self.labels.source, fix="Make the learner with single_label=False."
            )
        targets = np.zeros(len(self.labels))
        targets[list(columns)] = 1.0
        return targets

    def _features(self, embeddings: Array) -> Array:
        """What the sums are of: (clips, features), rows of unit length."""
        if embeddings.ndim != 2 or embeddings.shape[1] != self.dim:
            raise OptionError(
                f"the embeddings have the shape {embeddings.shape}", fix=f"Give (clips, {self.dim}), one row a clip."
            )
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            raise OptionError("an embedding is zero, or not finite", fix="Leave this clip out.")
        rows: Array = embeddings / lengths
        if not self.random_features:
            return rows
        if self._projection is None:
            generator = np.random.default_rng(self.seed)
            self._projection = generator.standard_normal((self.dim, self.random_features))
        rectified = np.maximum(rows @ self._projection, 0.0)
        rows = rectified / np.maximum(np.linalg.norm(rectified, axis=1, keepdims=True), 1e-12)
        return rows

    def _affine(self) -> tuple[Array, Array]:
        return calibrated(self.sums, self._solved(), single_label=self.single_label)

    def _solved(self) -> Solution:
        if self._solution is None:
            self._solution = self._solve(self.chosen_penalty())
        return self._solution

    def _solve(self, penalty: float) -> Solution:
        require_clips(self.sums)
        return solve(self.sums, penalty, inverse_at(self.sums, penalty))


def _read(path: Path) -> tuple[Fields, dict[str, Array]]:
    """The facts and arrays of a file, as they stand there."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get("audiotag", "{}")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the file cannot be read ({error})", where=path, fix=_FIX) from error
    content = parse_json(text, where=path, error=CheckpointError, fix=_FIX)
    facts = Fields(content, where=path, error=CheckpointError, name="learner")
    facts.require_format(_FORMAT, _VERSION, "an analytic learner")
    if content.pop("checksum", None) != _checksum(content, arrays):
        raise CheckpointError("its content is not what its checksum says", where=path, fix=_FIX)
    return facts, arrays


def _checksum(facts: dict[str, Any], arrays: dict[str, Array]) -> str:
    """Of all that a file says, so that a single wrong bit is noticed."""
    found = hashlib.blake2b(json_text(facts).encode(errors="surrogatepass"), digest_size=16)
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        found.update(np.ascontiguousarray(arrays[name]).data)
    return found.hexdigest()
