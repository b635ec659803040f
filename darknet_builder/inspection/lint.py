"""Lint: settings that are valid but usually a mistake, each as a located warning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.net_options import NetOptions, check_burn_in
from darknet_builder.errors import CfgWarning
from darknet_builder.layers.base import Head, Layer, registered_sections
from darknet_builder.network.network import Network
from darknet_builder.support.text import plural

_STRIDE = 32
_SHARES = ("ignore_thresh", "truth_thresh", "jitter")
_ZOOMS = (1.0, 3.0)
"""Range of random= if it is not 0: the largest factor of multi-scale training."""
_HIGHEST_RATE = 1.0


def odd_options(blocks: Sequence[Block], options: NetOptions) -> Iterator[CfgWarning]:
    """Yield warnings that need only the options.

    Args:
        blocks: the whole cfg, [net] first.
        options: the options of [net].
    """
    net = blocks[0]
    if len(blocks) == 1:
        yield net.warning("no section follows, so the network has no layers")
    for key, size in (("width", options.width), ("height", options.height)):
        if size % _STRIDE and any(_has_pixel_anchors(block) for block in blocks):
            yield net.warning(f"is not a multiple of {_STRIDE}, which detectors expect", key)
    if options.batch % options.subdivisions:
        yield net.warning(
            f"does not divide batch={options.batch}; Darknet rounds down", "subdivisions"
        )
    yield from _odd_schedule(net, options)
    # By their options, so that the heads of plugins count as well.
    heads = [block for block in blocks if "classes" in block and "anchors" in block]
    for head in heads[1:]:
        if head["classes"] != heads[0]["classes"]:
            yield head.warning(
                f"the head of line {heads[0].line} has classes={heads[0]['classes']}", "classes"
            )


def _has_pixel_anchors(block: Block) -> bool:
    layer_class = registered_sections().get(block.name, Layer)
    return issubclass(layer_class, Head) and layer_class.anchor_unit == "pixel"


def _odd_schedule(net: Block, options: NetOptions) -> Iterator[CfgWarning]:
    schedule = options.schedule
    if not 0 < schedule.learning_rate <= _HIGHEST_RATE:
        yield net.warning(f"expected a number above 0 and up to {_HIGHEST_RATE:g}", "learning_rate")
    if burn_in := check_burn_in(net, schedule):
        yield burn_in
    # A step at or after max_batches never takes effect.
    late = [step for step in schedule.steps if step >= schedule.max_batches > 0]
    if schedule.policy == "steps" and late:
        yield net.warning(
            f"the training ends before step {late[0]}, with max_batches={schedule.max_batches}",
            "steps",
        )


def odd_layers(network: Network) -> Iterator[CfgWarning]:
    """Yield warnings that need the layers.

    They are about heads that can hardly learn, unused anchors and layers without a reader.
    """
    blocks = network.blocks[1:]
    heads = [
        (block, layer)
        for block, layer in zip(blocks, network.sequence(), strict=True)
        if isinstance(layer, Head) and layer.mask is not None
    ]
    for block, head in heads:
        yield from _odd_head(block, head)
        if head.takes_raw and network.sequence()[head.sources[0]].is_convolution:
            yield from _odd_source(block, blocks[head.sources[0]])
    yield from _unused_anchors(heads)
    yield from _dead_layers(network)


def _odd_head(block: Block, head: Head) -> Iterator[CfgWarning]:
    values = vars(head.loss) | vars(head.augment)
    for key in _SHARES:
        if not 0 <= values.get(key, 0) <= 1:
            yield block.warning("expected a fraction from 0 to 1", key)
    zoom = head.augment.random
    if zoom and not _ZOOMS[0] <= zoom <= _ZOOMS[1]:
        yield block.warning(
            f"expected 0, 1, or the largest scale factor, up to {_ZOOMS[1]:g}", "random"
        )


def _odd_source(block: Block, source: Block) -> Iterator[CfgWarning]:
    """Yield warnings of a convolution whose options limit the numbers that a head reads."""
    activation = source.get_str("activation", "logistic")
    if activation != "linear":
        yield source.warning(
            f"the [{block.name}] of line {block.line} expects activation=linear", "activation"
        )
    if source.get_flag("batch_normalize"):
        yield source.warning(
            f"the [{block.name}] of line {block.line} expects a convolution without batch norm",
            "batch_normalize",
        )


def _unused_anchors(heads: Sequence[tuple[Block, Head]]) -> Iterator[CfgWarning]:
    """Yield a warning for each list of anchors of which some are in no head's mask."""
    # All heads of a cfg usually repeat one list, each with its own mask.
    lists: dict[tuple[tuple[float, float], ...], list[tuple[Block, Head]]] = {}
    for block, head in heads:
        lists.setdefault(tuple(head.anchors), []).append((block, head))
    for anchors, users in lists.items():
        used = {index for _, head in users for index in head.mask or ()}
        unused = [index for index in range(len(anchors)) if index not in used]
        if unused:
            block = users[0][0]
            shown = ", ".join(
                f"{index} ({anchors[index][0]:g},{anchors[index][1]:g})" for index in unused
            )
            noun = plural(len(unused), "anchor")
            yield block.warning(f"{noun} {shown} of {len(anchors)}: in no mask", "mask")


def _dead_layers(network: Network) -> Iterator[CfgWarning]:
    """Yield a warning for each layer whose output is never used."""
    layers = network.sequence()
    used = {*network.output_plan.steps, *(source for layer in layers for source in layer.sources)}
    for index, (layer, block) in enumerate(zip(layers, network.blocks[1:], strict=True)):
        if index not in used and not layer.is_head and not layer.is_cost:
            yield block.warning(
                f"no layer reads layer {index}, and it is not a head: its output is never used"
            )
