"""Networks for places without torch: exported as ONNX with their front ends, and a proof that they give the same."""

from audiotag.exports import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
