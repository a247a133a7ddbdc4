"""Bounded stores of labelled clips, the policies that decide what they keep, and measures of forgetting."""

from audiotag.exports import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
