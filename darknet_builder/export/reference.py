"""What an exported file is tried on, and what the network itself answers to that: in float32, and
in float64.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from darknet_builder.data.scenes import draw_scene
from darknet_builder.errors import InputError
from darknet_builder.export.tolerance import Precise
from darknet_builder.export.traceable import Sizes, Traceable
from darknet_builder.images.crop import fit_image
from darknet_builder.images.files import read_image
from darknet_builder.network.network import Network

_SEED = 0


class Reference:
    """A network's own answers, without gradients and without a memory from one input to the next.

    Args:
        module: in eval mode; it is not changed.
    """

    def __init__(self, module: Network | Traceable) -> None:
        self._module = module
        self._exact: Network | Traceable | None = None

    def __call__(self, x: Tensor) -> list[Tensor]:
        """In the network's own precision."""
        return _run(self._module, x)

    def precise(self, x: Tensor, roundings: int = 0) -> Precise:
        """In float64, and in float32 for so many inputs that differ by a rounding.

        The copy of the network that float64 takes is made for the first input that needs it.
        """
        if self._exact is None:
            self._exact = copy.deepcopy(self._module).double()
        random = torch.Generator().manual_seed(_SEED)
        signs = [torch.randint(-1, 2, x.shape, generator=random) for _ in range(roundings)]
        return Precise(
            _run(self._exact, x.double()),
            [_run(self._module, x * (1 + sign * torch.finfo(x.dtype).eps)) for sign in signs],
        )


def _run(module: Network | Traceable, x: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        if isinstance(module, Traceable):
            return list(module(x))
        module.reset_state()
        return module.outputs(x)


def trial_inputs(
    network: Network, sizes: Sizes, resize: str, images: Sequence[str | Path]
) -> Iterator[tuple[str, Tensor]]:
    """What a file is tried on: random numbers, a picture, the photographs; other sizes where sizes
    may change.

    Raises:
        InputError: for photographs that the network cannot take.
        ImageError: for one that cannot be read.
    """
    random = torch.Generator().manual_seed(_SEED)
    shape = network.input_shape.batched(sizes.batch)
    yield "random input", torch.rand(shape, generator=random)
    if sizes.any_batch:
        yield (
            f"{sizes.batch + 2} random inputs",
            torch.rand((sizes.batch + 2, *shape[1:]), generator=random),
        )
    if sizes.any_size:
        larger = (*shape[:2], shape[2] + sizes.step, shape[3] + 3 * sizes.step)
        yield f"random input of {larger[3]} x {larger[2]}", torch.rand(larger, generator=random)
    sees = not network.input_shape.flat and network.input_shape.channels in (1, 3)
    if images and not sees:
        raise InputError(
            f"images: the network takes {network.input_shape}, which no photograph has"
        )
    if sees:
        pictures = {"drawn scene": draw_scene(_SEED).image} | {
            str(path): read_image(path) for path in images
        }
        for name, picture in pictures.items():
            x = fit_image(picture, network.input_size, resize, network.input_shape.channels)
            yield name, x.expand(sizes.batch, *x.shape).clone()
