"""What computes: one interface, and the engines behind it. Nothing here imports torch before a torch engine is made."""

from audiotag.exports import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
