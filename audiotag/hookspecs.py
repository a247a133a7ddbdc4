"""The hooks that a plugin may implement. Each returns descriptors of `audiotag.plugin`; none takes an argument.

A hook is called once, when the first command or function needs its kind of descriptor. It must be quick and
must not import the implementation: descriptors name their factory as a string.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from audiotag.specs import (
    AugmentationSpec,
    BackboneSpec,
    CommandSpec,
    DatasetSpec,
    LossSpec,
    MetricSpec,
    OptimiserSpec,
    OutputSpec,
    RecipeSpec,
    SamplingPolicySpec,
    ScheduleSpec,
    SourceSpec,
    WriterSpec,
)

hookspec = pluggy.HookspecMarker("audiotag")


@hookspec
def register_backbones() -> Iterable[BackboneSpec]:
    """Networks: families from which fresh ones are made, and published models with weights.

    The factory is called as ``factory(num_classes=int, **options)`` and returns an `audiotag.plugin.Backbone`
    on the CPU, in training mode, with fresh parameters.
    """
    return ()


@hookspec
def register_datasets() -> Iterable[DatasetSpec]:
    """Readers of labelled clips. The factory is called without arguments and returns an `audiotag.plugin.Dataset`.

    A format that also has ``write_tiny(folder, *, seed=0) -> Path``, which writes a few made-up clips and returns what
    `read` takes, can be checked without the data (published data sets must have it).
    """
    return ()


@hookspec
def register_losses() -> Iterable[LossSpec]:
    """Training losses.

    The factory is called as ``factory(**options)`` and returns an `audiotag.plugin.Loss`, or an
    `audiotag.plugin.PairLoss` where the task is ``"embedding"``.
    """
    return ()


@hookspec
def register_sampling_policies() -> Iterable[SamplingPolicySpec]:
    """Policies that choose examples, for an epoch of training or for a bounded store.

    The factory of the role ``"training"`` is called as ``factory(**options)`` and returns an
    `audiotag.plugin.BatchSampler`; that of the role ``"storage"`` is called as ``factory(capacity, num_classes,
    seed=int, **options)`` and returns an `audiotag.plugin.StoragePolicy`.
    """
    return ()


@hookspec
def register_writers() -> Iterable[WriterSpec]:
    """Output formats of ``audiotag infer``.

    The factory is called as ``factory(settings)`` with an `audiotag.plugin.WriterSettings` and returns an
    `audiotag.plugin.Writer`; where the descriptor has *magic*, as ``factory(settings, file)``, and returns an
    `audiotag.plugin.FileWriter`.
    """
    return ()


@hookspec
def register_outputs() -> Iterable[OutputSpec]:
    """Outputs of ``audiotag listen``: brokers, services, lamps.

    The factory is called as ``factory(settings, **options)`` with an `audiotag.plugin.OutputSettings` and returns an
    `audiotag.plugin.Delivery`, which gets a queue on the disk and a thread, or an `audiotag.plugin.Output`.
    """
    return ()


@hookspec
def register_sources() -> Iterable[SourceSpec]:
    """Sources of ``audiotag listen``.

    The factory is called as ``factory(place, settings)``: the whole address where its scheme is the source's, or what
    follows ``NAME:``, possibly nothing; and an `audiotag.plugin.SourceSettings`. It returns an
    `audiotag.plugin.LiveSource` or an `audiotag.plugin.RecordingSource`, and opens nothing yet.
    """
    return ()


@hookspec
def register_augmentations() -> Iterable[AugmentationSpec]:
    """Augmentations of ``audiotag finetune --augment``.

    The factory is called as ``factory(**options)`` and returns a function that is called with every batch of training,
    as ``augment(batch, generator, context)``: float32 waveforms (batch, samples) or spectrograms (batch, bands,
    frames), after the toolkit's own variation and before clips are mixed, on the device of the network; a CPU
    ``torch.Generator``, the only source of randomness; and an `audiotag.plugin.AugmentationContext`. It returns a batch
    of the same shape, and leaves the one that it is given as it is.
    """
    return ()


@hookspec
def register_optimisers() -> Iterable[OptimiserSpec]:
    """Optimisers of ``audiotag finetune --optimiser``.

    The factory is called as ``factory(groups, **options)`` with groups of parameters as PyTorch takes them, each with
    its ``lr`` and ``weight_decay``, and returns a ``torch.optim.Optimizer``. The settings ``betas`` and ``momentum``
    are given where it has parameters of these names, ``--optimiser-option`` gives the others.
    """
    return ()


@hookspec
def register_schedules() -> Iterable[ScheduleSpec]:
    """Schedules of ``audiotag finetune --schedule``.

    The factory is called as ``factory(epochs=int, warmup=float, **shape)``, where *shape* are the settings that the
    descriptor names, and returns a function of the position in the run, in epochs: the factor of the base rate.
    """
    return ()


@hookspec
def register_metrics() -> Iterable[MetricSpec]:
    """Metrics of ``audiotag evaluate --metric`` and ``finetune --metric``. More is better.

    The factory is the metric: called as ``metric(targets, scores, known)`` with arrays (clips, classes) of zeros and
    ones, of scores, and of which labels are known (None where all are), it returns a number, NaN where it has none. One
    for sound events (``task="events"``) is called with a `audiotag.evaluation.event_criteria.ScoredSet`.
    """
    return ()


@hookspec
def register_commands() -> Iterable[CommandSpec]:
    """Commands, reached as ``audiotag x GROUP NAME``. The factory names a ``click.Command`` itself."""
    return ()


@hookspec
def register_recipes() -> Iterable[RecipeSpec]:
    """Named settings for ``audiotag finetune --recipe NAME``, as TOML files in a package."""
    return ()
