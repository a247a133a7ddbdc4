"""EquiAV's fine-tuning network: sound, pictures, or both → classes (Kim et al., ICML 2024, arXiv 2403.09502)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from audiotag.plugin import Backbone, LabelSet, LogMelFrontEnd, OptionError, kaldi_log_mel, linear_layers
from audiotag_equiav.branches import PATCH, PICTURE, SOUND, BranchConfig, Branches, initialise, require
from audiotag_equiav.projections import HEADS, Projection, make_head
from audiotag_equiav.published import fresh_keys, published_entries

SAMPLE_RATE = 16_000

STATISTICS = {"audioset": (-4.346, 4.332), "vggsound": (-4.956, 4.486)}
"""Mean and deviation of the log-mel energies, per data set the network was trained on."""

MODES: dict[str, tuple[str, ...]] = {
    "audio_only": (SOUND,),
    "video_only": (PICTURE,),
    "multimodal": (SOUND, PICTURE),
}
"""Mode → the branches it has."""

_INPUTS = {"audio_only": ("waveform",), "video_only": ("video",), "multimodal": ("waveform", "video")}


def make_front_end(
    bands: int, target_length: int, statistics: str, mean: float | None = None, std: float | None = None
) -> LogMelFrontEnd:
    """The front end of EquiAV at 16 kHz.

    Raises:
        OptionError: *statistics* is not in `STATISTICS`, or a value cannot work.
    """
    require(statistics in STATISTICS, "statistics", repr(statistics), f"Give one of: {', '.join(STATISTICS)}.")
    default_mean, default_std = STATISTICS[statistics]
    return LogMelFrontEnd(
        kaldi_log_mel(
            SAMPLE_RATE,
            bands,
            target_length=target_length,
            mean=default_mean if mean is None else mean,
            std=default_std if std is None else std,
        )
    )


class EquiAV(Branches, Backbone):
    """EquiAV for classification.

    - ``audio_only``: tokens → norm → projection of each → mean → head.
    - ``video_only``: tokens → norm → mean → head. No front end, no sound.
    - ``multimodal``: both branches → mean → projection each, side by side → head.

    Only the branches that the mode needs are built. The feature map holds the normed tokens (batch, tokens, width),
    those of sound before those of the picture. Frame embeddings are the tokens averaged over mel rows, 6.25 to
    the second; ``video_only`` has one for the whole clip.

    Args:
        num_classes: Size of the head.
        mode: ``audio_only``, ``video_only`` or ``multimodal``.
        head: ``linear``, or ``mlp`` (Linear, batch norm, ReLU, Linear).
        inter_linear: True projects with one linear layer, False with three layers.
        target_length: Frames of a spectrogram (100 to the second), a multiple of 16. Longer sound is cut, shorter
            sound is padded.
        num_mel_bins: Mel bands, a multiple of 16.
        statistics: ``audioset`` or ``vggsound``: mean and deviation of the log-mel energies.
        norm_mean: Mean in place of that of *statistics*.
        norm_std: Deviation in place of that of *statistics*.
        drop_path: Rate of stochastic depth.
        dropout: Rate of dropout.
        gradient_checkpointing: Compute blocks again in the backward pass, to save memory.
        depth: Blocks of a branch.
        width: Size of a token.
        heads: Attention heads.
        picture_size: Pixels of a picture's side.
        projection_dim: Size of a projected embedding, and of the hidden layer of an ``mlp`` head.
        projection_width: Inner size of a three-layer projection.

    Raises:
        OptionError: An option has a value that cannot work.
    """

    sample_rate = SAMPLE_RATE
    head_name = "mlp_head"

    def __init__(
        self,
        num_classes: int,
        mode: Literal["audio_only", "video_only", "multimodal"] = "audio_only",
        head: Literal["linear", "mlp"] = "linear",
        inter_linear: bool = True,
        target_length: int = 1024,
        num_mel_bins: int = 128,
        statistics: Literal["audioset", "vggsound"] = "audioset",
        norm_mean: float | None = None,
        norm_std: float | None = None,
        drop_path: float = 0.1,
        dropout: float = 0.0,
        gradient_checkpointing: bool = False,
        depth: int = 12,
        width: int = 768,
        heads: int = 12,
        picture_size: int = 224,
        projection_dim: int = 512,
        projection_width: int = 2048,
    ) -> None:
        for name, value, known in (("mode", mode, MODES), ("head", head, HEADS)):
            require(value in known, name, repr(value), f"Give one of: {', '.join(known)}.")
        if num_classes < 1 or projection_dim < 1 or projection_width < 1:
            raise OptionError(
                f"num_classes, projection_dim, projection_width are {num_classes}, {projection_dim}, "
                f"{projection_width}",
                where="equiav",
                fix="Give at least 1 each.",
            )
        config = BranchConfig(
            depth=depth,
            width=width,
            heads=heads,
            num_mel_bins=num_mel_bins,
            target_length=target_length,
            picture_size=picture_size,
            dropout=dropout,
            drop_path=drop_path,
            gradient_checkpointing=gradient_checkpointing,
        )
        front_end = None
        if SOUND in MODES[mode]:
            front_end = make_front_end(num_mel_bins, target_length, statistics, norm_mean, norm_std)
        super().__init__(config, MODES[mode])
        self.mode = mode
        self.inputs = _INPUTS[mode]
        self.head_kind = head
        self.inter_linear = inter_linear
        self.num_classes = num_classes
        self.projection_dim = projection_dim
        self.front_end = front_end
        self.video_shape = (3, picture_size, picture_size) if PICTURE in self.modalities else None
        self.max_seconds = target_length / 100 if SOUND in self.modalities else None
        self.ignored_keys = self.unused_norms()
        # The published video network takes the mean token as it is.
        self.projected = () if mode == "video_only" else self.modalities
        for modality in self.projected:
            if inter_linear:
                projection: nn.Module = nn.Linear(width, projection_dim)
                initialise(projection)
            else:
                projection = Projection(width, projection_width, projection_dim)
            self.add_module(f"pred_{modality}_inter", projection)
        self.embedding_dim = projection_dim * len(self.projected) if self.projected else width
        self.mlp_head = self.make_head(num_classes)
        # Then the mean over frames may as well follow the projection and the head.
        self.gives_frame_logits = mode == "audio_only" and inter_linear and head == "linear"
        self.intermediate_names = tuple(
            f"blocks_{modality}.{block}" for modality in self.modalities for block in range(depth)
        )
        self.adapter_layers = linear_layers(self, *(f"blocks_{modality}" for modality in self.modalities))

    @property
    def frame_rate(self) -> float:
        """Frames per second of `frames`."""
        if SOUND not in self.modalities:
            return 100 / self.config.target_length
        return 100 / PATCH

    def forward_spectrogram(self, spectrogram: Tensor | None, video: Tensor | None = None) -> Tensor:
        """Normed tokens (batch, tokens, width), those of sound before those of the picture.

        Raises:
            OptionError: An input that the mode needs is missing, or has another shape.
        """
        tokens = []
        for modality, given in ((SOUND, spectrogram), (PICTURE, video)):
            if modality not in self.modalities:
                continue
            if given is None:
                what = "sound" if modality == SOUND else "pictures"
                raise OptionError(f"the mode {self.mode} needs {what}, and none is given", where="equiav")
            tokens.append(self.norm(modality, self.encode(modality, given)))
        return torch.cat(tokens, dim=1) if len(tokens) > 1 else tokens[0]

    def _split(self, features: Tensor) -> dict[str, Tensor]:
        sizes = {
            modality: rows * columns for modality in self.modalities for rows, columns in [self.config.grid(modality)]
        }
        return dict(zip(sizes, features.split(list(sizes.values()), dim=1), strict=True))

    def _project(self, modality: str, features: Tensor) -> Tensor:
        if modality not in self.projected:
            return features
        projected: Tensor = self.get_submodule(f"pred_{modality}_inter")(features)
        return projected

    def pool(self, features: Tensor) -> Tensor:
        """Clip embeddings (batch, `embedding_dim`) of a feature map."""
        if self.mode == "audio_only" and not self.inter_linear:
            # One linear layer may as well follow the mean; three layers may not.
            return self._project(SOUND, features).mean(dim=1)
        parts = self._split(features)
        return torch.cat([self._project(modality, part.mean(dim=1)) for modality, part in parts.items()], dim=1)

    def frames(self, features: Tensor) -> Tensor:
        """Frame embeddings (batch, frames, `embedding_dim`); the picture's part is the same in every frame."""
        parts = self._split(features)
        if SOUND not in parts:
            return self.pool(features)[:, None]
        rows, columns = self.config.grid(SOUND)
        sound = parts[SOUND]
        over_time = self._project(SOUND, sound.unflatten(1, (rows, columns)).mean(dim=1))
        if PICTURE not in parts:
            return over_time
        picture = self._project(PICTURE, parts[PICTURE].mean(dim=1))
        return torch.cat([over_time, picture[:, None].expand(-1, columns, -1)], dim=2)

    def make_head(self, num_classes: int, labels: LabelSet | None = None) -> nn.Sequential:
        """The head over classes; projections belong to the body, as in the published recipe."""
        return make_head(self.head_kind, self.embedding_dim, self.projection_dim, num_classes)

    def convert_published(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Entries of a fine-tuned, pre-trained or MAE file under this network's names, fitted where they can be."""
        return published_entries(self, state)

    def fresh_keys(self, state: Mapping[str, Tensor]) -> Collection[str]:
        """What a pre-trained or MAE file does not hold: the head, and projections of another kind."""
        return fresh_keys(self, state, self.projected if self.inter_linear else ())
