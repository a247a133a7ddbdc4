"""Lists of labelled clips, from the files that users have."""

from audiotag.exports import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
