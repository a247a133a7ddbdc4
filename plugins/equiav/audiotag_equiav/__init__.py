"""EquiAV for audiotag: tagging in three modes, pre-training, retrieval.

The names of the home system are here too, imported at first use:

    from audiotag_equiav import load_audio_model, audio_event_classification
"""

from audiotag.plugin import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
