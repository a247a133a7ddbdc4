"""Listening as sound happens: events that begin and end, and who is told of them."""

from audiotag.exports import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
