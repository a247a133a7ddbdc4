"""Who is told of the sounds of a home: brokers, addresses, programs and files, each with a queue that outlives us."""

from audiotag.exports import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
