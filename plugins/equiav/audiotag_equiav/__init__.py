"""EquiAV for audiotag: tagging in three modes, pre-training, retrieval.

The names of the home system are here too, imported at first use:

    from audiotag_equiav import load_audio_model, audio_event_classification
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiotag.plugin import store_audio_decision as store_audio_decision
    from audiotag.plugin import train_on_audio_only as train_on_audio_only
    from audiotag_equiav.home import audio_event_classification as audio_event_classification
    from audiotag_equiav.home import load_audio_model as load_audio_model
    from audiotag_equiav.home import write_predictions as write_predictions
    from audiotag_equiav.home_training import EquiAV_ft as EquiAV_ft
    from audiotag_equiav.home_training import ModelTrainer as ModelTrainer
    from audiotag_equiav.home_training import WrappedModel as WrappedModel
    from audiotag_equiav.home_training import format_label_data as format_label_data
    from audiotag_equiav.home_training import format_model_input as format_model_input
    from audiotag_equiav.warmstart import warm_start as warm_start

_PUBLIC = {
    "EquiAV_ft": "audiotag_equiav.home_training",
    "ModelTrainer": "audiotag_equiav.home_training",
    "WrappedModel": "audiotag_equiav.home_training",
    "audio_event_classification": "audiotag_equiav.home",
    "format_label_data": "audiotag_equiav.home_training",
    "format_model_input": "audiotag_equiav.home_training",
    "load_audio_model": "audiotag_equiav.home",
    "store_audio_decision": "audiotag.plugin",
    "train_on_audio_only": "audiotag.plugin",
    "warm_start": "audiotag_equiav.warmstart",
    "write_predictions": "audiotag_equiav.home",
}

__all__ = [
    "EquiAV_ft",
    "ModelTrainer",
    "WrappedModel",
    "audio_event_classification",
    "format_label_data",
    "format_model_input",
    "load_audio_model",
    "store_audio_decision",
    "train_on_audio_only",
    "warm_start",
    "write_predictions",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
