"""Where a network runs and in which numbers, checked before the work begins."""

from __future__ import annotations

import torch

from darknet_builder.errors import InputError

_NO_BFLOAT16 = ("this processor has no bfloat16 arithmetic (AVX512 or AMX on x86), and without it a network takes a "
                "hundred times as long")


def find_device(name: str | torch.device | None) -> torch.device | None:
    """The device that torch knows by a name; None for None.

    Raises:
        InputError: for one that is unknown or not there.
    """
    if name is None:
        return None
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise InputError(f"device {str(name)!r} cannot be used here: {str(error).splitlines()[0]}") from None
    return device


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies matrices of bfloat16 in hardware, so that asking for it is worth it.

    That is AMX on CPUs, and what CUDA says of GPUs. Narrower bfloat16 units gain less than what they cost in digits.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    is_amx_supported = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)  # old PyTorch cannot tell
    return device.type == "cpu" and bool(is_amx_supported())


def computes_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 runs at all sensibly: on a CPU, whether oneDNN has convolutions in it."""
    if device.type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def require_bfloat16(device: torch.device, asked: str, instead: str) -> None:
    """Refuse what would seem to hang.

    Args:
        device: where it is to run.
        asked: the setting that asks for it, ``precision='bf16'``.
        instead: what to set.

    Raises:
        InputError: where ``computes_bfloat16`` says no.
    """
    if not computes_bfloat16(device):
        raise InputError(f"{asked}: {_NO_BFLOAT16}; use {instead}")
