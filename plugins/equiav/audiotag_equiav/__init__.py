"""EquiAV for audiotag: tagging in three modes, pre-training, retrieval.

The two calls of the home system are here too, imported at first use:

    from audiotag_equiav import load_audio_model, audio_event_classification
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiotag_equiav.home import audio_event_classification as audio_event_classification
    from audiotag_equiav.home import load_audio_model as load_audio_model
    from audiotag_equiav.home import write_predictions as write_predictions
    from audiotag_equiav.warmstart import warm_start as warm_start

_PUBLIC = {
    "audio_event_classification": "audiotag_equiav.home",
    "load_audio_model": "audiotag_equiav.home",
    "warm_start": "audiotag_equiav.warmstart",
    "write_predictions": "audiotag_equiav.home",
}

__all__ = ["audio_event_classification", "load_audio_model", "warm_start", "write_predictions"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
