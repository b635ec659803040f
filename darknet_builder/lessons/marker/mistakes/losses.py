"""The common mistakes of chapter 7."""

from __future__ import annotations

from darknet_builder.lessons.marker.mistakes.mistake import Mistake, one

_XY = "    output[:, :2] = scale_x_y * torch.sigmoid(output[:, :2]) - (scale_x_y - 1) / 2\n"
_RETURN = "    return delta.view(raw.shape)\n"
_IGNORED = "    is_ignored &= (boxes[:, 5:] > 0.25).any(dim=1)\n"

MISTAKES = (
    Mistake(
        "delta-sign", 7,
        "The sign is the other one: Darknet's delta is target - output, minus the gradient.",
        (one(_RETURN, "    return -delta.view(raw.shape)\n"),),
    ),
    Mistake(
        "sigmoid-derivative", 7,
        "Do not multiply by the derivative of the sigmoid, output * (1 - output): with the loss"
        " that Darknet means, it cancels.",
        (
            one(_RETURN, "    slope = output * (1 - output)\n    slope[:, 2:4] = 1\n"
                "    return (delta * slope).view(raw.shape)\n"),
            one(_RETURN, "    slope = output * (1 - output)\n    slope[:, :4] = 1\n"
                "    return (delta * slope).view(raw.shape)\n"),
            one(_RETURN, "    slope = output * (1 - output)\n    slope[:, 2:] = 1\n"
                "    return (delta * slope).view(raw.shape)\n"),
        ),
    ),
    Mistake(
        "box-scale-missing", 7,
        "The deltas of x, y, w, h are multiplied by 2 - w * h, so that small boxes count more.",
        (
            one("(2 - w * h) * (target - here[:4])", "(target - here[:4])"),
            one("(2 - w * h) * (target - here[:4])", "(w * h) * (target - here[:4])"),
            one("(2 - w * h) * (target - here[:4])", "(1 - w * h) * (target - here[:4])"),
        ),
    ),
    Mistake(
        "box-scale-in-pixels", 7,
        "In 2 - w * h, w and h are relative to the image, not pixels.",
        (one("+= (2 - w * h)", "+= (2 - w * width * h * height)"),),
    ),
    Mistake(
        "nothing-ignored", 7,
        "Where the decoded box overlaps a true box by more than ignore_thresh, the delta of the"
        " objectness is 0: such a box is not wrong, although another cell or anchor is"
        " responsible.",
        (one(_IGNORED, "    is_ignored[:] = False\n"),),
    ),
    Mistake(
        "ignored-without-class", 7,
        "A box is ignored only if one of its classes is above 0.25.",
        (one(_IGNORED, ""),),
    ),
    Mistake(
        "best-anchor-of-mask", 7,
        "The best anchor is chosen among all anchors of the section, not among those of the mask."
        " If it is not in the mask, another head takes care of the object.",
        (one("best = best_anchor(pairs, w * width, h * height)",
             "best = mask[best_anchor(chosen, w * width, h * height)]"),),
    ),
    Mistake(
        "anchor-of-relative-size", 7,
        "Anchors are pixels: multiply the true size by the width and height of the input before you"
        " compare.",
        (one("best_anchor(pairs, w * width, h * height)", "best_anchor(pairs, w, h)"),),
    ),
    Mistake(
        "anchor-by-area", 7,
        "The best anchor has the highest IoU with the box. The nearest area or the nearest size is"
        " another one.",
        (
            one("return int(iou(torch.tensor([0.0, 0.0, w, h]), centred).argmax())",
                "return int((sizes.prod(1) - w * h).abs().argmin())"),
            one("return int(iou(torch.tensor([0.0, 0.0, w, h]), centred).argmax())",
                "return int((sizes - torch.tensor([w, h])).square().sum(1).argmin())"),
        ),
    ),
    Mistake(
        "target-not-in-cell", 7,
        "The target of x is the distance from the cell's corner in cells: x * columns - column.",
        (
            one("[x * columns - column, y * rows - row,", "[x, y,"),
            one("[x * columns - column, y * rows - row,", "[x * columns, y * rows,"),
        ),
    ),
    Mistake(
        "target-without-log", 7,
        "The target of w is log(true width / anchor width), because decode uses exp.",
        (one("*size.log()])", "*size])"),),
    ),
    Mistake(
        "target-without-anchor", 7,
        "The target of w is log(true width / anchor width), in pixels.",
        (one("torch.tensor([w * width / pairs[best][0], h * height / pairs[best][1]])",
             "torch.tensor([w * width, h * height])"),),
    ),
    Mistake(
        "cell-exchanged", 7,
        "The cell of an object is in row int(y * rows) and column int(x * columns).",
        (
            (("here = output[mask.index(best), :, row, column]",
              "here = output[mask.index(best), :, column % rows, row]"),
             ("change = delta[mask.index(best), :, row, column]",
              "change = delta[mask.index(best), :, column % rows, row]")),
        ),
    ),
    Mistake(
        "cell-rounded", 7,
        "The cell is the one that contains the centre: round x * columns down with int, do not"
        " round to the nearest.",
        (one("column, row = int(x * columns), int(y * rows)",
             "column, row = int(x * columns + 0.5), int(y * rows + 0.5)"),),
    ),
    Mistake(
        "delta-without-scale-x-y", 7,
        "The output of x and y includes scale_x_y, as in decode.",
        (one(_XY, "    output[:, :2] = torch.sigmoid(output[:, :2])\n"),),
    ),
    Mistake(
        "delta-without-sigmoid", 7,
        "The output of objectness and classes is the sigmoid of the raw map.",
        (one("    output[:, 4:] = torch.sigmoid(output[:, 4:])\n", ""),),
    ),
    Mistake(
        "second-object-overwrites", 7,
        "Two objects in one cell with one anchor: the deltas of x, y, w, h are added up.",
        (
            one("change[:4] += (2 - w * h)", "change[:4] = (2 - w * h)"),
            one("change[:4] +=", "change[:2] = 0\n        change[:4] +="),
            one("change[:4] +=", "change[2:4] = 0\n        change[:4] +="),
        ),
    ),
    Mistake(
        "second-object-resets-classes", 7,
        "Two objects in one cell with one anchor: the second one sets only the delta of its own"
        " class; the others keep what the first one gave.",
        (one("        if not change[5 + int(class_id)]:\n", "        if True:\n"),),
    ),
    Mistake(
        "no-object-forgotten", 7,
        "Cells without an object learn too: the delta of their objectness is 0 - output.",
        (one("0, 0 - output[:, 4])", "0, 0 * output[:, 4])"),),
    ),
    Mistake(
        "zero-grad-forgotten", 7,
        "The gradients of earlier steps are still there, and backward adds to them. Call"
        " optimizer.zero_grad() in each step.",
        (one("    optimizer.zero_grad()\n", ""),),
    ),
    Mistake(
        "step-sign", 7,
        "The cost grows: delta is minus the gradient, so send -delta back.",
        (one("[-delta for delta in deltas]", "[delta for delta in deltas]"),),
    ),
    Mistake(
        "trained-in-evaluation-mode", 7,
        "Training needs training mode: call modules.train(), so that batch norm uses the picture's"
        " own mean and variance.",
        (one("    modules.train()\n", "    modules.eval()\n"),),
    ),
    Mistake(
        "step-forgotten", 7,
        "The weights do not change: call optimizer.step() after the gradients are there.",
        (one("    optimizer.step()\n", ""),),
    ),
    Mistake(
        "cost-after-the-step", 7,
        "The cost is the sum of the squares of all deltas of both heads.",
        (
            one("return float(sum(delta.square().sum() for delta in deltas))",
                "return float(sum(delta.sum() for delta in deltas))"),
            one("return float(sum(delta.square().sum() for delta in deltas))",
                "return float(deltas[0].square().sum())"),
            one("return float(sum(delta.square().sum() for delta in deltas))",
                "return float(deltas[-1].square().sum())"),
            one("return float(sum(delta.square().sum() for delta in deltas))",
                "return float(sum(delta.square().mean() for delta in deltas))"),
        ),
    ),
)  # fmt: skip
