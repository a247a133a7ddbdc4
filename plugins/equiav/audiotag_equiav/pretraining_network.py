"""EquiAV's pre-training network (Kim et al., ICML 2024, arXiv 2403.09502, section 3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as functional
from timm.layers import Mlp  # type: ignore[attr-defined] # re-exported without saying so
from torch import Tensor, nn

from audiotag.plugin import LogMelFrontEnd, OptionError, suggest, wrongly_typed
from audiotag_equiav.backbone import make_front_end
from audiotag_equiav.branches import PICTURE, SOUND, BranchConfig, Branches, initialise, require
from audiotag_equiav.projections import Projection
from audiotag_equiav.published import is_mae_entries, published_entries
from audiotag_equiav.transformations import PICTURE_SIZES, SOUND_SIZES

ATTENTION_HEADS, ATTENTION_DIM = 8, 64


@dataclass(frozen=True)
class PretrainingOptions(BranchConfig):
    """What a pre-training network is made of: its branches, and what follows.

    Attributes:
        aug_size_a: Numbers in a transformation of sound: 7, 12, 21, 23 or 24.
        aug_size_v: Numbers in a transformation of a picture: 18 or 21.
        centroid: Whether z_inv is taken over sampled transformations rather than from the mean token.
        augmentation_dim: Size of an encoded transformation.
        projection_dim: Size of the embeddings.
        projection_width: Inner size of the projections.
        statistics: ``audioset`` or ``vggsound``: mean and deviation of the log-mel energies.
    """

    aug_size_a: int = 24
    aug_size_v: int = 18
    centroid: bool = True
    augmentation_dim: int = 256
    projection_dim: int = 512
    projection_width: int = 2048
    statistics: str = "audioset"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, sizes in (("aug_size_a", SOUND_SIZES), ("aug_size_v", PICTURE_SIZES)):
            value = getattr(self, name)
            require(value in sizes, name, value, f"Give one of: {', '.join(map(str, sizes))}.")
        for name in ("augmentation_dim", "projection_dim", "projection_width"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "Give at least 1.")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PretrainingOptions:
        """Options from plain values.

        Raises:
            OptionError: A name is unknown, or a value cannot work.
        """
        known = list(cls.__dataclass_fields__)
        for name in values:
            if name not in known:
                raise OptionError(
                    f"there is no option {name!r}",
                    where="equiav pre-training",
                    fix=f"{suggest(name, known) or ''} The options are: {', '.join(known)}.".strip(),
                )
        if wrong := wrongly_typed(cls, dict(values)):
            name, wanted = wrong
            raise OptionError(
                f"the option {name!r} is {values[name]!r}", where="equiav pre-training", fix=f"Give {wanted}."
            )
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The options as plain values."""
        return asdict(self)


class Embeddings(NamedTuple):
    """What the network makes of a batch, each (batch, dim) and not yet normalised.

    Attributes:
        sound_inv: z_inv of the sounds, common to both modalities.
        picture_inv: z_inv of the pictures.
        sound_equi: Predicted embedding of the transformed sounds.
        picture_equi: Predicted embedding of the transformed pictures.
        sound_aug: Embedding of the transformed sounds.
        picture_aug: Embedding of the transformed pictures.
    """

    sound_inv: Tensor
    picture_inv: Tensor
    sound_equi: Tensor
    picture_equi: Tensor
    sound_aug: Tensor
    picture_aug: Tensor


class QuickGELU(nn.Module):
    """x · σ(1.702 x)."""

    def forward(self, values: Tensor) -> Tensor:
        """Elementwise."""
        return values * torch.sigmoid(1.702 * values)


class CrossAttention(nn.Module):
    """Attention from encoded transformations to tokens, 8 heads of 64."""

    def __init__(self, query_dim: int, width: int) -> None:
        super().__init__()
        inner = ATTENTION_HEADS * ATTENTION_DIM
        self.to_q = nn.Linear(query_dim, inner)
        self.to_k = nn.Linear(width, inner)
        self.to_v = nn.Linear(width, inner)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """(batch, queries, query_dim), (batch, tokens, width) → (batch, queries, width)."""
        query, key, value = (
            projected.unflatten(-1, (ATTENTION_HEADS, ATTENTION_DIM)).transpose(1, 2)
            for projected in (self.to_q(queries), self.to_k(tokens), self.to_v(tokens))
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.to_out(attended.transpose(1, 2).flatten(2))
        return result


class TransformationPredictor(nn.Module):
    """How transformations would change the mean token."""

    def __init__(self, augmentation_dim: int, width: int) -> None:
        super().__init__()
        self.norm_aug = nn.LayerNorm(augmentation_dim, eps=1e-5)
        self.attn = CrossAttention(augmentation_dim, width)
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.mlp = Mlp(width, 4 * width)
        initialise(self)

    def forward(self, tokens: Tensor, encoded: Tensor) -> Tensor:
        """Tokens (batch, tokens, width) under transformations (batch, count, augmentation_dim) → (batch, width)."""
        predicted = tokens.mean(dim=1, keepdim=True) + self.attn(self.norm_aug(encoded), tokens)
        predicted = predicted + self.mlp(self.norm(predicted))
        return predicted.mean(dim=1)


class PretrainingNetwork(Branches):
    """Both branches, transformation encoders and predictors, projections into a common and two own spaces."""

    num_classes = 0

    def __init__(self, options: PretrainingOptions) -> None:
        super().__init__(options, (SOUND, PICTURE))
        self.options = options
        self.ignored_keys = self.unused_norms()
        self.front_end: LogMelFrontEnd = make_front_end(options.num_mel_bins, options.target_length, options.statistics)
        self.vector_sizes = {SOUND: options.aug_size_a, PICTURE: options.aug_size_v}
        dim, width = options.augmentation_dim, options.width
        for modality in self.modalities:
            encoder = nn.Sequential(
                nn.Linear(self.vector_sizes[modality], dim),
                QuickGELU(),
                nn.Linear(dim, dim),
                QuickGELU(),
                nn.Linear(dim, dim),
            )
            initialise(encoder)
            parts = {
                f"norm_{modality}_aug": nn.LayerNorm(width, eps=1e-5),
                f"aug_encoder_{modality}": encoder,
                f"cross_attn_{modality}": TransformationPredictor(dim, width),
                f"pred_{modality}_intra": Projection(width, options.projection_width, options.projection_dim),
                f"pred_{modality}_inter": Projection(width, options.projection_width, options.projection_dim),
            }
            for name, module in parts.items():
                self.add_module(name, module)

    def _predict(self, modality: str, tokens: Tensor, vectors: Tensor) -> Tensor:
        encoded = self.get_submodule(f"aug_encoder_{modality}")(vectors)
        predicted: Tensor = self.get_submodule(f"cross_attn_{modality}")(tokens, encoded)
        return predicted

    def _project(self, modality: str, kind: str, features: Tensor) -> Tensor:
        projected: Tensor = self.get_submodule(f"pred_{modality}_{kind}")(features)
        return projected

    def invariant(self, modality: str, tokens: Tensor, centroid: Tensor | None) -> Tensor:
        """z_inv (batch, dim) of normed tokens, over the transformations *centroid* (batch, count, numbers)."""
        if self.options.centroid and centroid is not None:
            pooled = self._predict(modality, tokens, centroid)
        elif self.options.centroid:
            raise OptionError("transformations for the centroid are missing", where="equiav pre-training")
        else:
            pooled = tokens.mean(dim=1)
        return self._project(modality, "inter", pooled)

    def embed(self, modality: str, given: Tensor, centroid: Tensor | None = None) -> Tensor:
        """z_inv (batch, dim) of spectrograms (``"a"``) or normalised pictures (``"v"``), for retrieval."""
        return self.invariant(modality, self.norm(modality, self.encode(modality, given)), centroid)

    def forward(
        self,
        spectrogram: Tensor,
        picture: Tensor,
        spectrogram_aug: Tensor,
        picture_aug: Tensor,
        sound_vector: Tensor,
        picture_vector: Tensor,
        sound_centroid: Tensor | None = None,
        picture_centroid: Tensor | None = None,
    ) -> Embeddings:
        """Embeddings of pairs and of their transformed versions.

        Args:
            spectrogram: (batch, bands, frames).
            picture: (batch, 3, size, size), normalised.
            spectrogram_aug: *spectrogram* after the transformation *sound_vector*.
            picture_aug: *picture* after the transformation *picture_vector*.
            sound_vector: (batch, 7 to 24).
            picture_vector: (batch, 18 or 21).
            sound_centroid: Sampled transformations (batch, count, 7 to 24), where the network has a centroid.
            picture_centroid: The same for pictures.
        """
        inv, equi, aug = {}, {}, {}
        for modality, plain, changed, vector, centroid in (
            (SOUND, spectrogram, spectrogram_aug, sound_vector, sound_centroid),
            (PICTURE, picture, picture_aug, picture_vector, picture_centroid),
        ):
            tokens = self.norm(modality, self.encode(modality, plain))
            inv[modality] = self.invariant(modality, tokens, centroid)
            equi[modality] = self._project(modality, "intra", self._predict(modality, tokens, vector[:, None]))
            tokens_aug = self.get_submodule(f"norm_{modality}_aug")(self.encode(modality, changed))
            aug[modality] = self._project(modality, "intra", tokens_aug.mean(dim=1))
        return Embeddings(inv[SOUND], inv[PICTURE], equi[SOUND], equi[PICTURE], aug[SOUND], aug[PICTURE])

    def class_rows(self) -> Mapping[str, Any]:
        """There are no classes."""
        return {}

    def head_keys(self) -> tuple[str, ...]:
        """There is no head."""
        return ()

    def convert_published(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Entries of a pre-trained or MAE file under this network's names."""
        return published_entries(self, state)

    def fresh_keys(self, state: Mapping[str, Tensor]) -> Collection[str]:
        """What a MAE file does not hold: everything beside patches, blocks and norms."""
        if not is_mae_entries(state):
            return ()
        return frozenset(key for key in self.state_dict() if key not in state)
