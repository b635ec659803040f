"""The common mistakes of chapter 6."""

from __future__ import annotations

from darknet_builder.lessons.marker.mistakes.mistake import Mistake, one

_PIXELS = "    pixels = red_first.permute(2, 0, 1).unsqueeze(0) / 255\n"
_RESIZED = '(new_height, new_width), mode="bilinear", align_corners=True'
_RESIZE = f"    resized = F.interpolate(pixels, {_RESIZED})\n"
_FITTED = "    if width * rows < height * columns:\n"
_OFFSETS = "    left, top = (width - new_width) // 2, (height - new_height) // 2\n"
_PICTURE_X = "    x = (x * width - (width - new_width) / 2) / new_width * columns\n"
_PICTURE_Y = "    y = (y * height - (height - new_height) / 2) / new_height * rows\n"
_NMS_LOOP = "    for class_scores in kept.unbind(1):  # views: what changes here, changes in kept\n"
_DETECT = '    width, height = int(blocks[0]["width"]), int(blocks[0]["height"])\n    rows, columns'
_NMS_END = "    return kept"
_LOW = "torch.maximum(box[:2] - box[2:] / 2, boxes[:, :2] - boxes[:, 2:] / 2)"
_HIGH = "torch.minimum(box[:2] + box[2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2)"
_UNION = "box[2] * box[3] + boxes[:, 2] * boxes[:, 3] - intersection"


def _with_cv2(picture: str, method: str, after: str = "") -> str:
    """Return code that resizes a picture with OpenCV."""
    return (
        f"    small = cv2.resize({picture}, (new_width, new_height), interpolation={method})\n"
        f"    resized = torch.from_numpy(small).permute(2, 0, 1).unsqueeze(0){after}\n"
    )


MISTAKES = (
    Mistake(
        "bgr-kept", 6,
        "OpenCV reads blue, green, red; Darknet's networks expect red, green, blue. Reverse the"
        " channels.",
        (one("image[:, :, ::-1].copy()", "image.copy()"),),
    ),
    Mistake(
        "not-divided-by-255", 6,
        "Pixels go from 0 to 1: divide by 255.",
        (
            one(_PIXELS, _PIXELS.replace(" / 255", ".float()")),
            one(_PIXELS, _PIXELS.replace("/ 255", "/ 256")),
            one(_PIXELS, _PIXELS.replace("/ 255", "/ 127.5 - 1")),
        ),
    ),
    Mistake(
        "stretched", 6,
        "The picture is stretched. A letterbox keeps its proportions and fills the rest with grey.",
        (
            one("    left, top = (width - new_width)", "    resized = F.interpolate(pixels,"
                ' (height, width), mode="bilinear", align_corners=True)\n    return resized\n'
                "    left, top = (width - new_width)"),
        ),
    ),
    Mistake(
        "bars-not-grey", 6,
        "The bars are exactly 0.5: not black, not white, and not 128 / 255.",
        (
            one("torch.full((1, 3, height, width), 0.5)", "torch.zeros(1, 3, height, width)"),
            one("torch.full((1, 3, height, width), 0.5)", "torch.ones(1, 3, height, width)"),
            one("torch.full((1, 3, height, width), 0.5)",
                "torch.full((1, 3, height, width), 128 / 255)"),
        ),
    ),
    Mistake(
        "align-corners", 6,
        "Darknet puts the corner pixels of both pictures onto each other. cv2.resize and"
        " F.interpolate by default do not. Use F.interpolate with align_corners=True.",
        (
            one(_RESIZED, _RESIZED.replace("=True", "=False")),
            one(_RESIZED, '(new_height, new_width), mode="nearest"'),
            one(_RESIZED, _RESIZED.replace("=True", "=False, antialias=True")),
            one(_RESIZE, _with_cv2("red_first.numpy()", "cv2.INTER_LINEAR", " / 255")),
            one(_RESIZE, _with_cv2("red_first.numpy()", "cv2.INTER_AREA", " / 255")),
            one(_RESIZE, _with_cv2("red_first.numpy() / np.float32(255)", "cv2.INTER_AREA")),
        ),
    ),
    Mistake(
        "bars-on-one-side", 6,
        "The picture belongs in the middle: half of the rest is left or above it.",
        (one(_OFFSETS, "    left, top = 0, 0\n"),),
    ),
    Mistake(
        "offset-rounding", 6,
        "The offsets of the picture are rounded down: (height - new_height) // 2.",
        (
            one(_OFFSETS,
                "    left, top = -(-(width - new_width) // 2), -(-(height - new_height) // 2)\n"),
        ),
    ),
    Mistake(
        "size-rounding", 6,
        "The fitted size is rounded down, as C divides whole numbers.",
        (
            ((
                "return width, rows * width // columns",
                "return width, int(rows * width / columns + 0.5)"),
             ("return columns * height // rows, height",
              "return int(columns * height / rows + 0.5), height")),
            ((
                "return width, rows * width // columns",
                "return width, -(-rows * width // columns)"),
             ("return columns * height // rows, height",
              "return -(-columns * height // rows), height")),
        ),
    ),
    Mistake(
        "size-from-scale", 6,
        "The side is one pixel too small for some pictures: a scale such as min(width / columns,"
        " height / rows) is not exact, and int() then loses a whole pixel. Compute with whole"
        " numbers: rows * width // columns, or columns * height // rows.",
        (one(_FITTED, "    scale = min(width / columns, height / rows)\n"
             "    return int(columns * scale), int(rows * scale)\n" + _FITTED),
         one(_FITTED, "    scale = min(width / columns, height / rows)\n"
             "    is_wide = width / columns < height / rows\n"
             "    return (width, int(rows * scale)) if is_wide else"
             " (int(columns * scale), height)\n" + _FITTED),),
    ),
    Mistake(
        "fitted-to-the-wrong-side", 6,
        "The picture must fit into the network's input: take the smaller of the two scales"
        " width / columns and height / rows.",
        (one("if width * rows < height * columns:", "if width * rows > height * columns:"),),
    ),
    Mistake(
        "letterbox-offsets-missing", 6,
        "The bars are still in the coordinates: subtract half of (width - new_width) from x, and"
        " half of (height - new_height) from y, in pixels of the network's input.",
        (
            ((_PICTURE_X, "    x = x * width / new_width * columns\n"),
             (_PICTURE_Y, "    y = y * height / new_height * rows\n")),
            ((_PICTURE_X, "    x = x * columns\n"), (_PICTURE_Y, "    y = y * rows\n")),
            ((_PICTURE_X, "    x = x * columns\n"), (_PICTURE_Y, "    y = y * rows\n"),
             ("    w = w * width / new_width * columns\n", "    w = w * columns\n"),
             ("    h = h * height / new_height * rows\n", "    h = h * rows\n")),
        ),
    ),
    Mistake(
        "bars-rounded", 6,
        "The bar is not rounded here: subtract (width - new_width) / 2. Darknet rounds it down only"
        " when it places the picture in the input.",
        (
            ((_PICTURE_X, _PICTURE_X.replace("/ 2)", "// 2)")),
             (_PICTURE_Y, _PICTURE_Y.replace("/ 2)", "// 2)"))),
        ),
    ),
    Mistake(
        "letterbox-scale-missing", 6,
        "w and h are relative to the network's input with its bars. The picture is only new_width"
        " and new_height of it, so divide by these.",
        (
            (("    w = w * width / new_width * columns\n", "    w = w * columns\n"),
             ("    h = h * height / new_height * rows\n", "    h = h * rows\n")),
        ),
    ),
    Mistake(
        "picture-centre-for-corner", 6,
        "Return corners: left = x - w / 2, top = y - h / 2, right = x + w / 2, bottom = y + h / 2.",
        (
            one("return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=-1)",
                "return torch.stack([x, y, w, h], dim=-1)"),
            one("return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=-1)",
                "return torch.stack([x, y, x + w, y + h], dim=-1)"),
            one("return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=-1)",
                "return torch.stack([x - w / 2, y - h / 2, w, h], dim=-1)"),
        ),
    ),
    Mistake(
        "negative-sides", 6,
        "For boxes that lie apart, both sides of the intersection are negative, and their product"
        " is positive. Set negative sides to 0 first.",
        (one("(high - low).clamp(min=0)", "(high - low)"),),
    ),
    Mistake(
        "boxes-taken-as-corners", 6,
        "x and y are the centre of a box; its sides are at x - w / 2 and x + w / 2.",
        (
            ((_LOW, "torch.maximum(box[:2], boxes[:, :2])"),
             (_HIGH, "torch.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])")),
            ((_LOW, "torch.maximum(box[:2], boxes[:, :2])"),
             (_HIGH, "torch.minimum(box[2:], boxes[:, 2:])"),
             (_UNION, "(box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1)"
              " - intersection")),
            ((_LOW, "torch.maximum(box[:2], boxes[:, :2])"),
             (_HIGH, "torch.minimum(box[2:], boxes[:, 2:])")),
        ),
    ),
    Mistake(
        "union-counts-twice", 6,
        "The union is the sum of both areas minus the intersection, which the sum counts twice.",
        (
            one(_UNION, "box[2] * box[3] + boxes[:, 2] * boxes[:, 3]"),
            one("return intersection / union", "return intersection / torch.minimum("
                "box[2] * box[3], boxes[:, 2] * boxes[:, 3])"),
        ),
    ),
    Mistake(
        "plus-one-pixel", 6,
        "Do not add 1 to the sides: that belongs to boxes of whole pixels, and these are relative.",
        (
            one("(high - low).clamp(min=0)", "(high - low + 1).clamp(min=0)"),
            (("(high - low).clamp(min=0)", "(high - low + 1).clamp(min=0)"),
             (_UNION, "(box[2] + 1) * (box[3] + 1) + (boxes[:, 2] + 1) * (boxes[:, 3] + 1)"
              " - intersection")),
        ),
    ),
    Mistake(
        "nms-across-classes", 6,
        "Boxes suppress only boxes of their own class: a person on a horse must not remove the"
        " horse.",
        (
            one(_NMS_LOOP, "    best = kept.max(dim=1).values\n    before = best.clone()\n"
                "    for class_scores in [best]:\n")
            + one(_NMS_END,
                  "    kept[(best == 0) & (before > 0)] = 0\n" + _NMS_END),
            one(_NMS_LOOP, "    best = kept.max(dim=1).values\n    before = best.clone()\n"
                "    for class_scores in [best]:\n")
            + one(_NMS_END,
                  "    kept[(best == 0) & (before > 0)] = 0\n"
                  "    only = torch.zeros_like(kept)\n"
                  "    top = kept.argmax(dim=1, keepdim=True)\n"
                  "    return only.scatter(1, top, kept.gather(1, top))\n"),
        ),
    ),
    Mistake(
        "suppressed-boxes-suppress", 6,
        "A box that was suppressed itself must not suppress others.",
        (one("            if class_scores[index] > 0:\n", "            if scores.max() > 0:\n"),),
    ),
    Mistake(
        "nms-not-sorted", 6,
        "Go through the boxes from the highest score to the lowest; otherwise a poor box suppresses"
        " a better one.",
        (
            one("torch.argsort(class_scores, descending=True)", "torch.arange(len(class_scores))"),
            one("torch.argsort(class_scores, descending=True)", "torch.argsort(class_scores)"),
        ),
    ),
    Mistake(
        "nms-sorted-by-other-score", 6,
        "For each class, sort by the scores of this class.",
        (
            one("torch.argsort(class_scores, descending=True)",
                "torch.argsort(scores.max(dim=1).values, descending=True)"),
            one("torch.argsort(class_scores, descending=True)",
                "torch.argsort(scores.sum(dim=1), descending=True)"),
        ),
    ),
    Mistake(
        "nms-keeps-the-overlapping", 6,
        "A later box is suppressed if its IoU is above the threshold, not below it.",
        (one("iou(boxes[index], boxes[later]) > threshold",
             "iou(boxes[index], boxes[later]) < threshold"),),
    ),
    Mistake(
        "nms-suppresses-itself", 6,
        "A box overlaps itself completely; compare it only with later ones.",
        (one("later = order[position + 1 :]", "later = order[position:]"),),
    ),
    Mistake(
        "scores-changed", 6,
        "nms changes the scores that it is given. Work on a copy: scores.clone().",
        (one("    kept = scores.clone()\n", "    kept = scores\n"),),
    ),
    Mistake(
        "score-without-objectness", 6,
        "The score of an object is its objectness times its class.",
        (one("boxes[:, 4:5] * boxes[:, 5:]", "boxes[:, 5:].clone()"),),
    ),
    Mistake(
        "score-is-objectness", 6,
        "The score of an object is its objectness times its class, not its objectness alone.",
        (one("boxes[:, 4:5] * boxes[:, 5:]",
             "boxes[:, 4:5] * (boxes[:, 5:] == boxes[:, 5:].max(1, keepdim=True).values)"),),
    ),
    Mistake(
        "no-suppression", 6,
        "Several boxes of one object are left: call nms before you make the list.",
        (one("    scores = nms(boxes[:, :4], scores, overlap)\n", ""),),
    ),
    Mistake(
        "found-not-sorted", 6,
        "The objects are right but not sorted: the highest score first.",
        (
            one("return sorted(found, key=lambda one: -one[1])", "return found"),
            one("return sorted(found, key=lambda one: -one[1])", "return sorted(found)"),
            one("return sorted(found, key=lambda one: -one[1])",
                "return sorted(found, key=lambda one: one[1])"),
        ),
    ),
    Mistake(
        "detect-ignores-its-arguments", 6,
        "detect must use its arguments threshold and overlap, not the numbers 0.25 and 0.45.",
        (
            one(_DETECT, "    threshold = 0.25\n" + _DETECT),
            one(_DETECT, "    overlap = 0.45\n" + _DETECT),
            one(_DETECT, "    threshold, overlap = 0.25, 0.45\n" + _DETECT),
        ),
    ),
    Mistake(
        "drawn-at-floats", 6,
        "OpenCV draws at whole numbers only: round() the corners of the box and the position of the"
        " text.",
        (
            one("(round(left), round(top)), (round(right), round(bottom))",
                "(left, top), (right, bottom)"),
            one("picture, text, first,", "picture, text, (left, top),"),
        ),
    ),
    Mistake(
        "picture-drawn-over", 6,
        "draw must not change the picture that it is given: draw on a copy.",
        (one("    picture = image.copy()\n", "    picture = image\n"),),
    ),
)  # fmt: skip
