"""The training loop: steps, schedules, validation, checkpoints, and going on where it stopped.

Everything random in a step is derived from (seed, epoch, step, process), so a run that goes on from a checkpoint
computes what an uninterrupted one would have.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audiotag.data.heard import CHOSEN_ON
from audiotag.errors import OptionError, PluginError, TrainingError
from audiotag.host import get_host
from audiotag.models.checkpoint import Snapshot, load_training_state, snapshot
from audiotag.models.epochs import epoch_folder
from audiotag.seeding import numpy_generator, scoped_torch_rng
from audiotag.training.averaging import Averages
from audiotag.training.data import HEARD, count_batches, cut_batches
from audiotag.training.interfaces import SamplingContext
from audiotag.training.loss_record import LossRecord
from audiotag.training.mixing import PARTNER
from audiotag.training.optimisation import load_optimiser_state, make_optimiser, optimising
from audiotag.training.processes import in_any_process
from audiotag.training.reporting import CsvLog, EpochLogger
from audiotag.training.run import TrainingRun
from audiotag.training.schedules import step_warmup
from audiotag.training.sources import Source
from audiotag.training.stopping import StopRequests
from audiotag.training.validation import AGAINST_DIVERGENCE

SAVE_EVERY_SECONDS = 20.0
"""Least time between two writings of checkpoints: of the state to go on from, and of what validation has chosen since.

Both are always written at the end and when the run is stopped. Where epochs take a fraction of a second, writing and
flushing after each would take longer than they do."""

_CHOSEN = ("best", "best_loss")
"""Checkpoints that the validation clips have chosen among the epochs."""


@dataclass
class Progress:
    """Where a run is. Plain values, kept in the checkpoint.

    Attributes:
        epoch: Epochs done.
        step: Steps done in the next one.
        loss_sum: Sum of the losses of these steps, each counted by its clips.
        clips: Number of these clips.
        history: One row an epoch.
        best_metric: Best value of the metric so far, None before the first.
        best_metric_loss: Validation loss of that epoch.
        best_loss: Lowest validation loss so far.
        best_epoch: Epoch of the best metric.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    clips: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_metric: float | None = None
    best_metric_loss: float | None = None
    best_loss: float | None = None
    best_epoch: int | None = None


class Trainer:
    """Runs the epochs.

    Args:
        run: What is trained, with what, and where.
        step: The step as a module, holding the model's backbone.
        source: Batches and validation.

    Raises:
        OptionError: The warm-up in steps is as long as the run, or batches are too small for the processes.
        PluginError: The sampler chooses clips that there are not.
    """

    def __init__(self, run: TrainingRun, step: nn.Module, source: Source) -> None:
        self.fabric, self.model, self.backbone, self.settings = run.fabric, run.model, run.model.backbone, run.settings
        self.folder, self.reporter, self.learned = run.folder, run.reporter, run.learned
        self.source, self.supervision, self.sampler, self.schedule = source, run.supervision, run.sampler, run.schedule
        settings, fabric = run.settings, run.fabric
        # Each group's ``base_lr`` is its rate at factor 1.
        with run.model.computing("grouping the parameters of"):
            optimiser = make_optimiser(run.model.backbone, settings)
        self.step, self.optimiser = fabric.setup(step, optimiser)
        self._optimising = optimising(settings)
        self.loggers: Sequence[EpochLogger] = ()
        self.progress = Progress()
        self.averages = Averages(settings, run.model.backbone)
        self.log = CsvLog(run.folder / "log.csv")
        self.losses = LossRecord(fabric, len(run.supervision.targets)) if run.sampler.wants_losses else None
        self._first_order = self._order(0)
        self._steps = count_batches(len(self._first_order), settings.batch_size, fabric.world_size)
        if settings.warmup_steps >= (steps := self._steps * settings.epochs):
            raise OptionError(
                f"a warm-up of {settings.warmup_steps} steps does not fit a run of {steps}",
                where="warmup_steps",
                fix="Make it shorter, or 0 for none.",
            )
        self._saved_at = time.monotonic()
        self._chosen: dict[str, Snapshot] = {}
        self._stops = StopRequests(fabric, self._save_state, run.folder, "audiotag finetune")

    def resume(self, folder: Path) -> None:
        """Take up the state that a checkpoint folder keeps; the model itself has been loaded from it already.

        Raises:
            TrainingError: The checkpoint keeps no training state, or that of other groups of parameters.
        """
        state = load_training_state(folder)
        self.progress = Progress(**state["progress"])
        with self._optimising:
            load_optimiser_state(self.optimiser, state["optimiser"], folder)
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.averages.load_state_dict(state.get("averages", {}))
        if self.losses is not None and "losses" in state:
            self.losses.load_state_dict(state["losses"])

    def fit(self, loggers: Sequence[EpochLogger] = ()) -> Progress:
        """Train to the last epoch.

        Args:
            loggers: Take the row of each epoch; they are closed at the end.

        Raises:
            Stopped: The process was asked to stop; ``last`` holds the state at the last whole step.
            TrainingError: The loss is not finite.
        """
        self.loggers = loggers
        epochs = self.settings.epochs
        self.reporter.start(epochs, self._steps, self.progress.epoch)
        with self._stops.taken(), self.learned:
            try:
                while self.progress.epoch < epochs:
                    self._run_epoch(epochs)
                    if self._out_of_patience():
                        self.reporter.message(
                            f"Stopped early: no better {self.settings.metric} "
                            f"for {self.settings.early_stopping} epochs."
                        )
                        break
                self._stops.waiting(self.learned.finish)
                self._save("last", resume=True)
                self._finish_averages()
            finally:
                self.source.close()
                self._write_chosen()
                self.reporter.finish()
                for logger in self.loggers:
                    logger.close()
        return self.progress

    def _order(self, epoch: int) -> NDArray[np.int64]:
        targets = self.supervision.targets
        losses = None if self.losses is None else self.losses.last
        context = SamplingContext(epoch, self.settings.epochs, losses)
        host, generator = get_host(), numpy_generator(self.settings.seed, "order", epoch)
        with host.running(host.sampling_policy(self.settings.sampler), f"choosing the clips of epoch {epoch + 1}"):
            chosen = np.asarray(self.sampler.epoch(targets, generator, context))
        if chosen.ndim != 1 or not len(chosen) or not np.issubdtype(chosen.dtype, np.integer):
            what = f"gives {chosen.dtype} of the shape {chosen.shape}, not a list of whole numbers"
        elif chosen.min() < 0 or chosen.max() >= len(targets):
            what = (
                f"chooses clips from {chosen.min()} to {chosen.max()}, and there are those from 0 to {len(targets) - 1}"
            )
        else:
            return chosen.astype(np.int64)
        raise PluginError(
            f"it {what}", where=f"sampler {self.settings.sampler}", fix="Choose another, or report it to its authors."
        )

    def _run_epoch(self, epochs: int) -> None:
        progress, settings = self.progress, self.settings
        started = time.monotonic()
        epoch = progress.epoch
        with self.model.computing("beginning an epoch of"):
            self.backbone.on_epoch_start(epoch, epochs)
            self.source.train_mode()
        batches = cut_batches(
            self._order(epoch) if epoch else self._first_order,
            settings.batch_size,
            epoch,
            rank=self.fabric.global_rank,
            world=self.fabric.world_size,
        )
        with closing(self.source.train_batches(batches[progress.step :])) as ahead:
            while (batch := self._stops.waiting(lambda: next(ahead, None))) is not None:
                rate = self._set_rates(epoch, progress.step, len(batches))
                loss = self._one_step(batch, epoch, progress.step)
                self.averages.after_step()
                count = len(batch["index"])
                progress.loss_sum += loss * count
                progress.clips += count
                progress.step += 1
                self.reporter.step(epoch, progress.step, progress.loss_sum / progress.clips, rate)
                if self._stops.asked():
                    self._stops.stop()
        rate = self._set_rates(epoch, len(batches) - 1, len(batches))
        row: dict[str, Any] = {
            "epoch": epoch + 1,
            "train_loss": self._mean_over_processes(progress.loss_sum / max(progress.clips, 1)),
            "learning_rate": rate,
        }
        row |= {f"val_{name}": value for name, value in self._stops.waiting(self.source.validate).items()}
        self._stops.waiting(self.learned.finish)
        row["seconds"] = round(time.monotonic() - started, 3)
        progress.epoch, progress.step, progress.loss_sum, progress.clips = epoch + 1, 0, 0.0, 0
        progress.history.append(row)
        self.averages.after_epoch(progress.epoch)
        if self.losses is not None:
            self.losses.end_epoch()
        due = in_any_process(self.fabric, time.monotonic() - self._saved_at > SAVE_EVERY_SECONDS)
        self._keep_best(row, changing=not due)
        if settings.keep_epochs:
            self._save(str(epoch_folder("", progress.epoch)))
        if self.fabric.is_global_zero:
            self.log.write(progress.history)
            for logger in self.loggers:
                logger.log(row)
        self.reporter.epoch(row, best=progress.best_epoch == epoch + 1)
        if due:
            self._save("last", resume=True)
        if self._stops.asked() and progress.epoch < epochs:
            self._stops.stop()

    def _set_rates(self, epoch: int, step: int, steps: int) -> float:
        factor = self.schedule(epoch + (step + 0.5) / steps)
        factor *= step_warmup(epoch * steps + step, self.settings.warmup_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_lr"] * factor
        return float(self.optimiser.param_groups[0]["lr"])

    def _one_step(self, batch: dict[str, Tensor], epoch: int, step: int) -> float:
        place = (self.settings.seed, epoch, step, self.fabric.global_rank)
        index = batch.pop("index")
        known = {name: batch.pop(name, None) for name in ("partner", HEARD, f"{PARTNER}{HEARD}")}
        labels = self.supervision.batch(index, share=batch.get("share"), **known)
        labels = self.fabric.to_device(labels)
        inputs = self.fabric.to_device(batch)
        # Dropout and drop path draw from torch's global generator: give them one of this step's own.
        with scoped_torch_rng("step", *place, devices=[self.fabric.device]):
            losses = self.step(inputs, labels, place)
        loss = losses.mean()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value} in epoch {epoch + 1}, step {step + 1}",
                where=self.folder,
                fix=AGAINST_DIVERGENCE,
            )
        with self.model.computing("computing the gradients of"):
            self.fabric.backward(loss)
        if self.settings.clip_grad_norm is not None:
            self.fabric.clip_gradients(self.step, self.optimiser, max_norm=self.settings.clip_grad_norm)
        with self._optimising:
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
        batch["index"] = index
        if self.losses is not None:
            self.losses.add(index, losses)
        return value

    def _mean_over_processes(self, value: float) -> float:
        if self.fabric.world_size == 1:
            return value
        mean = self.fabric.all_reduce(torch.tensor(value, device=self.fabric.device), reduce_op="mean")
        return float(cast(Tensor, mean))

    def _keep_best(self, row: dict[str, Any], changing: bool) -> None:
        """Note what the epoch is the best of, written before the next ``last``; *changing*: there are steps before."""
        progress = self.progress
        chosen: list[str] = []
        value, loss = row.get(f"val_{self.settings.metric}"), row.get("val_loss")
        if value is not None and not math.isnan(value) and self._better(value, loss):
            progress.best_metric, progress.best_metric_loss, progress.best_epoch = value, loss, progress.epoch
            chosen.append("best")
        if loss is not None and (progress.best_loss is None or loss < progress.best_loss):
            progress.best_loss = loss
            chosen.append("best_loss")
        if chosen and self.fabric.is_global_zero:
            self._chosen |= dict.fromkeys(chosen, self._snapshot("best", self._metrics(), copy=changing))

    def _better(self, value: float, loss: float | None) -> bool:
        """Whether an epoch is the best so far; small validation sets give ties, and the lower loss decides them."""
        best, best_loss = self.progress.best_metric, self.progress.best_metric_loss
        if best is None or value != best:
            return best is None or value > best
        return loss is not None and best_loss is not None and loss < best_loss

    def _out_of_patience(self) -> bool:
        patience, best = self.settings.early_stopping, self.progress.best_epoch
        return patience is not None and best is not None and self.progress.epoch - best >= patience

    def _save(self, name: str, *, resume: bool = False) -> None:
        losses = self.losses.state_dict() if resume and self.losses is not None else None
        if self.fabric.is_global_zero:
            state = None
            if resume:
                with self._optimising:
                    optimiser = self.optimiser.state_dict()
                state = {
                    "progress": asdict(self.progress),
                    "optimiser": optimiser,
                    "precision": self.fabric.strategy.precision.state_dict(),
                    "averages": self.averages.state_dict(),
                }
                state |= {} if losses is None else {"losses": losses}
                self._write_chosen()  # before what says that there are epochs which it is the best of
            self._snapshot(name, self._metrics()).write(self.folder / name, state)
        self.fabric.barrier()
        if resume:
            self._saved_at = time.monotonic()

    def _metrics(self) -> dict[str, Any]:
        metrics = self.progress.history[-1] if self.progress.history else {}
        return {"metrics": {key: value for key, value in metrics.items() if key != "seconds"}}

    def _snapshot(self, name: str, metadata: dict[str, Any], *, copy: bool = False) -> Snapshot:
        """What a checkpoint holds; only those that the validation clips have chosen say so."""
        kept = {key: value for key, value in self.model.metadata.items() if key != CHOSEN_ON or name in _CHOSEN}
        return snapshot(replace(self.model, metadata=kept | metadata), copy=copy)

    def _write_chosen(self) -> None:
        while self._chosen:
            name, chosen = next(iter(self._chosen.items()))
            chosen.write(self.folder / name)
            del self._chosen[name]

    def _finish_averages(self) -> None:
        """Validate each average of the weights, and keep it as a checkpoint."""
        results = self.averages.results()
        live = {key: value.detach().clone() for key, value in self.backbone.state_dict().items()}
        for name, (weights, over) in results.items():
            self.backbone.load_state_dict(weights)
            metrics = {f"val_{key}": value for key, value in self.source.validate().items()}
            if self.fabric.is_global_zero:
                self._snapshot(name, {"metrics": metrics, "averaged": over}).write(self.folder / name)
            shown = "".join(f", {key.removeprefix('val_')} {value:.4f}" for key, value in metrics.items())
            self.reporter.message(f"Averaged weights are kept as {name}{shown}.")
        self.backbone.load_state_dict(live)
        if self.settings.average_from and "averaged" not in results:
            self.reporter.message(f"No average: the run ended before epoch {self.settings.average_from}.")
        self.fabric.barrier()

    def _save_state(self) -> tuple[int, int]:
        self._save("last", resume=True)
        return self.progress.epoch, self.progress.step
