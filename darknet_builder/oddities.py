"""What builds, but is seldom meant: the oddities of a cfg, one located line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from darknet_builder.layers.heads import AnchorHead
from darknet_builder.network import Network
from darknet_builder.options import NetOptions
from darknet_builder.parser import Block
from darknet_builder.schedules import check_burn_in
from darknet_builder.text import plural

_STRIDE = 32
_SHARES = ("ignore_thresh", "truth_thresh", "jitter")
_ZOOMS = (1.0, 3.0)
"""Where random= is no flag: how much larger and smaller multi-scale training may make the input."""
_HIGHEST_RATE = 1.0


def odd_options(blocks: Sequence[Block], options: NetOptions) -> Iterator[str]:
    """What can be said without the layers.

    Args:
        blocks: [net] first.
        options: what it says.
    """
    net = blocks[0]
    if len(blocks) == 1:
        yield f"{net.where()}: no section follows: there is no network"
    for key, size in (("width", options.width), ("height", options.height)):
        if size % _STRIDE and any(block.name == "yolo" for block in blocks):
            yield f"{net.where(key)}: is no multiple of {_STRIDE}; detectors are made for such sizes"
    if options.batch % options.subdivisions:
        yield f"{net.where('subdivisions')}: does not divide batch={options.batch}; Darknet rounds down"
    yield from _odd_schedule(net, options)
    heads = [block for block in blocks if "classes" in block and "anchors" in block]
    for head in heads[1:]:
        if head["classes"] != heads[0]["classes"]:
            yield f"{head.where('classes')}: the head of line {heads[0].line} has classes={heads[0]['classes']}"


def _odd_schedule(net: Block, options: NetOptions) -> Iterator[str]:
    schedule = options.schedule
    if not 0 < schedule.learning_rate <= _HIGHEST_RATE:
        yield f"{net.where('learning_rate')}: expected a number above 0 and up to {_HIGHEST_RATE:g}"
    if burn_in := check_burn_in(net, schedule):
        yield burn_in
    late = [step for step in schedule.steps if step >= schedule.max_batches > 0]
    if schedule.policy == "steps" and late:
        yield (f"{net.where('steps')}: the training ends before step {late[0]}, with "
               f"max_batches={schedule.max_batches}")


def odd_layers(network: Network) -> Iterator[str]:
    """What the layers show: heads that can hardly learn, anchors of no head, layers for nothing."""
    blocks = network.blocks[1:]
    heads = [(block, layer) for block, layer in zip(blocks, network.sequence(), strict=True)
             if isinstance(layer, AnchorHead)]
    for block, layer in heads:
        yield from _odd_head(block, layer)
        yield from _odd_source(block, blocks[layer.sources[0]], bool(getattr(layer, "new_coords", False)))
    yield from _unused_anchors(heads)
    yield from _dead_layers(network)


def _odd_head(block: Block, head: AnchorHead) -> Iterator[str]:
    values = {"ignore_thresh": head.loss.ignore_thresh, "truth_thresh": head.loss.truth_thresh,
              "jitter": head.augment.jitter}
    for key, value in values.items():
        if not 0 <= value <= 1:
            yield f"{block.where(key)}: expected a share from 0 to 1"
    zoom = head.augment.random
    if zoom and not _ZOOMS[0] <= zoom <= _ZOOMS[1]:
        yield (f"{block.where('random')}: expected 0, 1, or how much larger the input may become, up to "
               f"{_ZOOMS[1]:g}")


def _odd_source(block: Block, source: Block, new_coords: bool) -> Iterator[str]:
    """A head takes numbers without bounds, as a convolution without batch norm and activation gives them."""
    if new_coords or source.name not in ("convolutional", "conv"):
        return
    activation = source.get_str("activation", "logistic")
    if activation != "linear":
        yield f"{source.where('activation')}: the [{block.name}] of line {block.line} expects activation=linear"
    if source.get_flag("batch_normalize"):
        yield (f"{source.where('batch_normalize')}: the [{block.name}] of line {block.line} expects a convolution "
               "without batch norm")


def _unused_anchors(heads: Sequence[tuple[Block, AnchorHead]]) -> Iterator[str]:
    """Of each list of anchors, those that no head has in its mask."""
    lists: dict[tuple[tuple[float, float], ...], list[tuple[Block, AnchorHead]]] = {}
    for block, head in heads:
        lists.setdefault(tuple(head.anchors), []).append((block, head))
    for anchors, users in lists.items():
        used = {index for _, head in users for index in head.mask}
        unused = [index for index in range(len(anchors)) if index not in used]
        if unused:
            block = users[0][0]
            shown = ", ".join(f"{index} ({anchors[index][0]:g},{anchors[index][1]:g})" for index in unused)
            noun = plural(len(unused), "anchor")
            yield f"{block.where('mask')}: {noun} {shown} of {len(anchors)}: in no mask"


def _dead_layers(network: Network) -> Iterator[str]:
    """What no layer reads, and is no head, no cost and not the network's answer."""
    layers = network.sequence()
    used = {*network.answer_plan.steps, *(source for layer in layers for source in layer.sources)}
    for index, (layer, block) in enumerate(zip(layers, network.blocks[1:], strict=True)):
        if index not in used and not layer.is_head and not layer.is_cost:
            yield f"{block.where()}: no layer reads layer {index}, and it is no head: it is computed for nothing"
