"""Which recordings sound alike: an index of embeddings on disk."""

from audiotag.exports import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
