"""Detections as files of their own: see docs/howto_tagging.md."""

from audiotag.exports import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
