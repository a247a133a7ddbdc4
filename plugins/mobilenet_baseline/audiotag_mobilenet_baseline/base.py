"""What `mn` and `dymn` have in common: options, front end, head, embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from audiotag.plugin import (
    Backbone,
    ClassRows,
    LabelSet,
    LogMelFrontEnd,
    efficientat_log_mel,
    require_choice,
    require_option,
)
from audiotag_mobilenet_baseline.blocks import initialise
from audiotag_mobilenet_baseline.heads import AttentionHead, FullyConvolutionalHead, Head, MlpHead
from audiotag_mobilenet_baseline.table import HIDDEN_CHANNELS, STEM_STRIDE, embedding_size, make_divisible

HEAD_TYPES = ("mlp", "fully_convolutional", "multihead_attention_pooling")


class MobileNetTagger(Backbone):
    """A MobileNetV3-Large over EfficientAT's log-mel spectrogram.

    A subclass builds its layers and `forward_spectrogram`; the head is at ``classifier`` in both families.

    Args:
        num_classes: Size of the head.
        width_mult: Width multiplier, above 0 up to 10.
        head_type: One of `HEAD_TYPES`.
        attention_heads: Heads of ``multihead_attention_pooling``.
        strides: The four adjustable strides, each 1 to 4.
        n_mels: Mel bands.
        hop_size: Samples between frames of the spectrogram.
        dropout: Dropout before the last layer of the ``mlp`` head.
        norm_momentum: Share of a batch in the running statistics of batch norms, above 0 up to 1.

    Raises:
        OptionError: An option has a value that cannot work.
    """

    sample_rate = 32_000
    classifier: Head

    def __init__(
        self,
        num_classes: int,
        *,
        width_mult: float,
        head_type: str,
        attention_heads: int,
        strides: Sequence[int],
        n_mels: int,
        hop_size: int,
        dropout: float,
        norm_momentum: float,
    ) -> None:
        super().__init__()
        require_option(0 < width_mult <= 10, "width_mult", width_mult, "Give a number above 0, up to 10.")
        require_choice("head_type", head_type, HEAD_TYPES)
        require_option(attention_heads >= 1, "attention_heads", attention_heads, "Give at least 1.")
        require_option(
            len(strides) == 4 and all(isinstance(stride, int) and 1 <= stride <= 4 for stride in strides),
            "strides",
            strides,
            "Give four whole numbers from 1 to 4, such as [2, 2, 2, 2].",
        )
        require_option(0 <= dropout < 1, "dropout", dropout, "Give a number from 0, below 1.")
        require_option(0 < norm_momentum <= 1, "norm_momentum", norm_momentum, "Give a number above 0, up to 1.")
        self.num_classes = num_classes
        self.embedding_dim = embedding_size(width_mult)
        self.time_stride = STEM_STRIDE * math.prod(strides)
        self.front_end: LogMelFrontEnd = LogMelFrontEnd(
            efficientat_log_mel(n_mels, hop_size, sample_rate=self.sample_rate)
        )
        self._dropout = dropout
        self._hidden = make_divisible(HIDDEN_CHANNELS * width_mult) if head_type == "mlp" else None
        self._attention_heads = attention_heads if head_type == "multihead_attention_pooling" else None
        self.head_name = "classifier" if self._hidden is None else "classifier.5"
        self.gives_frame_logits = self._hidden is None

    def make_classifier(self) -> Head:
        """All that follows the last feature map, made after the layers: the state dict keeps its published order."""
        if self._hidden is not None:
            return MlpHead(self.embedding_dim, self._hidden, self.num_classes, self._dropout)
        head = self.make_head(self.num_classes)
        assert isinstance(head, Head)
        return head

    def make_head(self, num_classes: int, labels: LabelSet | None = None) -> nn.Module:
        """What depends on the classes; the hidden layer of an ``mlp`` head stays."""
        if self._hidden is not None:
            last = nn.Linear(self._hidden, num_classes)
            initialise([last])
            return last
        if self._attention_heads is not None:
            return AttentionHead(self.embedding_dim, num_classes, self._attention_heads)
        return FullyConvolutionalHead(self.embedding_dim, num_classes)

    @property
    def frame_rate(self) -> float:
        """Frames per second of `frames`: 3.125 with the default strides and hop size."""
        return self.front_end.frame_rate / self.time_stride

    def pool(self, features: Tensor) -> Tensor:
        """Clip embeddings (batch, `embedding_dim`): the average over frequency and time."""
        return features.mean((2, 3))

    def frames(self, features: Tensor) -> Tensor:
        """Frame embeddings (batch, frames, `embedding_dim`): the average over frequency."""
        return features.mean(2).transpose(1, 2)

    def head_input(self, features: Tensor) -> Tensor:
        """What the head takes; see `Head.prepare` of each head."""
        return self.classifier.prepare(features)

    def forward_head(self, head_input: Tensor) -> Tensor:
        """Logits (batch, classes)."""
        logits: Tensor = self.classifier(head_input)
        return logits

    def class_rows(self) -> Mapping[str, ClassRows]:
        """Where each class stands in the head's entries."""
        if isinstance(self.classifier, AttentionHead):  # its one layer has several rows a class
            return {f"classifier.{key}": rows for key, rows in self.classifier.class_rows().items()}
        return super().class_rows()
