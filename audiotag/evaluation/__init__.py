"""Measuring a model: metrics, thresholds and reports."""

from audiotag.exports import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
