"""What people say of detections, kept for good: verdicts, what is learnt from them, and what to ask next."""

from audiotag.exports import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
