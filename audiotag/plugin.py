"""All that a plugin author imports.

A plugin is a module named by an entry point of the group ``audiotag``. Its functions, marked with
`hookimpl`, return frozen descriptors (the ``…Spec`` classes below) that name their implementation as
``"package.module:callable"``. The implementation is imported at first use, so a descriptor module must
be cheap: no torch, no pandas.

    from audiotag.plugin import BackboneSpec, hookimpl

    @hookimpl
    def register_backbones():
        return [BackboneSpec(name="tiny", family="tiny", factory="my_package.network:build", ...)]

The interfaces that implementations follow (`Backbone`, `Dataset`, `PublishedDataset`, `Loss`, `PairLoss`,
`BatchSampler`, `StoragePolicy`), and what they are made of, are importable from here too; they are resolved on first
access.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from audiotag.specs import (
    ENTRY_POINT_GROUP,
    INTERFACE_VERSION,
    BackboneSpec,
    CommandSpec,
    DatasetSpec,
    LossSpec,
    RecipeSpec,
    Remote,
    SamplingPolicySpec,
    Weights,
    hookimpl,
)

if TYPE_CHECKING:
    from audiotag.audio.frontends.efficientat import efficientat_log_mel as efficientat_log_mel
    from audiotag.audio.frontends.kaldi import kaldi_log_mel as kaldi_log_mel
    from audiotag.audio.frontends.log_mel import LogMel as LogMel
    from audiotag.audio.frontends.slaney import slaney_log_mel as slaney_log_mel
    from audiotag.audio.frontends.torch_executor import FrontEnd as FrontEnd
    from audiotag.audio.frontends.torch_executor import LogMelFrontEnd as LogMelFrontEnd
    from audiotag.continual.policy import Decision as Decision
    from audiotag.continual.policy import Example as Example
    from audiotag.continual.policy import StoragePolicy as StoragePolicy
    from audiotag.data.clips import Clip as Clip
    from audiotag.data.clips import ClipSet as ClipSet
    from audiotag.data.clips import Dataset as Dataset
    from audiotag.data.published import PublishedDataset as PublishedDataset
    from audiotag.data.targets import Targets as Targets
    from audiotag.models.backbone import Backbone as Backbone
    from audiotag.models.backbone import ClassRows as ClassRows
    from audiotag.training.interfaces import BatchSampler as BatchSampler
    from audiotag.training.interfaces import Loss as Loss
    from audiotag.training.interfaces import PairLoss as PairLoss
    from audiotag.training.interfaces import SamplingContext as SamplingContext

_PARTS = {
    "Backbone": "audiotag.models.backbone",
    "ClassRows": "audiotag.models.backbone",
    "FrontEnd": "audiotag.audio.frontends.torch_executor",
    "LogMel": "audiotag.audio.frontends.log_mel",
    "LogMelFrontEnd": "audiotag.audio.frontends.torch_executor",
    "efficientat_log_mel": "audiotag.audio.frontends.efficientat",
    "kaldi_log_mel": "audiotag.audio.frontends.kaldi",
    "slaney_log_mel": "audiotag.audio.frontends.slaney",
    "Clip": "audiotag.data.clips",
    "ClipSet": "audiotag.data.clips",
    "Dataset": "audiotag.data.clips",
    "PublishedDataset": "audiotag.data.published",
    "Targets": "audiotag.data.targets",
    "Loss": "audiotag.training.interfaces",
    "PairLoss": "audiotag.training.interfaces",
    "BatchSampler": "audiotag.training.interfaces",
    "SamplingContext": "audiotag.training.interfaces",
    "Decision": "audiotag.continual.policy",
    "Example": "audiotag.continual.policy",
    "StoragePolicy": "audiotag.continual.policy",
}


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return getattr(import_module(_PARTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Backbone",
    "BackboneSpec",
    "BatchSampler",
    "ClassRows",
    "Clip",
    "ClipSet",
    "CommandSpec",
    "Dataset",
    "DatasetSpec",
    "Decision",
    "ENTRY_POINT_GROUP",
    "Example",
    "FrontEnd",
    "INTERFACE_VERSION",
    "LogMel",
    "LogMelFrontEnd",
    "Loss",
    "LossSpec",
    "PairLoss",
    "PublishedDataset",
    "RecipeSpec",
    "Remote",
    "SamplingContext",
    "SamplingPolicySpec",
    "StoragePolicy",
    "Targets",
    "Weights",
    "efficientat_log_mel",
    "hookimpl",
    "kaldi_log_mel",
    "slaney_log_mel",
]
