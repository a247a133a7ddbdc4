"""Tagging recordings: clips, events with timestamps, and the files they are written to."""

from audiotag.exports import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
