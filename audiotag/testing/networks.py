"""Networks and inputs for the checks of backbones."""

from __future__ import annotations

import copy
from functools import lru_cache

import torch
from torch import Tensor, nn

from audiotag.audio.frontends.torch_executor import FrontEnd
from audiotag.labels import LabelSet
from audiotag.models.backbone import Backbone
from audiotag.models.create import create_backbone
from audiotag.models.loading import numbered_labels
from audiotag.models.model import Model
from audiotag.seeding import scoped_torch_rng, torch_generator
from audiotag.testing.check import require, skip
from audiotag.testing.subjects import Subject

CLASSES = 5
BATCH = 3
_SHORT = 1.0


def fresh(subject: Subject, classes: int = CLASSES, *, seed: int = 0) -> Backbone:
    """A new network, in training mode."""
    return create_backbone(subject.spec, classes, seed=seed, **subject.options)


def settled(subject: Subject) -> Backbone:
    """A copy of the network, in eval mode, whose statistics have seen some sound and whose head is no longer fresh.

    A fresh network's running statistics are far from what its layers give, and its outputs may hardly depend on the
    input; a head that begins with zeros would hide every mistake.
    """
    return copy.deepcopy(_settled(subject))


@lru_cache(maxsize=1)
def _settled(subject: Subject) -> Backbone:
    network = fresh(subject).train()
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [module.momentum for module in norms]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # the statistics become those of the one batch
    with torch.no_grad(), scoped_torch_rng("settled"):
        if norms:
            network(**inputs(subject, network, seed=1))
        for parameter in network.head_parameters():
            # Little, so that heads whose parameters have a meaning (shares of attention) keep within it.
            fan_in = parameter.numel() // max(1, len(parameter)) if parameter.ndim > 1 else 1
            parameter.add_(torch.randn(parameter.shape), alpha=0.1 / fan_in**0.5)
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum
    return network.eval()


def seconds_of(subject: Subject, network: Backbone, wanted: float = _SHORT) -> float:
    """*wanted* seconds, or as near to that as the network takes in one pass."""
    shortest, longest = model_of(subject, network).lengths.bounds
    return min(max(wanted, shortest), longest)


def longest_of(subject: Subject, network: Backbone) -> float:
    """Seconds that the network takes in one pass."""
    return model_of(subject, network).lengths.longest


def waveforms(network: Backbone, batch: int, seconds: float, seed: int = 0) -> Tensor:
    """Noise with a different tone in each clip, float32 (batch, samples)."""
    count = max(1, round(seconds * network.sample_rate))
    time = torch.arange(count) / network.sample_rate
    tones = torch.stack([torch.sin(2 * torch.pi * (300.0 + 170.0 * index) * time) for index in range(batch)])
    noise = torch.randn(batch, count, generator=torch_generator("waveforms", seed))
    return 0.2 * tones + 0.05 * noise


def inputs(
    subject: Subject, network: Backbone, batch: int = BATCH, seconds: float | None = None, *, seed: int = 0
) -> dict[str, Tensor]:
    """What the network's `inputs` name, a different clip in each row."""
    given: dict[str, Tensor] = {}
    if "waveform" in network.inputs:
        length = seconds_of(subject, network) if seconds is None else seconds
        given["waveform"] = waveforms(network, batch, length, seed)
    if "video" in network.inputs:
        shape = network.video_shape
        require(shape is not None, "inputs names 'video', and video_shape is None; state (channels, height, width)")
        assert shape is not None
        given["video"] = torch.randn(batch, *shape, generator=torch_generator("video", seed))
    return given


def ready(subject: Subject, batch: int = BATCH) -> tuple[Backbone, dict[str, Tensor]]:
    """A `settled` network, and `inputs` for it."""
    network = settled(subject)
    return network, inputs(subject, network, batch)


def front_end_of(network: Backbone) -> FrontEnd:
    """Its front end; the check is skipped for a network that takes pictures only."""
    if "waveform" not in network.inputs or network.front_end is None:
        skip("it takes no sound")
    return network.front_end


def spectrogram_of(network: Backbone, given: dict[str, Tensor]) -> Tensor | None:
    """What the front end makes of the sound in *given*, where there is any."""
    if "waveform" not in given or network.front_end is None:
        return None
    spectrogram: Tensor = network.front_end(given["waveform"])
    return spectrogram


def model_of(subject: Subject, network: Backbone, labels: LabelSet | None = None) -> Model:
    """The network with classes, as the tool handles it."""
    options = {**subject.spec.options, **subject.options}
    if labels is None:
        labels = numbered_labels(network.num_classes)
    return Model(network, subject.spec, options, labels, subject.name, single_label=subject.spec.single_label)


def require_close(found: Tensor, expected: Tensor, what: str, tolerance: float = 1e-3) -> None:
    """Fail unless both agree to within *tolerance* of the largest magnitude."""
    require(found.shape == expected.shape, f"{what}: the shapes are {tuple(found.shape)} and {tuple(expected.shape)}")
    scale = max(float(expected.abs().max()), 1e-3)
    difference = float((found - expected).abs().max())
    require(difference <= tolerance * scale, f"{what}: they differ by {difference:.3g}, of {scale:.3g} at most")


def require_shape(found: object, shape: tuple[int, ...], what: str) -> None:
    """Fail unless *found* is a finite float32 tensor of *shape*."""
    require(isinstance(found, Tensor), f"{what} is a {type(found).__name__}, not a tensor")
    assert isinstance(found, Tensor)
    require(tuple(found.shape) == shape, f"{what} has the shape {tuple(found.shape)}, not {shape}")
    require(found.dtype == torch.float32, f"{what} is {found.dtype}, not float32")
    require(bool(torch.isfinite(found).all()), f"{what} is not finite")
