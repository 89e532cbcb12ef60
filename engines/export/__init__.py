"""A trained network as an ONNX file that answers the same."""
