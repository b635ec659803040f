"""``[yolo]``: boxes selected on a GPU are those selected on the CPU, copied in one piece."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from darknet_builder.layers.heads import yolo
from darknet_builder.layers.heads.anchor_head import AnchorOptions
from darknet_builder.layers.heads.yolo import Yolo
from darknet_builder.shapes import Shape


@pytest.mark.parametrize("lowest", [-math.inf, -1.0, 0.5, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (0, 3, 4, 1, 2)])
def test_the_same_boxes(
    order: tuple[int, ...],
    dtype: torch.dtype,
    lowest: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every bit and type is the same, in any memory order, for no box as for all of them."""
    maps = torch.randn(2, 3, 7, 5, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    maps[0, 1, :, 2, 3] = torch.tensor([math.nan, math.inf, -0.0, 6e-8, 99, -math.inf, 1e-6])
    maps[1, 2, 4, 0, 0] = lowest  # not larger
    # The same values, (B, A, V, H, W), with the axes in another order in memory.
    maps = maps.permute(order).contiguous().permute(*np.argsort(order).tolist())
    (places, values), copies = yolo._cells_above(yolo.on_cpu(maps), lowest), []
    on_cpu = yolo.on_cpu
    monkeypatch.setattr(yolo, "on_cpu", lambda x: (copies.append(1), on_cpu(x))[1])
    found, found_values = yolo._cells_above_on_device(maps, lowest)
    assert len(copies) == 1
    assert len(values) == np.count_nonzero(maps[:, :, 4].float().numpy() > lowest)
    for ours, wanted in zip((*found, found_values), (*places, values), strict=True):
        assert (ours.dtype, ours.shape) == (wanted.dtype, wanted.shape)
        assert np.array_equal(ours.copy().view(np.uint8), wanted.copy().view(np.uint8))


def test_more_places_than_float32_can_count() -> None:
    """The last of more than 2^24 columns."""
    plane = torch.zeros(1, 1, 1, 1, 2**24 + 2)
    plane[..., -1] = 1
    maps = plane.expand(1, 1, 6, 1, -1)  # all values of a box are the same number
    (image, anchor, row, column), values = yolo._cells_above_on_device(maps, 0.5)
    assert (image.tolist(), anchor.tolist(), row.tolist()) == ([0], [0], [0])
    assert column.tolist() == [2**24 + 1]
    assert values.tolist() == [[1] * 6]


class _Elsewhere(torch.Tensor):
    """A tensor that claims to be on another device."""

    is_cpu = False


def test_maps_of_another_device_are_decoded_alike() -> None:
    """Bit for bit, for two images and two heads, and maps that need a gradient."""
    anchors = [(10.0, 20.0), (30.0, 15.0), (7.0, 9.0)]
    heads = [
        Yolo(Shape(14, 3, 5), AnchorOptions(anchors, [0, 2], 2)),
        Yolo(Shape(7, 6, 10), AnchorOptions(anchors, [1], 2)),
    ]
    seed = torch.Generator().manual_seed(1)
    raw = [torch.randn(2, *size, generator=seed) for size in ((14, 3, 5), (7, 6, 10))]
    elsewhere = [maps.clone().requires_grad_().as_subclass(_Elsewhere) for maps in raw]
    wanted = yolo.decode_together(heads, raw, (40, 24), 0.1)
    found = yolo.decode_together(heads, elsewhere, (40, 24), 0.1)
    assert len(wanted) > 20
    for name in ("image_ids", "box_ids", "class_ids", "boxes_cxcywh", "objectness", "scores"):
        ours, theirs = getattr(found, name), getattr(wanted, name)
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs), name
