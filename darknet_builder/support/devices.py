"""Check devices and precisions before the work begins."""

from __future__ import annotations

import torch

from darknet_builder.errors import InputError, did_you_mean

_USUAL = ("cpu", "cuda")
"""The usual device types; torch has names for about twenty, most of them for rare hardware."""
_NO_BFLOAT16 = (
    "this processor has no bfloat16 arithmetic (AVX512 or AMX on x86), and without it a network"
    " takes a hundred times as long"
)


def find_device(name: str | torch.device | None) -> torch.device | None:
    """Return the torch device of that name; None returns None.

    Args:
        name: such as ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        InputError: if the name is unknown or the device is not available.

    Example:
        >>> find_device("cpu")
        device(type='cpu')
    """
    if name is None:
        return None
    try:
        device = torch.device(name)
    except RuntimeError:
        meant = "cuda" if str(name).lower().startswith("gpu") else str(name)
        raise InputError(
            f"device {str(name)!r} is unknown; expected cpu, cuda, cuda:1, ..."
            f"{did_you_mean(meant, _USUAL)}"
        ) from None
    try:
        torch.empty(1, device=device).tolist()  # fails on the device ``meta``, which has no values
    # A build of torch without CUDA raises AssertionError here.
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        # Only the first sentence is for users; advice to developers of PyTorch follows it.
        reason = str(error).splitlines()[0].split(". ")[0]
        raise InputError(f"device {str(name)!r} cannot be used here: {reason}") from None
    return device


def computes_bfloat16(device: torch.device) -> bool:
    """Return whether the device computes bfloat16 in hardware.

    On a CPU this means that oneDNN has bfloat16 convolutions for it (AVX512_BF16 or AMX).
    """
    if device.type == "cuda":
        # Older GPUs emulate bfloat16, which is slower than float32.
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and bool(
        torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def require_bfloat16(device: torch.device, setting: str, instead: str) -> None:
    """Raise an error if bfloat16 would be emulated, which is so slow that it seems to hang.

    Args:
        device: where the network is to run.
        setting: the setting that requests it, such as ``precision='bfloat16'``.
        instead: the setting to recommend.

    Raises:
        InputError: if ``computes_bfloat16`` returns False for the device.
    """
    if not computes_bfloat16(device):
        raise InputError(f"{setting}: {_NO_BFLOAT16}; use {instead}")


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished its queued work.

    CUDA calls are asynchronous, so a timer must not be read before this.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
