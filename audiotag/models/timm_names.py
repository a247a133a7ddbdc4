"""Names of timm's image models: a few that are listed, and every other one.

``timm.ARCHITECTURE`` is a fresh network, ``timm.ARCHITECTURE.TAG`` one with the weights that timm has under this tag.
Listing imports neither timm nor torch; a name outside the list does.
"""

from __future__ import annotations

from typing import Any

from audiotag.errors import UnknownNameError, suggest
from audiotag.specs import BackboneSpec, Weights

FAMILY = "timm"

# Architecture · tag of its ImageNet weights.
_LISTED: tuple[tuple[str, str], ...] = (
    ("efficientnet_b0", "ra_in1k"),
    ("mobilenetv3_large_100", "ra_in1k"),
    ("resnet18", "a1_in1k"),
    ("resnet50", "a1_in1k"),
    ("convnext_tiny", "fb_in1k"),
    ("vit_tiny_patch16_224", "augreg_in21k_ft_in1k"),
)


def timm_backbones() -> list[BackboneSpec]:
    """The family, whose resolver knows every architecture, and the architectures that are listed."""
    specs = [
        _spec(
            FAMILY,
            "Any image model of timm over a log-mel spectrogram: timm.ARCHITECTURE, timm.ARCHITECTURE.TAG",
            resolver="audiotag.models.timm_names:resolve",
        )
    ]
    for architecture, tag in _LISTED:
        specs += [_fresh(architecture), _pretrained(architecture, tag)]
    return specs


def resolve(name: str) -> BackboneSpec:
    """The descriptor of ``timm.ARCHITECTURE`` or ``timm.ARCHITECTURE.TAG``.

    Raises:
        UnknownNameError: timm has no such architecture, or no weights of it under that tag; with close matches.
    """
    import timm

    architecture, _, tag = name.removeprefix(f"{FAMILY}.").partition(".")
    if not timm.is_model(architecture):
        advice = suggest(name, (f"{FAMILY}.{known}" for known in timm.list_models()))
        raise UnknownNameError(
            f"there is no model {name!r}: timm has no architecture {architecture!r}",
            fix=f"{advice or ''} `python -c 'import timm; print(timm.list_models())'` shows all.".strip(),
        )
    if not tag:
        return _fresh(architecture)
    tagged = timm.list_pretrained(f"{architecture}.*")
    if f"{architecture}.{tag}" not in tagged:
        known = ", ".join(f"{FAMILY}.{one}" for one in tagged)
        raise UnknownNameError(
            f"there is no model {name!r}: timm has no weights of {architecture!r} under the tag {tag!r}",
            fix=f"It has {known or 'none'}; {FAMILY}.{architecture} is a fresh network.",
        )
    config = timm.get_pretrained_cfg(f"{architecture}.{tag}")
    return _pretrained(architecture, tag, None if config is None else config.license)


def _spec(name: str, summary: str, architecture: str | None = None, **others: Any) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        factory="audiotag.models.timm_backbone:TimmBackbone",
        summary=summary,
        family=FAMILY,
        sample_rate=32_000,
        clip_seconds=10.0,
        min_seconds=1.0,
        max_seconds=30.0,
        options={} if architecture is None else {"architecture": architecture},
        licence="Apache-2.0",
        citation="Wightman, PyTorch Image Models, 2019 (doi:10.5281/zenodo.4414861)",
        **others,
    )


def _fresh(architecture: str) -> BackboneSpec:
    return _spec(f"{FAMILY}.{architecture}", "timm image model, untrained", architecture)


def _pretrained(architecture: str, tag: str, licence: str | None = None) -> BackboneSpec:
    weights = Weights(
        urls=(f"timm:{architecture}.{tag}",),
        filename=f"{architecture}.{tag}.safetensors",
        licence=licence or "see the model's card at timm",
        fetcher="audiotag.models.timm_backbone:fetch_weights",
    )
    summary = "timm image model, pretrained; new head"
    return _spec(f"{FAMILY}.{architecture}.{tag}", summary, architecture, weights=weights)
