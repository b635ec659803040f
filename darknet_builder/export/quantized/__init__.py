"""8-bit integer ONNX files: calibrate on photographs, quantize, judge by accuracy, and check.

What runs such a file belongs in ``engines``; what computes an accuracy in ``evaluation``.
"""
