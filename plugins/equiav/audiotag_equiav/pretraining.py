"""Pre-training on paired sounds and pictures: steps, schedule, checkpoints, and going on where it stopped.

Everything random in a step is derived from (seed, epoch, place, process), so a run that goes on from a checkpoint
computes what an uninterrupted one would have, and the division among processes changes nothing that is drawn.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessException

from audiotag.plugin import (
    LEARNED,
    CheckpointError,
    ClipSet,
    CsvLog,
    Fields,
    FrontEnd,
    Heard,
    OptionError,
    PairLoss,
    StopRequests,
    TrainingError,
    atomic_path,
    get_host,
    held,
    numpy_generator,
    remove_abandoned,
    scoped_torch_rng,
    warmup_cosine,
)
from audiotag_equiav.losses import total_loss
from audiotag_equiav.pairs import Draw, PairBatch, PairBatches, PairReader, normalised, spectrograms
from audiotag_equiav.pretraining_network import Embeddings, PretrainingNetwork, PretrainingOptions
from audiotag_equiav.settings import PretrainingSettings
from audiotag_equiav.transformations import apply_picture, apply_sound
from audiotag_equiav.warmstart import warm_start

FORMAT, FORMAT_VERSION = "equiav-pretraining", 1
STATE_FILE, WEIGHTS_FILE, LOG_FILE = "last.pt", "pretrained.safetensors", "log.csv"
_COPY = "Copy the run again, or start a new one."

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
        OutputError: Nothing can be written in *output*.
        TrainingError: *output* is not empty, or another process trains in it; there are too few clips, a clip cannot
            be read, or the loss is not finite.
        CheckpointError: *init* does not fit.
        Stopped: The process was asked to stop; the run can be resumed.
    """
    folder = Path(output)
    options, settings = options or PretrainingOptions(), settings or PretrainingSettings()
    start = None if init is None else str(init)
    run = _Run(train, folder, options, settings, start, data or {}, report or _ignore)
    fabric = run.fabric()  # what cannot work is refused before there is a folder
    with held(folder):
        remove_abandoned(folder)
        if any(folder.iterdir()):
            begun = (folder / STATE_FILE).is_file()
            go_on = f", or resume it with: audiotag x equiav pretrain --resume {folder}" if begun else ""
            raise TrainingError("the folder is not empty", where=folder, fix=f"Name a new one{go_on}.")
        return run.launch(fabric)


def resume_pretraining(folder: str | Path, train: ClipSet, *, report: Report | None = None) -> list[dict[str, float]]:
    """Go on with a run, exactly as if it had not stopped.

    Args:
        folder: The run.
        train: The same clips as before.
        report: Told what happens.

    Raises:
        CheckpointError: There is no run to go on with.
        Stopped: The process was asked to stop; the run can be resumed.
        OptionError: What the run was begun with cannot work here.
        TrainingError: *train* has other clips than the run, or another process trains in the folder.
    """
    folder = Path(folder)
    with held(folder):
        state = read_run(folder)
        if state["clips"] != list(train.columns.ids):
            raise TrainingError(
                f"the run was on {len(state['clips'])} clips, and these are {len(train)}, or others",
                where=folder,
                fix="Give the clips it was started with.",
            )
        try:
            settings = PretrainingSettings.from_dict(state["settings"])
        except OptionError as error:
            raise CheckpointError(
                f"the run cannot be resumed with its settings: {error.what}",
                where=folder,
                fix=f"Start a new one from its weights: --init {folder / WEIGHTS_FILE}.",
            ) from error
        options = PretrainingOptions.from_dict(state["options"])
        run = _Run(train, folder, options, settings, None, state["data"], report or _ignore)
        return run.launch(run.fabric())


def read_run(folder: str | Path) -> dict[str, Any]:
    """The state of a run, as ``last.pt`` holds it.

    Raises:
        CheckpointError: There is none, or it is not one of ours.
    """
    path = Path(folder) / STATE_FILE
    if not path.is_file():
        raise CheckpointError(
            "there is no run to resume",
            where=path,
            fix="Check the folder; a run that had saved nothing yet is restarted by its own command.",
        )
    with _damaged("the state of the run cannot be read", path):
        content = torch.load(path, map_location="cpu", weights_only=True)
    state = Fields(content, where=path, error=CheckpointError, fix=_COPY)
    if state.get("format") != FORMAT or state.get("version") != FORMAT_VERSION:
        raise CheckpointError("it is not a state of EquiAV's pre-training, or one of another version", where=path)
    for name in ("model", "optimizer", "precision", "options", "settings"):
        state.fields(name)
    progress = state.fields("progress")
    if len(progress.numbers("sums")) != 4:
        raise progress.refuse("sums", "must be four numbers")
    for name in ("epoch", "step"):
        progress.integer(name, least=0)
    for row in progress.records("history"):
        for name in row:
            row.number(name)
    state.texts("clips")
    data = state.fields("data")
    if data:
        data.text("path")
        for name in data:
            if name not in ("path", "format", "root", "frames"):
                raise data.refuse(name, "is nothing that clips are read with")
            if name == "frames":
                data.integer(name, None, least=1)
            else:
                data.text(name, None)
    return dict(state)


@contextmanager
def _damaged(what: str, path: Path) -> Iterator[None]:
    """Make any error inside a `CheckpointError`: damaged bytes, and what does not fit, are met with every kind."""
    try:
        yield
    except Exception as error:  # the unpickler and the loaders of states raise their own
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise CheckpointError(f"{what} ({reason})", where=path, fix=_COPY) from error


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

    @cached_property
    def learned_from(self) -> str:
        """The sounds of the run, as the text of a `Heard`."""
        return str(Heard.of(self.clips))

    def fabric(self) -> Fabric:
        """Devices and processes.

        Raises:
            TrainingError: There are too few clips.
            OptionError: This machine lacks what the settings name.
        """
        settings = self.settings
        if len(self.clips) < settings.batch_size:
            raise TrainingError(
                f"{len(self.clips)} clips do not fill a batch of {settings.batch_size}",
                where=self.clips.source,
                fix="Give more clips or a smaller batch size.",
            )
        try:
            return Fabric(
                accelerator=settings.device,
                devices=settings.devices,
                strategy="ddp_spawn" if settings.devices > 1 else "auto",
                precision=settings.precision,  # type: ignore[arg-type] # Fabric refuses unknown ones itself
            )
        except (RuntimeError, ValueError) as error:  # how Fabric answers what this machine lacks
            raise OptionError(str(error), where="pre-training", fix="Use another device or precision.") from error

    def launch(self, fabric: Fabric) -> list[dict[str, float]]:
        try:
            history: list[dict[str, float]] = fabric.launch(partial(_train, self))
        except ProcessException as error:
            last = str(error).strip().splitlines()[-1]
            raise TrainingError(
                f"one of {self.settings.devices} processes failed: {last}", where=self.folder
            ) from error
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
        with _damaged("the state does not fit the network", run.folder / STATE_FILE):
            network.load_state_dict(state["model"])
            optimiser.load_state_dict(state["optimizer"])
            fabric.strategy.precision.load_state_dict(state["precision"])
        progress = state["progress"]
        if fabric.is_global_zero:  # a killed process may have written the state alone
            _write_results(run, network, progress)
    network.train()
    steps = len(run.clips) // settings.batch_size

    def save() -> tuple[int, int]:
        if fabric.is_global_zero:
            _save(run, network, optimiser, fabric, progress)
        return progress["epoch"], progress["step"]

    stops = StopRequests(fabric, save, run.folder, "audiotag x equiav pretrain")
    with stops.taken(), closing(PairBatches(reader, settings.workers)) as batches:
        for epoch in range(progress["epoch"], settings.epochs):
            started = time.perf_counter()
            plan = _plan(len(run.clips), settings, epoch, fabric.global_rank)[progress["step"] :]
            with closing(batches.read(plan)) as ahead:
                while (batch := stops.waiting(lambda: next(ahead, None))) is not None:
                    place = progress["step"]
                    for group in optimiser.param_groups:
                        group["lr"] = _rate(settings, epoch + place / steps)
                    devices = [fabric.device]
                    with scoped_torch_rng(settings.seed, "step", epoch, place, fabric.global_rank, devices=devices):
                        losses = step(batch.to(fabric.device))
                    value = float(losses[0].detach())
                    if not math.isfinite(value):
                        raise TrainingError(
                            f"the loss became {value} in epoch {epoch + 1}, step {place + 1}",
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
                    if stops.asked():
                        stops.stop()
            names = ("loss", "inter", "intra_sound", "intra_picture")
            row = {"epoch": epoch + 1.0}
            row |= {name: total / steps for name, total in zip(names, progress["sums"], strict=True)}
            row |= {"learning_rate": _rate(settings, epoch + (steps - 1) / steps)}
            row |= {"seconds": round(time.perf_counter() - started, 3)}
            progress["history"].append(row)
            progress |= {"epoch": epoch + 1, "step": 0, "sums": [0.0] * 4}
            save()
            if fabric.is_global_zero:
                run.report(
                    f"epoch {epoch + 1} of {settings.epochs}: loss {row['loss']:.4f} (between modalities "
                    f"{row['inter']:.4f}, sounds {row['intra_sound']:.4f}, pictures {row['intra_picture']:.4f})"
                )
    history: list[dict[str, float]] = progress["history"]
    return history


def _rate(settings: PretrainingSettings, epochs: float) -> float:
    """The learning rate after so many epochs."""
    ends = {"start": settings.start_factor, "final": settings.final_factor}
    return settings.learning_rate * warmup_cosine(epochs, total=settings.epochs, warmup=settings.warmup, **ends)


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

    def __call__(self, batch: PairBatch) -> Tensor:
        """Losses of a batch on the network's device: float32 (4,), total, inter, intra of sounds and of pictures.

        The embeddings of all processes are gathered, with gradient: every process has the loss of the whole batch,
        and the gradients averaged over processes are those of one process that has it all.
        """
        sound = spectrograms(self._front_end, batch.waveforms)
        embeddings = self._network(
            sound,
            normalised(batch.pictures),
            apply_sound(sound, batch.sound_vectors),
            normalised(apply_picture(batch.pictures, batch.picture_vectors)),
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
    loss: PairLoss = host.make(host.loss(name), temperature=temperature)
    return loss


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Biases, norms and the like are not decayed."""
    parts: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for one in network.parameters():
        parts[one.ndim > 1 and one.shape[:2] != (1, 1)].append(one)
    return [{"params": part, "weight_decay": decay * decayed} for decayed, part in parts.items()]


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
    state = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "model": network.state_dict(),
        "optimizer": optimiser.state_dict(),
        "precision": fabric.strategy.precision.state_dict(),
        "progress": progress,
        "options": run.options.to_dict(),
        "settings": run.settings.to_dict(),
        "data": run.data,
        "clips": list(run.clips.columns.ids),
    }
    with atomic_path(run.folder / STATE_FILE) as path:
        torch.save(state, path)
    _write_results(run, network, progress)


def _write_results(run: _Run, network: PretrainingNetwork, progress: dict[str, Any]) -> None:
    """What others take from the run: it follows from the state."""
    metadata = {"options": json.dumps(run.options.to_dict(), allow_nan=False), LEARNED: run.learned_from}
    with atomic_path(run.folder / WEIGHTS_FILE) as path:
        weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
        save_file(weights, path, metadata=metadata)
    if progress["history"]:
        CsvLog(run.folder / LOG_FILE).write(progress["history"])
