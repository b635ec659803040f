"""The common mistakes of chapter 5."""

from __future__ import annotations

from darknet_builder.lessons.marker.mistakes.mistake import Mistake, one

_VIEW = "raw.view(len(anchors), 5 + classes, rows, columns).permute(0, 2, 3, 1)"
_SHIFT = "scale_x_y * torch.sigmoid(values[..., :2]) - (scale_x_y - 1) / 2"
_X, _Y = "    x = (column + shift[..., 0]) / columns\n", "    y = (row + shift[..., 1]) / rows\n"
_W = "    w = torch.exp(values[..., 2]) * anchor[..., 0] / width\n"
_H = "    h = torch.exp(values[..., 3]) * anchor[..., 1] / height\n"
_SCORES = "    scores = torch.sigmoid(values[..., 4:])\n"
_JOINED = "return torch.cat([boxes, scores], dim=-1).reshape(-1, 5 + classes)"

MISTAKES = (
    Mistake(
        "x-and-y-exchanged", 5,
        "x counts columns and y counts rows; here they are exchanged.",
        (
            ((_X, "    x = (row + shift[..., 0]) / columns\n"),
             (_Y, "    y = (column + shift[..., 1]) / rows\n")),
            ((_X, "    x = (row + shift[..., 0]) / rows\n"),
             (_Y, "    y = (column + shift[..., 1]) / columns\n")),
            ((_X, "    x = (row + shift[..., 1]) / rows\n"),
             (_Y, "    y = (column + shift[..., 0]) / columns\n")),
            ((_X, "    x = (column + shift[..., 1]) / columns\n"),
             (_Y, "    y = (row + shift[..., 0]) / rows\n")),
        ),
    ),
    Mistake(
        "rows-and-columns-exchanged", 5,
        "x is divided by the number of columns, y by the number of rows.",
        (((_X, _X.replace("/ columns", "/ rows")), (_Y, _Y.replace("/ rows", "/ columns"))),),
    ),
    Mistake(
        "no-sigmoid-on-xy", 5,
        "tx and ty go through a sigmoid, so that the centre stays near its cell.",
        (one(_SHIFT, "scale_x_y * values[..., :2] - (scale_x_y - 1) / 2"),),
    ),
    Mistake(
        "no-exp", 5,
        "The anchor is multiplied by exp(tw), not by tw.",
        (((_W, _W.replace("torch.exp(values[..., 2])", "values[..., 2]")),
          (_H, _H.replace("torch.exp(values[..., 3])", "values[..., 3]"))),),
    ),
    Mistake(
        "sigmoid-on-size", 5,
        "Sizes use exp(tw) and exp(th), not a sigmoid.",
        (
            ((_W, _W.replace("torch.exp", "torch.sigmoid")),
             (_H, _H.replace("torch.exp", "torch.sigmoid"))),
            ((_W, _W.replace("exp(values[..., 2])", "exp(torch.sigmoid(values[..., 2]))")),
             (_H, _H.replace("exp(values[..., 3])", "exp(torch.sigmoid(values[..., 3]))"))),
        ),
    ),
    Mistake(
        "anchors-in-cells", 5,
        "Anchors are pixels of the network's input: divide by its width and height. Dividing by the"
        " number of cells is right only for anchors that were divided by the stride before.",
        (((_W, _W.replace("/ width", "/ columns")), (_H, _H.replace("/ height", "/ rows"))),),
    ),
    Mistake(
        "anchors-not-divided", 5,
        "w and h are relative to the network's input: divide them by its width and height.",
        (((_W, _W.replace(" / width", "")), (_H, _H.replace(" / height", ""))),),
    ),
    Mistake(
        "anchors-missing", 5,
        "The anchors are not used: w = exp(tw) * anchor width / width.",
        (
            ((_W, "    w = torch.exp(values[..., 2]) / width\n"),
             (_H, "    h = torch.exp(values[..., 3]) / height\n")),
            ((_W, "    w = torch.exp(values[..., 2])\n"),
             (_H, "    h = torch.exp(values[..., 3])\n")),
            ((_W, "    w = torch.exp(values[..., 2]) / columns\n"),
             (_H, "    h = torch.exp(values[..., 3]) / rows\n")),
        ),
    ),
    Mistake(
        "width-and-height-exchanged", 5,
        "w is divided by the network's width and h by its height; here they are exchanged.",
        (
            ((_W, _W.replace("/ width", "/ height")), (_H, _H.replace("/ height", "/ width"))),
            ((_W, _W.replace("anchor[..., 0]", "anchor[..., 1]")),
             (_H, _H.replace("anchor[..., 1]", "anchor[..., 0]"))),
        ),
    ),
    Mistake(
        "softmax-for-classes", 5,
        "Each class has its own sigmoid. A softmax over the classes belongs to YOLO v2.",
        (one(_SCORES, "    scores = torch.cat([torch.sigmoid(values[..., 4:5]),"
             " torch.softmax(values[..., 5:], -1)], -1)\n"),),
    ),
    Mistake(
        "no-sigmoid-on-scores", 5,
        "Objectness and classes go through a sigmoid.",
        (
            one(_SCORES, "    scores = values[..., 4:]\n"),
            one(_SCORES, "    scores = torch.cat([torch.sigmoid(values[..., 4:5]),"
                " values[..., 5:]], -1)\n"),
        ),
    ),
    Mistake(
        "classes-times-objectness", 5,
        "decode returns objectness and classes separately; chapter 6 multiplies them.",
        (one(_SCORES, _SCORES + "    scores = torch.cat([scores[..., :1],"
             " scores[..., 1:] * scores[..., :1]], -1)\n"),),
    ),
    Mistake(
        "scale-x-y-ignored", 5,
        "scale_x_y is not used: x is (column + scale_x_y * sigmoid(tx) - (scale_x_y - 1) / 2) /"
        " columns.",
        (one(_SHIFT, "torch.sigmoid(values[..., :2])"),),
    ),
    Mistake(
        "scale-x-y-without-shift", 5,
        "After scale_x_y * sigmoid(tx), subtract (scale_x_y - 1) / 2, so that the middle of the"
        " cell stays the middle.",
        (
            one(_SHIFT, "scale_x_y * torch.sigmoid(values[..., :2])"),
            one(_SHIFT, "scale_x_y * torch.sigmoid(values[..., :2]) - (scale_x_y - 1)"),
            one(_SHIFT, "scale_x_y * torch.sigmoid(values[..., :2]) + (scale_x_y - 1) / 2"),
        ),
    ),
    Mistake(
        "grid-missing", 5,
        "The cell is missing: x = (column + s(tx)) / columns.",
        (
            ((_X, "    x = shift[..., 0] / columns\n"), (_Y, "    y = shift[..., 1] / rows\n")),
            ((_X, "    x = shift[..., 0]\n"), (_Y, "    y = shift[..., 1]\n")),
        ),
    ),
    Mistake(
        "grid-not-divided", 5,
        "x and y are relative to the picture: divide by the number of columns and rows.",
        (((_X, "    x = column + shift[..., 0]\n"), (_Y, "    y = row + shift[..., 1]\n")),),
    ),
    Mistake(
        "map-reshaped-wrongly", 5,
        "The map is (anchors, 5 + classes, rows, columns) in memory. Use view with exactly this"
        " shape first, and permute then; view alone does not exchange dimensions.",
        (
            one(_VIEW, "raw.reshape(len(anchors), rows, columns, 5 + classes)"),
            one(_VIEW, "raw.reshape(rows, columns, len(anchors), 5 + classes).permute(2, 0, 1, 3)"),
            one(_VIEW, "raw.view(5 + classes, len(anchors), rows, columns).permute(1, 2, 3, 0)"),
            one(_VIEW, "raw.view(len(anchors), 5 + classes, columns, rows).permute(0, 3, 2, 1)"),
        ),
    ),
    Mistake(
        "order-of-boxes", 5,
        "The boxes are right but in another order: first all cells of the first anchor, row by row,"
        " then those of the second one.",
        (
            one(_JOINED, "return torch.cat([boxes, scores], dim=-1).permute(1, 2, 0, 3)"
                ".reshape(-1, 5 + classes)"),
            one(_JOINED, "return torch.cat([boxes, scores], dim=-1).permute(0, 2, 1, 3)"
                ".reshape(-1, 5 + classes)"),
        ),
    ),
    Mistake(
        "boxes-in-pixels", 5,
        "x, y, w and h are relative to the network's input (x = 0.5 is the middle), not pixels.",
        (
            ((_X, _X.replace("/ columns", "/ columns * width")),
             (_Y, _Y.replace("/ rows", "/ rows * height")),
             (_W, _W.replace(" / width", "")), (_H, _H.replace(" / height", ""))),
            ((_X, _X.replace("/ columns", "/ columns * width")),
             (_Y, _Y.replace("/ rows", "/ rows * height"))),
        ),
    ),
    Mistake(
        "corners-for-centre", 5,
        "x and y are the centre of the box, not its left upper corner.",
        (one("    boxes = torch.stack([x, y, w, h], dim=-1)\n    scores",
             "    boxes = torch.stack([x - w / 2, y - h / 2, w, h], dim=-1)\n    scores"),
         one("    boxes = torch.stack([x, y, w, h], dim=-1)\n    scores",
             "    boxes = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=-1)\n"
             "    scores"),),
    ),
    Mistake(
        "mask-ignored", 5,
        "A head uses only the anchors whose indices mask= lists. mask=3,4,5 means the fourth, fifth"
        " and sixth pair.",
        (
            one('return [pairs[int(index)] for index in numbers(block["mask"])]', "return pairs"),
            one('return [pairs[int(index)] for index in numbers(block["mask"])]',
                'return pairs[: len(numbers(block["mask"]))]'),
        ),
    ),
    Mistake(
        "mask-counted-from-1", 5,
        "mask= counts from 0.",
        (one("pairs[int(index)] for index", "pairs[int(index) - 1] for index"),),
    ),
    Mistake(
        "mask-of-numbers", 5,
        "mask= counts pairs of anchors, not single numbers.",
        (one("    pairs = list(zip(sizes[0::2], sizes[1::2], strict=True))\n    return",
             "    pairs = list(zip(sizes, sizes[1:]))\n    return"),),
    ),
)  # fmt: skip
