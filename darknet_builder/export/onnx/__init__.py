"""ONNX files: the graph, its suppression, the file, and the check in onnxruntime."""
