"""The numbers of OpenCV's backends, targets and padding modes (dnn.hpp of OpenCV 4.14)."""

from __future__ import annotations

DNN_BACKEND_DEFAULT = 0
DNN_BACKEND_HALIDE = 1
DNN_BACKEND_INFERENCE_ENGINE = 2
"""OpenVINO."""
DNN_BACKEND_OPENCV = 3
DNN_BACKEND_VKCOM = 4
DNN_BACKEND_CUDA = 5
DNN_BACKEND_WEBNN = 6
DNN_BACKEND_TIMVX = 7
DNN_BACKEND_CANN = 8

DNN_TARGET_CPU = 0
DNN_TARGET_OPENCL = 1
DNN_TARGET_OPENCL_FP16 = 2
DNN_TARGET_MYRIAD = 3
DNN_TARGET_VULKAN = 4
DNN_TARGET_FPGA = 5
DNN_TARGET_CUDA = 6
DNN_TARGET_CUDA_FP16 = 7
DNN_TARGET_HDDL = 8
DNN_TARGET_NPU = 9
DNN_TARGET_CPU_FP16 = 10

DNN_PMODE_NULL = 0
DNN_PMODE_CROP_CENTER = 1
DNN_PMODE_LETTERBOX = 2


def name_of(kind: str, number: int) -> str | None:
    """Return the name of a constant, or None for an unknown number.

    Args:
        kind: beginning of the name, such as ``DNN_TARGET``.
        number: value of the constant.

    Example:
        >>> name_of("DNN_TARGET", 6)
        'DNN_TARGET_CUDA'
    """
    names = [
        name for name, value in globals().items() if name.startswith(f"{kind}_") and value == number
    ]
    return names[0] if names else None
