"""Where a run's batches and validation scores come from: the clips, or what a frozen network made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiotag.cache.ledger import ArrayCache
from audiotag.cache.place import cache_folder
from audiotag.data.clips import ClipSet
from audiotag.models.adapters import hold_statistics
from audiotag.models.model import Model
from audiotag.training.clip_keys import embedding_keys
from audiotag.training.data import Batches, ClipReader, Draw, Intake, whole_pass
from audiotag.training.mixing import SetPartners
from audiotag.training.run import TrainingRun
from audiotag.training.validation import measured_frames, validation_metrics

_EMBEDDING_BATCH = 32


class Source(ABC):
    """Where the batches of a run come from: the clips through the network, or kept embeddings."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run

    @abstractmethod
    def train_batches(self, batches: list[list[Draw]]) -> Generator[dict[str, Tensor]]:
        """Batches of inputs by name, with ``index`` (batch,)."""

    @abstractmethod
    def train_mode(self) -> None:
        """Put the modules into training mode."""

    @abstractmethod
    def _logits(self, val: ClipSet) -> Tensor:
        """Logits (clips, classes) of the validation set."""

    def validate(self) -> dict[str, float]:
        """Metrics on the validation set (``loss``, ``mAP``, …), the same on every process; empty without one."""
        run, val = self._run, self._run.clips.val
        if val is None:
            return {}
        run.model.backbone.eval()
        return self._measured(val)

    def _measured(self, val: ClipSet) -> dict[str, float]:
        run = self._run
        return validation_metrics(self._logits(val).cpu().numpy(), val, run.loss.cpu(), run.settings.metric)

    def close(self) -> None:  # noqa: B027 # there may be nothing to end
        """End what reads the batches; a source that is used again starts it anew."""


class NetworkSource(Source):
    """The clips of a run through the whole network."""

    def __init__(self, run: TrainingRun) -> None:
        super().__init__(run)
        settings, backbone, clips = run.settings, run.model.backbone, run.clips
        intake = Intake.of(backbone, (run.seconds, run.seconds))
        self._of_frames = settings.supervision == "frames"
        events = clips.train.columns.events
        kinds = events.said if self._of_frames and events is not None else None
        partners = SetPartners.of(settings)
        readers = {"train": ClipReader(clips.train, intake, settings.seed, run.cache, partners, kinds)}
        if clips.val is not None:
            # Validation hears what the tagger would: each clip at its own length.
            own = Intake.of(backbone, run.model.lengths.bounds)
            readers["val"] = ClipReader(clips.val, own, cache=run.cache)
        self._batches = Batches(readers, settings.workers, run.fabric.device.type == "cuda")

    def train_batches(self, batches: list[list[Draw]]) -> Generator[dict[str, Tensor]]:
        """See `Source.train_batches`."""
        return self._batches.read("train", batches)

    def close(self) -> None:
        """See `Source.close`."""
        self._batches.close()

    def train_mode(self) -> None:
        """Everything learns that is not frozen."""
        backbone = self._run.model.backbone
        backbone.train(not self._run.settings.freeze_backbone)
        if self._run.model.adapters is not None:
            hold_statistics(backbone)
        backbone.head_module().train()

    def _measured(self, val: ClipSet) -> dict[str, float]:
        return measured_frames(self._run, self._batches, val) if self._of_frames else super()._measured(val)

    def _logits(self, val: ClipSet) -> Tensor:
        run, backbone, fabric = self._run, self._run.model.backbone, self._run.fabric
        plan = whole_pass(len(val), run.settings.batch_size, fabric.global_rank, fabric.world_size)
        mine = torch.full((len(val), len(run.model.labels)), float("-inf"), device=fabric.device)
        with torch.inference_mode():
            for batch in self._batches.read("val", plan):
                inputs = fabric.to_device({name: batch[name] for name in backbone.inputs})
                with run.model.computing(), fabric.autocast():
                    mine[batch["index"].to(fabric.device)] = backbone(**inputs).float()
        # Every process has filled in the rows of its own clips.
        return cast(Tensor, fabric.all_gather(mine)).amax(0) if fabric.world_size > 1 else mine


class HeadSource(Source):
    """What the frozen network of a run gave for each clip, computed once and kept on disk, over runs.

    Attributes:
        train_inputs: That of the training clips, float32 (clips, …).
    """

    def __init__(self, run: TrainingRun) -> None:
        super().__init__(run)
        embed, val = FrozenEmbedder(run), run.clips.val
        self.train_inputs = torch.from_numpy(embed(run.clips.train))
        self._val_inputs = torch.empty(0) if val is None else torch.from_numpy(embed(val))

    def train_batches(self, batches: list[list[Draw]]) -> Generator[dict[str, Tensor]]:
        """See `Source.train_batches`."""
        for batch in batches:
            index = torch.tensor([draw[0] for draw in batch])
            yield {"index": index, "head_input": self.train_inputs[index]}

    def train_mode(self) -> None:
        """The head learns; the rest stays in eval mode."""
        self._run.model.backbone.eval()
        self._run.model.backbone.head_module().train()

    def _logits(self, val: ClipSet) -> Tensor:
        head, move = self._run.model.backbone.forward_head, self._run.fabric.to_device
        with torch.inference_mode(), self._run.model.computing():
            return torch.cat([head(move(part)).float().cpu() for part in torch.split(self._val_inputs, 1024)])


class FrozenEmbedder:
    """Computes what the head of a frozen network takes, looking on disk first.

    The key of a clip is made of the content of its file, the part of it that is used, and everything in the network
    and its front end that has a say.
    """

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._store = cache_folder() / "embeddings.sqlite"
        # A head on clip embeddings takes each clip at its own length, as the tagger does; one on frames needs all
        # clips alike.
        self._bounds = run.model.lengths.bounds if _takes_embeddings(run.model) else (run.seconds, run.seconds)

    def __call__(self, clips: ClipSet) -> NDArray[np.float32]:
        """What the head takes for each clip, float32 (clips, …)."""
        keys = embedding_keys(clips, self._run.model, self._bounds)
        with ArrayCache(self._store) as store:
            known = store.get(keys)
            missing = [index for index, key in enumerate(keys) if key not in known]
            if missing:
                self._run.reporter.computing("embeddings", len(known), len(set(keys)))
                for indices, values in self._compute(clips, missing):
                    fresh = {keys[index]: value for index, value in zip(indices, values, strict=True)}
                    store.put(fresh)
                    known |= fresh
                    self._run.reporter.computing("embeddings", len(known), len(set(keys)))
            else:
                self._run.reporter.message(f"All {len(clips)} embeddings were cached in {self._store}.")
        return np.stack([known[key] for key in keys])

    def _compute(self, clips: ClipSet, indices: list[int]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        run, backbone = self._run, self._run.model.backbone
        with run.model.computing("accelerating"):
            network: Any = backbone.accelerated().to(run.fabric.device)
        reader = ClipReader(clips, Intake.of(backbone, self._bounds), cache=run.cache)
        plan = [
            [(index, index) for index in indices[start : start + _EMBEDDING_BATCH]]
            for start in range(0, len(indices), _EMBEDDING_BATCH)
        ]
        with closing(Batches({"clips": reader}, run.settings.workers)) as batches, torch.inference_mode():
            for batch in batches.read("clips", plan):
                inputs = run.fabric.to_device({name: batch[name] for name in backbone.inputs})
                with run.model.computing():
                    values = network.head_input(network.forward_features(**inputs)).float().cpu().numpy()
                yield batch["index"].tolist(), values


def _takes_embeddings(model: Model) -> bool:
    """Whether what the head takes has one shape, whatever the length of the clip."""
    backbone = model.backbone
    if "waveform" not in backbone.inputs:
        return True
    silence = torch.zeros(1, round(model.lengths.shortest * backbone.sample_rate))
    inputs: dict[str, Tensor] = {"waveform": silence}
    if "video" in backbone.inputs and backbone.video_shape is not None:
        inputs["video"] = torch.zeros(1, *backbone.video_shape)
    training = backbone.training
    backbone.eval()
    with model.computing(), torch.inference_mode():
        shape = backbone.head_input(backbone.forward_features(**inputs)).shape
    backbone.train(training)
    return len(shape) == 2
