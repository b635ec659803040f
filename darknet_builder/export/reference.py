"""Make test inputs for exported files, and the reference outputs to compare with."""

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
    """Compute a network's own outputs, without gradients, each input independent of the others.

    Args:
        module: a network in eval mode; it is not changed.
    """

    def __init__(self, module: Network | Traceable) -> None:
        self._module = module
        self._exact: Network | Traceable | None = None

    def __call__(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) or (B, N) -> the outputs, in the network's own precision."""
        return _run(self._module, x)

    def precise(self, x: Tensor, roundings: int = 0) -> Precise:
        """Compute the outputs in float64, and in float32 for slightly different inputs.

        Args:
            x: (B, C, H, W) or (B, N).
            roundings: the number of such inputs. In each, every value of ``x`` is multiplied by
                1 - eps, 1 or 1 + eps at random, with eps of float32.
        """
        if self._exact is None:
            # Most exports never need it, and it takes twice the memory of the network.
            self._exact = copy.deepcopy(self._module).double()
        random = torch.Generator().manual_seed(_SEED)
        signs = [torch.randint(-1, 2, x.shape, generator=random) for _ in range(roundings)]
        epsilon = torch.finfo(x.dtype).eps
        rounded = [_run(self._module, x * (1 + sign * epsilon)) for sign in signs]
        return Precise(_run(self._exact, x.double()), rounded)


def _run(module: Network | Traceable, x: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        if isinstance(module, Traceable):
            return list(module(x))
        # Recurrent layers would otherwise continue from the input before.
        module.reset_state()
        return module.outputs(x)


def trial_inputs(
    network: Network, sizes: Sizes, resize: str, images: Sequence[str | Path]
) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, input) pairs: random numbers, a drawn scene, then the photographs.

    Args:
        network: the network to export.
        sizes: where sizes may change, random inputs of other sizes are added.
        resize: how pictures are fitted to the network's input: ``stretch``, ``letterbox`` or, for
            classifiers, ``crop``.
        images: paths of photographs; may be empty.

    Raises:
        InputError: if there are photographs, but the network does not take images.
        ImageError: if a photograph cannot be read.
    """
    random = torch.Generator().manual_seed(_SEED)
    shape = network.input_shape.batched(sizes.batch)  # (B, C, H, W) or (B, N)
    yield "random input", torch.rand(shape, generator=random)
    if sizes.any_batch:
        more = sizes.batch + 2
        yield f"{more} random inputs", torch.rand((more, *shape[1:]), generator=random)
    if sizes.any_size:
        # Height and width grow by different steps, so that a mix-up of the two shows.
        larger = (*shape[:2], shape[2] + sizes.step, shape[3] + 3 * sizes.step)
        yield f"random input of {larger[3]} x {larger[2]}", torch.rand(larger, generator=random)
    takes_images = not network.input_shape.flat and network.input_shape.channels in (1, 3)
    if images and not takes_images:
        raise InputError(
            f"images: the network's input is {network.input_shape}, not an image of 1 or 3"
            " channels; leave out the photographs"
        )
    if takes_images:
        pictures = {"drawn scene": draw_scene(_SEED).image}
        pictures |= {str(path): read_image(path) for path in images}
        for name, picture in pictures.items():
            x = fit_image(picture, network.input_size, resize, network.input_shape.channels)
            yield name, x.expand(sizes.batch, *x.shape).clone()  # (C, H, W) -> (B, C, H, W)
