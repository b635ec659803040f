"""Where a network runs and in which numbers, checked before the work begins."""

from __future__ import annotations

import torch

from darknet_builder.errors import InputError, did_you_mean

_USUAL = ("cpu", "cuda")
"""What people mean, of the twenty that torch has names for."""
_NO_BFLOAT16 = (
    "this processor has no bfloat16 arithmetic (AVX512 or AMX on x86), and without it a network"
    " takes a hundred times as long"
)


def find_device(name: str | torch.device | None) -> torch.device | None:
    """The device that torch knows by a name; None for None.

    Raises:
        InputError: for one that is unknown or not there.
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
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:  # torch without CUDA asserts
        reason = (
            str(error).splitlines()[0].split(". ")[0]
        )  # what follows is for PyTorch's own authors
        raise InputError(f"device {str(name)!r} cannot be used here: {reason}") from None
    return device


def computes_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 runs in hardware: on a CPU, whether oneDNN has convolutions in it
    (AVX512_BF16, AMX).
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and bool(
        torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def require_bfloat16(device: torch.device, asked: str, instead: str) -> None:
    """Refuse what would seem to hang.

    Args:
        device: where it is to run.
        asked: the setting that asks for it, ``precision='bfloat16'``.
        instead: what to set.

    Raises:
        InputError: where ``computes_bfloat16`` says no.
    """
    if not computes_bfloat16(device):
        raise InputError(f"{asked}: {_NO_BFLOAT16}; use {instead}")


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was given: its work goes on while Python does, and a clock
    must not.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
