"""Networks: their contract, how they are made, saved, loaded and measured."""

from audiotag.exports import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
