"""Networks for places without torch: exported as ONNX with their front ends, and a proof that they give the same."""
