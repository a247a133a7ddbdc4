"""Pre-training on paired sounds and pictures: steps, schedule, checkpoints, and going on where it stopped.

Everything random in a step is derived from (seed, epoch, place, process), so a run that goes on from a checkpoint
computes what an uninterrupted one would have, and the division among processes changes nothing that is drawn.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessRaisedException

from audiotag.data.clips import ClipSet
from audiotag.data.video import IMAGENET_MEAN, IMAGENET_STD
from audiotag.errors import CheckpointError, OptionError, TrainingError
from audiotag.files import atomic_path, check_place
from audiotag.host import get_host
from audiotag.plugin import FrontEnd, PairLoss
from audiotag.seeding import numpy_generator, scoped_torch_rng
from audiotag.training.reporting import CsvLog
from audiotag.training.schedules import warmup_cosine
from audiotag_equiav.losses import total_loss
from audiotag_equiav.pairs import Draw, PairBatch, PairReader, read_batches, spectrograms
from audiotag_equiav.pretraining_network import Embeddings, PretrainingNetwork, PretrainingOptions
from audiotag_equiav.settings import PretrainingSettings
from audiotag_equiav.transformations import apply_picture, apply_sound
from audiotag_equiav.warmstart import warm_start

FORMAT, FORMAT_VERSION = "equiav-pretraining", 1
STATE_FILE, WEIGHTS_FILE, LOG_FILE = "last.pt", "pretrained.safetensors", "log.csv"

Report = Callable[[str], None]


def pretrain(
    train: ClipSet,
    output: str | Path,
    *,
    options: PretrainingOptions | None = None,
    settings: PretrainingSettings | None = None,
    init: str | Path | None = None,
    data: dict[str, Any] | None = None,
    report: Report | None = None,
) -> list[dict[str, float]]:
    """Pre-train a network.

    Args:
        train: Clips with sound and pictures; labels do not matter.
        output: Folder of the run, new or empty. It comes to hold ``pretrained.safetensors`` (the weights, for warm
            starts and retrieval), ``last.pt`` (to go on from) and ``log.csv``.
        options: What the network is made of.
        settings: How it is trained.
        init: MAE or pre-trained weights to start from.
        data: How *train* was read, kept for `resume_pretraining`.
        report: Told what happens; with several processes it must be a function of a module.

    Returns:
        A row for each epoch: ``epoch``, ``loss``, ``inter``, ``intra_sound``, ``intra_picture``,
        ``learning_rate``, ``seconds``.

    Raises:
        ManifestError: Clips lack pictures.
        TrainingError: *output* is in use, there are too few clips, a clip cannot be read, or the loss is not finite.
        CheckpointError: *init* does not fit.
    """
    folder = Path(output)
    if folder.exists() and any(folder.iterdir()):
        raise TrainingError(
            "the folder is not empty", where=folder, fix="Name a new one, or go on with the run in it (--resume)."
        )
    check_place(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(
        clips=train,
        folder=folder,
        options=options or PretrainingOptions(),
        settings=settings or PretrainingSettings(),
        init=None if init is None else str(init),
        data=data or {},
        report=report or _ignore,
    )
    return run.launch()


def resume_pretraining(folder: str | Path, train: ClipSet, *, report: Report | None = None) -> list[dict[str, float]]:
    """Go on with a run, exactly as if it had not stopped.

    Args:
        folder: The run.
        train: The same clips as before.
        report: Told what happens.

    Raises:
        CheckpointError: There is no run to go on with.
        TrainingError: *train* has other clips than the run.
    """
    folder = Path(folder)
    state = read_run(folder)
    if state["clips"] != [clip.id for clip in train.clips]:
        raise TrainingError(
            f"the run was on {len(state['clips'])} clips, and these are {len(train)}, or others",
            where=folder,
            fix="Give the clips it began with.",
        )
    run = _Run(
        clips=train,
        folder=folder,
        options=PretrainingOptions.from_dict(state["options"]),
        settings=PretrainingSettings(**state["settings"]),
        init=None,
        data=state["data"],
        report=report or _ignore,
    )
    return run.launch()


def read_run(folder: str | Path) -> dict[str, Any]:
    """The state of a run, as ``last.pt`` holds it.

    Raises:
        CheckpointError: There is none, or it is not one of ours.
    """
    path = Path(folder) / STATE_FILE
    if not path.is_file():
        raise CheckpointError("there is no run to go on with", where=path, fix="Check the folder.")
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or state.get("format") != FORMAT or state["version"] != FORMAT_VERSION:
        raise CheckpointError("it is no state of EquiAV's pre-training, or of another version", where=path)
    return state


def _ignore(_: str) -> None:
    """Tell nobody."""


@dataclass
class _Run:
    """One run. Picklable, so that several processes can start from it."""

    clips: ClipSet
    folder: Path
    options: PretrainingOptions
    settings: PretrainingSettings
    init: str | None
    data: dict[str, Any]
    report: Report

    def launch(self) -> list[dict[str, float]]:
        settings = self.settings
        if len(self.clips) < settings.batch_size:
            raise TrainingError(
                f"{len(self.clips)} clips do not fill a batch of {settings.batch_size}",
                where=self.clips.source,
                fix="Give more clips or a smaller batch size.",
            )
        try:
            fabric = Fabric(
                accelerator=settings.accelerator,
                devices=settings.devices,
                strategy="ddp_spawn" if settings.devices > 1 else "auto",
                precision=settings.precision,  # type: ignore[arg-type] # Fabric refuses unknown ones itself
            )
        except (RuntimeError, ValueError) as error:  # how Fabric answers what this machine lacks
            raise OptionError(str(error), where="pre-training", fix="Use another accelerator or precision.") from error
        try:
            history: list[dict[str, float]] = fabric.launch(partial(_train, self))
        except ProcessRaisedException as error:
            last = str(error).strip().splitlines()[-1]
            raise TrainingError(f"one of {settings.devices} processes failed: {last}", where=self.folder) from error
        return history


def _train(run: _Run, fabric: Fabric) -> list[dict[str, float]]:
    settings = run.settings
    reader = PairReader(
        run.clips, run.options, centroid_count=settings.centroid_count, seed=settings.seed, training=True
    )
    with scoped_torch_rng(settings.seed, "parameters"):
        network = PretrainingNetwork(run.options)
    if run.init is not None:
        taken = warm_start(network, run.init)
        if fabric.is_global_zero:
            run.report(str(taken))
    optimiser = torch.optim.AdamW(
        _groups(network, settings.weight_decay), lr=settings.learning_rate, betas=settings.betas
    )
    wrapped, wrapped_optimiser = fabric.setup(network, optimiser)
    step = PretrainingStep(fabric, wrapped, settings)
    progress: dict[str, Any] = {"epoch": 0, "step": 0, "sums": [0.0] * 4, "history": []}
    if (run.folder / STATE_FILE).is_file():
        state = read_run(run.folder)
        network.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimizer"])
        fabric.strategy.precision.load_state_dict(state["precision"])
        progress = state["progress"]
    network.train()
    steps = len(run.clips) // settings.batch_size

    def save() -> None:
        if fabric.is_global_zero:
            _save(run, network, optimiser, fabric, progress)

    for epoch in range(progress["epoch"], settings.epochs):
        started = time.perf_counter()
        plan = _plan(len(run.clips), settings, epoch, fabric.global_rank)[progress["step"] :]
        for place, batch in enumerate(read_batches(reader, plan, settings.workers), start=progress["step"]):
            rate = settings.learning_rate * warmup_cosine(
                epoch + place / steps,
                total=settings.epochs,
                warmup=settings.warmup,
                start=settings.start_factor,
                final=settings.final_factor,
            )
            for group in optimiser.param_groups:
                group["lr"] = rate
            devices = [fabric.device]
            with scoped_torch_rng(settings.seed, "step", epoch, place, fabric.global_rank, devices=devices):
                losses = step(batch.to(fabric.device))
            if not bool(torch.isfinite(losses[0])):
                raise TrainingError(
                    f"the loss is {float(losses[0])} in step {place} of epoch {epoch}",
                    where=run.folder,
                    fix="Lower the learning rate, or use another precision.",
                )
            wrapped_optimiser.zero_grad()
            fabric.backward(losses[0])
            wrapped_optimiser.step()
            progress["sums"] = [
                total + float(one) for total, one in zip(progress["sums"], losses.detach(), strict=True)
            ]
            progress["step"] = place + 1
            if (place + 1) % settings.save_steps == 0 and place + 1 < steps:
                save()
        names = ("loss", "inter", "intra_sound", "intra_picture")
        row = {"epoch": epoch + 1.0}
        row |= {name: total / steps for name, total in zip(names, progress["sums"], strict=True)}
        row |= {"learning_rate": rate, "seconds": round(time.perf_counter() - started, 3)}
        progress["history"].append(row)
        progress |= {"epoch": epoch + 1, "step": 0, "sums": [0.0] * 4}
        save()
        if fabric.is_global_zero:
            CsvLog(run.folder / LOG_FILE).write(progress["history"])
            run.report(
                f"epoch {epoch + 1} of {settings.epochs}: loss {row['loss']:.4f} (between modalities "
                f"{row['inter']:.4f}, sounds {row['intra_sound']:.4f}, pictures {row['intra_picture']:.4f})"
            )
    history: list[dict[str, float]] = progress["history"]
    return history


class PretrainingStep:
    """From a batch of pairs to the losses.

    Args:
        fabric: Devices and processes.
        network: A `PretrainingNetwork`, set up by *fabric*.
        settings: Losses and temperature.
    """

    def __init__(self, fabric: Fabric, network: nn.Module, settings: PretrainingSettings) -> None:
        self._fabric = fabric
        self._network = network
        self._front_end = cast(FrontEnd, network.front_end)
        self._inter = _loss(settings.inter_loss, settings.temperature)
        self._intra = _loss(settings.intra_loss, settings.temperature)
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(IMAGENET_MEAN, device=fabric.device).view(shape)
        self._std = torch.tensor(IMAGENET_STD, device=fabric.device).view(shape)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Losses of a batch on the network's device: float32 (4,), total, inter, intra of sounds and of pictures.

        The embeddings of all processes are gathered, with gradient: every process has the loss of the whole batch,
        and the gradients averaged over processes are those of one process that has it all.
        """
        sound = spectrograms(self._front_end, batch.waveforms)
        embeddings = self._network(
            sound,
            (batch.pictures - self._mean) / self._std,
            apply_sound(sound, batch.sound_vectors),
            (apply_picture(batch.pictures, batch.picture_vectors) - self._mean) / self._std,
            batch.sound_vectors,
            batch.picture_vectors,
            batch.sound_centroids,
            batch.picture_centroids,
        )
        if self._fabric.world_size > 1:
            gathered = cast(Tensor, self._fabric.all_gather(torch.stack(list(embeddings)), sync_grads=True))
            # (processes, 6, batch, dim) → six of (processes · batch, dim)
            embeddings = Embeddings(*gathered.transpose(0, 1).flatten(1, 2).unbind(0))
        inter = self._inter(embeddings.sound_inv, embeddings.picture_inv).mean()
        sounds = self._intra(embeddings.sound_equi, embeddings.sound_aug).mean()
        pictures = self._intra(embeddings.picture_equi, embeddings.picture_aug).mean()
        return torch.stack([total_loss(inter, sounds, pictures), inter, sounds, pictures])


def _loss(name: str, temperature: float) -> PairLoss:
    host = get_host()
    spec = host.loss(name)
    if spec.task != "embedding":
        known = [one.name for one in host.losses.values() if one.task == "embedding"]
        raise OptionError(
            f"the loss {name!r} is for class scores", where="pre-training", fix=f"Give one of: {', '.join(known)}."
        )
    loss: PairLoss = host.make(spec, temperature=temperature)
    return loss


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Biases, norms and the like are not decayed."""
    matrices = [one for one in network.parameters() if one.ndim > 1 and one.shape[:2] != (1, 1)]
    rest = [one for one in network.parameters() if not (one.ndim > 1 and one.shape[:2] != (1, 1))]
    return [{"params": matrices, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]


def _plan(clips: int, settings: PretrainingSettings, epoch: int, rank: int) -> list[list[Draw]]:
    """This process's part of each batch of an epoch."""
    order = numpy_generator(settings.seed, "order", epoch).permutation(clips)
    size = settings.batch_size
    draws = [(int(index), epoch * clips + place) for place, index in enumerate(order)]
    batches = [draws[start : start + size] for start in range(0, clips - size + 1, size)]
    return [batch[rank :: settings.devices] for batch in batches]


def _save(
    run: _Run,
    network: PretrainingNetwork,
    optimiser: torch.optim.Optimizer,
    fabric: Fabric,
    progress: dict[str, Any],
) -> None:
    weights = network.state_dict()
    options = run.options.to_dict()
    state = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "model": weights,
        "optimizer": optimiser.state_dict(),
        "precision": fabric.strategy.precision.state_dict(),
        "progress": progress,
        "options": options,
        "settings": asdict(run.settings),
        "data": run.data,
        "clips": [clip.id for clip in run.clips.clips],
    }
    with atomic_path(run.folder / STATE_FILE) as path:
        torch.save(state, path)
    with atomic_path(run.folder / WEIGHTS_FILE) as path:
        save_file(_plain(weights), path, metadata={"options": json.dumps(options)})


def _plain(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().cpu().contiguous() for key, value in weights.items()}
