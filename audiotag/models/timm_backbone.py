"""Any image model of timm over a log-mel spectrogram, so that a new architecture is one option away."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import timm
import torch
import torch.nn.functional as functional
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed  # type: ignore[attr-defined] # re-exported without saying so
from timm.models import adapt_input_conv
from torch import Tensor, nn

from audiotag.audio.frontends.families import efficientat_log_mel
from audiotag.audio.frontends.torch_executor import LogMelFrontEnd
from audiotag.errors import OptionError, WeightsError, suggest
from audiotag.labels import LabelSet
from audiotag.models.acceleration import accelerated_copy
from audiotag.models.backbone import Backbone
from audiotag.models.parameter_groups import ParameterGroup, group_parameters

SAMPLE_RATE = 32_000

_FRAMES_STEP = 32
"""Spectrograms are padded to a multiple of this, the stride of most architectures; some take nothing else."""

_REFUSALS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""Whatever an architecture does with a picture that it cannot take."""

_TRIAL_FRAMES = 512
"""Width of the picture on which an architecture is tried when it is made."""


class TimmBackbone(Backbone):
    """A network of timm on one channel: the spectrogram is a picture with frequency as height.

    The feature map is what the architecture's ``forward_features`` gives, (batch, channels, height, width),
    (batch, height, width, channels) or (batch, tokens, channels). The clip embedding is timm's pooling of it, frame
    embeddings are its mean over frequency, and the head is a linear layer. Parameters are random; weights of timm are
    loaded like other published files: a stem for three colours is summed over them, positions of a ViT are fitted to
    the spectrogram, the classifier is left out. Architectures that take nothing but squares (NesT, MViT) are refused.

    Args:
        num_classes: Size of the head.
        architecture: Name of the model in timm (``timm.list_models()``).
        n_mels: Mel bands.
        hop_size: Samples between frames of the spectrogram, at 32 kHz.
        clip_seconds: Length that an architecture made for one size of picture (ViT, Swin) takes: shorter sound is
            padded, longer sound cut. Others take any length.
        drop_path: Rate of stochastic depth, where the architecture has it.
        layer_decay: Factor on the learning rate of each layer, compared with the layer behind it (Clark et al.,
            ELECTRA, ICLR 2020; 0.65 to 0.8 is usual for a pre-trained ViT); 1 is one rate for all.

    Raises:
        OptionError: timm has no such architecture, it does not take such a spectrogram, or an option cannot work.
    """

    sample_rate = SAMPLE_RATE
    front_end: LogMelFrontEnd
    # Architectures have methods and attributes that no type of timm states.
    network: Any

    def __init__(
        self,
        num_classes: int,
        *,
        architecture: str = "efficientnet_b0",
        n_mels: int = 128,
        hop_size: int = 320,
        clip_seconds: float = 10.0,
        drop_path: float = 0.0,
        layer_decay: float = 1.0,
    ) -> None:
        super().__init__()
        if not timm.is_model(architecture):
            advice = suggest(architecture, timm.list_models()) or ""
            raise OptionError(
                f"timm has no architecture {architecture!r}",
                where="timm",
                fix=f"{advice} `python -c 'import timm; print(timm.list_models())'` shows all.".strip(),
            )
        if not 0 < clip_seconds <= 60:
            raise OptionError(f"clip_seconds is {clip_seconds}", where="timm", fix="Give a length up to 60 s.")
        if not 0 <= drop_path < 1:
            raise OptionError(f"drop_path is {drop_path}", where="timm", fix="Give a number from 0, below 1.")
        if not 0 < layer_decay <= 1:
            raise OptionError(f"layer_decay is {layer_decay}", where="timm", fix="Give a number above 0, up to 1.")
        self.num_classes = num_classes
        self.architecture = architecture
        self.layer_decay = layer_decay
        self.front_end = LogMelFrontEnd(efficientat_log_mel(n_mels, hop_size, sample_rate=SAMPLE_RATE))
        settings: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
        self.fixed_frames: int | None = None
        config = timm.get_pretrained_cfg(architecture)
        if config is not None and config.fixed_input_size:
            steps = math.ceil(clip_seconds * self.front_end.frame_rate / _FRAMES_STEP)
            self.fixed_frames = steps * _FRAMES_STEP
            self.max_seconds = self.fixed_frames / self.front_end.frame_rate
            settings["img_size"] = (n_mels, self.fixed_frames)
        try:
            self.network = timm.create_model(architecture, in_chans=1, num_classes=0, **settings)
            self.embedding_dim, frames = self._try()
        except _REFUSALS as error:
            raise OptionError(
                f"the architecture {architecture!r} does not work on spectrograms of {n_mels} bands "
                f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'})",
                where="timm",
                fix="Choose another one (efficientnet_b0, resnet18, convnext_tiny), or another n_mels.",
            ) from error
        self._frame_rate = self.front_end.frame_rate * frames / (self.fixed_frames or _TRIAL_FRAMES)
        self.classifier = self.make_head(num_classes)
        modules = dict(self.network.named_modules())
        described = getattr(self.network, "feature_info", ())
        self.intermediate_names = tuple(f"network.{one['module']}" for one in described if one["module"] in modules)
        self.ignored_keys = tuple(f"network.{name}." for name in self._configured("classifier"))

    def _configured(self, entry: str) -> tuple[str, ...]:
        """Names of layers that timm's description of the architecture has under *entry*."""
        config: Mapping[str, Any] = self.network.pretrained_cfg
        names = config.get(entry) or ()
        return (names,) if isinstance(names, str) else tuple(names)

    @torch.no_grad()
    def _try(self) -> tuple[int, int]:
        """Size of the clip embedding, and number of frames of a spectrogram as wide as the architecture is tried on."""
        training = self.network.training
        self.network.eval()
        width = self.fixed_frames or _TRIAL_FRAMES
        picture = torch.linspace(-1, 1, self.front_end.bands * width).reshape(1, self.front_end.bands, width)
        features = self.forward_spectrogram(picture)
        if features.ndim == 3:
            # Bands are always as many, so that the rows of tokens are too, however long the sound.
            self._token_rows = _rows(features.shape[1] - self._prefix_tokens, width / self.front_end.bands)
        embedding, frames = self.pool(features), self.frames(features)
        self.network.train(training)
        if embedding.ndim != 2 or frames.ndim != 3:
            raise ValueError(f"it gives embeddings of {embedding.ndim} axes")
        mean = frames.mean(1)  # the linear layer over it is the mean of that over each frame
        is_mean = mean.shape == embedding.shape and torch.allclose(mean, embedding, atol=1e-5, rtol=1e-3)
        self.gives_frame_logits = is_mean
        return embedding.shape[1], frames.shape[1]

    @property
    def _prefix_tokens(self) -> int:
        """Tokens of no place (the class token) before those of the picture."""
        prefix: int = getattr(self.network, "num_prefix_tokens", int(hasattr(self.network, "cls_token")))
        return prefix

    @property
    def frame_rate(self) -> float:
        """Frames per second of `frames`: 3.125 for most architectures."""
        return self._frame_rate

    def forward_spectrogram(self, spectrogram: Tensor | None, video: Tensor | None = None) -> Tensor:
        """The architecture's feature map of (batch, bands, frames), padded with silence; *video* is not used."""
        assert spectrogram is not None
        given = spectrogram.shape[-1]
        # No function of Python's takes the length, so that an export keeps it free.
        missing = -given % _FRAMES_STEP if self.fixed_frames is None else max(0, self.fixed_frames - given)
        spectrogram = functional.pad(spectrogram, (0, missing), value=self.front_end.padding_value)
        if self.fixed_frames is not None:
            spectrogram = spectrogram[..., : self.fixed_frames]
        features: Tensor = self.network.forward_features(spectrogram.unsqueeze(1))
        return features

    def pool(self, features: Tensor) -> Tensor:
        """Clip embeddings (batch, `embedding_dim`), pooled as the architecture does before its classifier."""
        embeddings: Tensor = self.network.forward_head(features, pre_logits=True)
        return embeddings

    def frames(self, features: Tensor) -> Tensor:
        """Frame embeddings (batch, frames, channels): the mean over frequency."""
        if features.ndim == 3:
            tokens = features[:, self._prefix_tokens :]
            return tokens.reshape(tokens.shape[0], self._token_rows, -1, tokens.shape[2]).mean(1)
        if getattr(self.network, "output_fmt", "NCHW") == "NHWC":
            return features.mean(1)
        return features.mean(2).transpose(1, 2)

    def make_head(self, num_classes: int, labels: LabelSet | None = None) -> nn.Linear:
        """A linear layer over clip embeddings."""
        return nn.Linear(self.embedding_dim, num_classes)

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Rates that fall towards the input by `layer_decay`; what the architecture says is not decayed is not."""
        spared = {f"network.{name}" for name in getattr(self.network, "no_weight_decay", set)()}
        depths: dict[str, int] = {}
        if self.layer_decay < 1:
            layers = timm.models.group_parameters(self.network, self.network.group_matcher(coarse=False), reverse=True)
            depths = {f"network.{name}": depth for name, depth in layers.items()}
        last = max(depths.values(), default=0)
        return group_parameters(
            self,
            self.head_parameters(),
            lr_scale=lambda name: self.layer_decay ** (last - depths.get(name, last)),
            not_decayed=spared,
        )

    def convert_published(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Entries of timm under ``network.``, the stem for one channel; entries of this class as they are."""
        if any(key.startswith("network.") for key in state):
            return state
        own = self.network.state_dict()
        converted = {f"network.{key}": value for key, value in state.items()}
        for name in self._configured("first_conv"):
            key = f"{name}.weight"
            if key in state and key in own and state[key].shape[1] != own[key].shape[1]:
                converted[f"network.{key}"] = adapt_input_conv(own[key].shape[1], state[key])
        positions = own.get("pos_embed")
        if positions is not None and "pos_embed" in state and state["pos_embed"].shape != positions.shape:
            prefix = 0 if getattr(self.network, "no_embed_class", False) else self.network.num_prefix_tokens
            converted["network.pos_embed"] = resample_abs_pos_embed(
                state["pos_embed"], list(self.network.patch_embed.grid_size), num_prefix_tokens=prefix
            )
        return converted

    def fresh_keys(self, state: Mapping[str, Tensor]) -> Collection[str]:
        """The head, for weights of timm."""
        return () if "classifier.weight" in state else self.head_keys()

    def accelerated(self) -> Self:
        """A copy whose convolutions take the channels-last layout.

        Batch norms are not folded: those of timm may carry an activation, and which convolution they follow is known
        to each architecture's own code only. The numbers differ by rounding, and where the maps are large (those of a
        fresh Inception V3 reach 1e10) so are the differences.
        """
        return accelerated_copy(self, fold=False)


def _rows(tokens: int, aspect: float) -> int:
    """Rows of a grid of *tokens* over a picture *aspect* times as wide as high."""
    fits = {rows: abs(math.log(tokens / rows**2 / aspect)) for rows in range(1, tokens + 1) if tokens % rows == 0}
    rows = min(fits, key=lambda rows: fits[rows], default=0)
    if rows == 0 or fits[rows] > math.log(1.5):
        raise ValueError(f"its {tokens} tokens are no grid over the picture")
    return rows


def fetch_weights(url: str, path: str | Path) -> None:
    """Download ``timm:NAME.TAG`` to *path* (safetensors), through timm.

    Raises:
        WeightsError: timm does not give the weights.
    """
    name = url.removeprefix("timm:")
    try:
        state = timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # its own errors and those of its HTTP client; all mean that there are no weights
        raise WeightsError(f"timm does not give the weights: {error}") from error
    save_file({key: value.contiguous() for key, value in state.items()}, path)
