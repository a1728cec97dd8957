"""ONNX files as differentiable programs."""
