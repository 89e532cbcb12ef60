"""An ONNX file: what it says of itself, and how it is asked."""
