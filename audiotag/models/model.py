"""A network together with what its scores mean."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.windows import PassLengths
from audiotag.display import Shown, line
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.adapters import Adapters
from audiotag.models.backbone import Backbone
from audiotag.specs import BackboneSpec


@dataclass
class Model:
    """A backbone with its classes.

    Attributes:
        backbone: The network.
        spec: Descriptor it was made from.
        options: Settings handed to the factory, so that it can be made again.
        labels: The classes of its scores, in order.
        name: What messages and outputs call it.
        single_label: True where scores are a softmax over classes, False for a sigmoid of each.
        thresholds: Score from which a class counts as detected, float (classes,); None where none were tuned.
        metadata: What a checkpoint of ours says beyond that (metrics, training settings).
        adapters: The adapters that the network has while it learns them; None where they are merged or there are none.
    """

    backbone: Backbone
    spec: BackboneSpec
    options: Mapping[str, Any]
    labels: LabelSet
    name: str
    single_label: bool = False
    thresholds: NDArray[np.float64] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    adapters: Adapters | None = None

    def __repr__(self) -> str:
        network = type(self.backbone).__name__
        return line(self, self.name, Shown(network), Shown(f"{len(self.labels)} classes"), **dict(self.options))

    @property
    def clip_seconds(self) -> float:
        """Length of clip the network was trained on."""
        trained = float(self.metadata.get("clip_seconds", self.spec.clip_seconds))
        return trained if self.max_seconds is None else min(trained, self.max_seconds)

    @property
    def max_seconds(self) -> float | None:
        """Longest sound taken in one pass, None for no bound."""
        return self.spec.max_seconds if self.backbone.max_seconds is None else self.backbone.max_seconds

    @property
    def lengths(self) -> PassLengths:
        """How much sound goes in one pass, in tagging and wherever clips are taken as they are."""
        return PassLengths.of(
            self.backbone.sample_rate,
            shortest=self.spec.min_seconds,
            clip=self.clip_seconds,
            longest=self.max_seconds,
            window_mean=self.backbone.window_mean,
        )

    def computing(self, doing: str = "computing") -> AbstractContextManager[None]:
        """A context for every call of the network: what it raises names the plugin that brings it, and the model."""
        return get_host().computing(self.spec, f"{doing} {self.name!r}")
