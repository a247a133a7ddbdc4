"""What is asked of a run, looked at before its folder is made and its first clip is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import nn

from audiotag.engines.torch_engine import choose_device
from audiotag.errors import AudiotagError, OptionError
from audiotag.host import get_host
from audiotag.host.options import check_options
from audiotag.labels import read_labels
from audiotag.models.checkpoint import spec_of
from audiotag.models.facts import read_facts
from audiotag.models.loading import named_folder
from audiotag.places import exists
from audiotag.settings import layered
from audiotag.specs import BackboneSpec
from audiotag.training.augmenting import Augmentations
from audiotag.training.interfaces import BatchSampler, Loss
from audiotag.training.optimisation import build_optimiser, make_loss
from audiotag.training.processes import make_fabric
from audiotag.training.recipes import load_recipe
from audiotag.training.reporting import logger_package
from audiotag.training.request import Request
from audiotag.training.schedules import Schedule, make_schedule
from audiotag.training.settings import Settings, Situation


class Parts(NamedTuple):
    """What the settings of a run name, made."""

    loss: Loss
    sampler: BatchSampler
    schedule: Schedule
    augmentations: Augmentations

    @classmethod
    def of(cls, settings: Settings, single_label: bool, sampling: Mapping[str, Any], *, where: object) -> Parts:
        """Those of resolved *settings*, with the options *sampling* of the sampler.

        Raises:
            AudiotagError: One cannot be made, has no such options, or is for clips of another kind.
        """
        return cls(
            make_loss(settings, single_label, where=where),
            _make_sampler(settings.sampler, sampling),
            make_schedule(settings.schedule, epochs=settings.epochs, warmup=settings.warmup, **settings.shape),
            Augmentations.of(settings),
        )


def require_possible(request: Request, asked: Mapping[str, Any]) -> None:
    """Refuse what no clips could make work; what depends on the clips is left to be refused when they are read.

    Args:
        request: Model and data of a run.
        asked: Its settings.

    Raises:
        AudiotagError: A name is unknown, a setting or option cannot be or does not go with the others, a file is
            missing, or there is no such device.
    """
    chosen, (spec, pretrained) = Settings.from_dict(asked), start_of(request)
    _require_files(request)
    if named_folder(request.backbone) is None:
        check_options(spec, get_host().resolve(spec), request.options, given=("num_classes",))
    if chosen.summary and request.test is None and not request.validates:
        raise OptionError("there is nothing to measure the models on", where="summary", fix="Give --val or --test.")
    choose_device(chosen.device)  # Fabric's own refusal names neither the device nor a way out
    logger_package(chosen.logger)
    chosen = Settings.from_dict(layered(Settings, own_settings(spec, chosen, pretrained), asked))
    kinds = (False, True) if request.train.single_label is None else (request.train.single_label,)
    refusals = [refusal for kind in kinds if (refusal := _refusal(request, chosen, spec, pretrained, kind)) is not None]
    if len(refusals) == len(kinds):
        raise refusals[0]


def _refusal(
    request: Request, chosen: Settings, spec: BackboneSpec, pretrained: bool, single_label: bool
) -> AudiotagError | None:
    """Why the settings cannot work for clips of one kind; None where they can."""
    bears = Situation.bears if "waveform" in spec.inputs else ()
    situation = Situation(
        single_label=single_label,
        pretrained=pretrained,
        bears=bears,
        taught=request.taught,
    )
    metric = vars(chosen).get("metric")
    if vars(chosen).get("supervision") == "frames" or (metric and get_host().metric(metric).task == "events"):
        # Whether clips say when is not known before they are read.
        situation = replace(situation, no_frames="", times_events=True)
    try:
        settings = chosen.resolve(situation)
        Parts.of(settings, single_label, settings.sampler_options, where=request.train)
        rate = settings.learning_rate
        # A matrix too: some optimisers split the parameters by their dimensions, and fail where a part is empty.
        params = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1, 1))]
        group = {"name": "network", "params": params, "lr": rate, "base_lr": rate}
        build_optimiser(settings, [{**group, "weight_decay": settings.weight_decay}])
        make_fabric(settings)
    except AudiotagError as error:
        return error
    return None


def start_of(request: Request) -> tuple[BackboneSpec, bool]:
    """What a run starts from: the descriptor of its network, and whether that is trained already.

    Raises:
        UnknownNameError: There is no such model.
        CheckpointError: The folder holds none, or its plugin is gone.
    """
    folder = named_folder(request.backbone)
    if folder is not None:
        return spec_of(read_facts(folder), folder), True
    spec = get_host().backbone(request.backbone)
    return spec, request.weights is not None or spec.weights is not None


def own_settings(spec: BackboneSpec, chosen: Settings, pretrained: bool) -> dict[str, Any]:
    """What the backbone's family brings for fine-tuning trained weights as a whole; empty for all else."""
    if not pretrained or chosen.freezes or chosen.adapter or spec.recipe is None:
        return {}
    return load_recipe(spec.recipe).settings


def _require_files(request: Request) -> None:
    """Refuse files and models beside the clips that there are not."""
    for what, path in (("weights", request.weights), ("teacher's scores", request.teacher_scores)):
        if path is not None and not exists(path):
            raise OptionError(f"the {what} do not exist", where=path, fix="Check the path.")
    if request.previous_labels is not None:
        read_labels(request.previous_labels)
    for teacher in request.teacher:
        if not exists(teacher):
            get_host().backbone(teacher)


def _make_sampler(name: str, options: Mapping[str, Any]) -> BatchSampler:
    host = get_host()
    spec = host.sampling_policy(name)
    if spec.role != "training":
        raise OptionError(
            f"the sampling policy {name!r} chooses what a store keeps, and not the clips of an epoch",
            where="sampler",
            fix="`audiotag plugins list` shows what there is; shuffle and balanced come with audiotag.",
        )
    check_options(spec, host.resolve(spec), options)
    sampler: BatchSampler = host.make(spec, **options)
    return sampler
