"""Darknet's deltas place by place and truth by truth, in plain Python: what the vectorised losses
are held to.

Nothing here is fast or clever. Each function follows the C code's own loops and order of writing,
on numbers that the head has activated, so that a mistake in vectorising (an order, a mask, a
broadcast) shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from darknet_builder.layers.heads.anchor_head import AnchorHead
from darknet_builder.layers.heads.detection import Detection
from darknet_builder.layers.heads.gaussian_yolo import GaussianYolo
from darknet_builder.layers.heads.region import Region

Box = tuple[float, float, float, float]


def box_iou(a: Box, b: Box) -> float:
    """box.c:146."""
    width = min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2)
    height = min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2)
    inter = 0.0 if width < 0 or height < 0 else width * height
    union = a[2] * a[3] + b[2] * b[3] - inter
    return 0.0 if inter == 0 or union == 0 else inter / union


def around(a: Box, b: Box) -> tuple[float, float]:
    """Width and height of the box around both (box.c:70)."""
    return (
        max(a[0] + a[2] / 2, b[0] + b[2] / 2) - min(a[0] - a[2] / 2, b[0] - b[2] / 2),
        max(a[1] + a[3] / 2, b[1] + b[3] / 2) - min(a[1] - a[3] / 2, b[1] - b[3] / 2),
    )


def box_kind(kind: str, a: Box, b: Box) -> float:
    """box.c:125."""
    iou, (width, height) = box_iou(a, b), around(a, b)
    distance = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
    if kind == "giou":
        whole = width * height
        inter = iou * (a[2] * a[3] + b[2] * b[3]) / (1 + iou)
        union = a[2] * a[3] + b[2] * b[3] - inter
        return iou - (whole - union) / whole
    if kind == "diou":
        return iou - (distance / (width**2 + height**2)) ** 0.6
    if kind == "ciou":
        shape = 4 / math.pi**2 * (math.atan(b[2] / b[3]) - math.atan(a[2] / a[3])) ** 2
        return iou - distance / (width**2 + height**2) - shape * shape / (1 - iou + shape + 1e-6)
    return iou


def dx_box_iou(pred: Box, truth: Box, kind: str) -> list[float]:
    """box.c:258, line by line."""
    pred_t, pred_b, pred_l, pred_r = (
        pred[1] - pred[3] / 2,
        pred[1] + pred[3] / 2,
        pred[0] - pred[2] / 2,
        pred[0] + pred[2] / 2,
    )
    top, bot, left, right = (
        truth[1] - truth[3] / 2,
        truth[1] + truth[3] / 2,
        truth[0] - truth[2] / 2,
        truth[0] + truth[2] / 2,
    )
    ours, theirs = (pred_b - pred_t) * (pred_r - pred_l), (bot - top) * (right - left)
    i_h, i_w = min(pred_b, bot) - max(pred_t, top), min(pred_r, right) - max(pred_l, left)
    inter = i_w * i_h
    union = ours + theirs - inter
    distance = (pred[0] - truth[0]) ** 2 + (pred[1] - truth[1]) ** 2
    c_w, c_h = around(pred, truth)
    area, diagonal = c_w * c_h, c_w**2 + c_h**2
    d_area = [-(pred_r - pred_l), pred_r - pred_l, -(pred_b - pred_t), pred_b - pred_t]
    d_inter = [
        -i_w if pred_t > top else 0,
        i_w if pred_b < bot else 0,
        -i_h if pred_l > left else 0,
        i_h if pred_r < right else 0,
    ]
    d_union = [a - i for a, i in zip(d_area, d_inter, strict=True)]
    d_around = [
        -c_w if pred_t < top else 0,
        c_w if pred_b > bot else 0,
        -c_h if pred_l < left else 0,
        c_h if pred_r > right else 0,
    ]
    sides = [
        (union * i - inter * u) / union**2 if union > 0 else 0.0
        for i, u in zip(d_inter, d_union, strict=True)
    ]
    apart = i_w <= 0 or i_h <= 0
    if kind == "giou":
        extra = [(area * u - union * c) / area**2 for u, c in zip(d_union, d_around, strict=True)]
        sides = extra if apart else [s + e for s, e in zip(sides, extra, strict=True)]
    dt, db, dl, dr = sides
    gradient = [dl + dr, dt + db, dr - dl, db - dt]
    if kind in ("diou", "ciou"):
        low_x, high_x, low_y, high_y = (
            int(pred_l < left),
            int(pred_r > right),
            int(pred_t < top),
            int(pred_b > bot),
        )
        d_cw = [high_x - low_x, 0, 0.5 * high_x + 0.5 * low_x, 0]
        d_ch = [0, high_y - low_y, 0, 0.5 * high_y + 0.5 * low_y]
        push = [(2 * c_w * d_cw[k] + 2 * c_h * d_ch[k]) * distance for k in range(4)]
        extra = [
            (2 * (truth[0] - pred[0]) * diagonal - push[0]) / diagonal**2,
            (2 * (truth[1] - pred[1]) * diagonal - push[1]) / diagonal**2,
            push[2] / diagonal**2,
            push[3] / diagonal**2,
        ]
        if kind == "ciou":
            turn = math.atan(truth[2] / truth[3]) - math.atan(pred[2] / pred[3])
            shape = 4 / math.pi**2 * turn**2
            alpha = shape / (1 - inter / union + shape + 1e-6)
            extra[2] += alpha * 8 / math.pi**2 * turn * pred[3]
            extra[3] -= alpha * 8 / math.pi**2 * turn * pred[2]
        gradient = extra if apart else [g + e for g, e in zip(gradient, extra, strict=True)]
    return gradient


def _focal(share: float) -> float:
    pt = share + 1e-15
    return 0.5 * -(1 - pt) * (2 * pt * math.log(pt) + pt - 1)


class AnchorReference:
    """[yolo] (yolo_layer.c:388) and [Gaussian_yolo] (gaussian_yolo_layer.c:411).

    Args:
        head: its options.
        output: (B, A, V, H, W), as Darknet holds it.
        boxes: one (T, 5) array an image.
        net_size: (width, height) in pixels.
    """

    def __init__(
        self,
        head: AnchorHead,
        output: np.ndarray,
        boxes: Sequence[np.ndarray],
        net_size: tuple[int, int],
    ) -> None:
        self.head, self.options, self.output, self.net = head, head.loss, output, net_size
        self.delta = np.zeros_like(output)
        self.obj, self.gaussian = head.box_values - 1, isinstance(head, GaussianYolo)
        self.height, self.width = output.shape[3:]
        self.ious: list[float] = []
        counters = [max(1, count) for count in head.loss.counters_per_class]
        self.multipliers = [min(max(counters) / count, head.loss.max_delta) for count in counters]
        for image, rows in enumerate(boxes):
            kept = [
                [float(v) for v in row]
                for row in rows[: head.loss.max_boxes]
                if 0 <= row[4] < head.classes
            ]
            self.run(image, kept)

    def multiplier(self, class_id: int) -> float:
        """1 without counters_per_class."""
        return self.multipliers[class_id] if self.multipliers else 1.0

    def share(self) -> float:
        """By how much of its size a Gaussian box's point stands before the centre."""
        point = getattr(self.head, "yolo_point", "center")
        return {"center": 0.0, "left_top": 0.5, "right_bottom": -0.5}[point]

    def predicted(self, image: int, n: int, j: int, i: int) -> Box:
        """get_yolo_box."""
        values = self.output[image, n, :, j, i]
        anchor = self.head.anchors[self.head.mask[n]]
        x, y, w, h = values[0:8:2] if self.gaussian else values[:4]
        if getattr(self.head, "new_coords", False):
            w, h = w * w * 4 * anchor[0] / self.net[0], h * h * 4 * anchor[1] / self.net[1]
        else:
            w, h = math.exp(w) * anchor[0] / self.net[0], math.exp(h) * anchor[1] / self.net[1]
        return (
            (i + x) / self.width + self.share() * w,
            (j + y) / self.height + self.share() * h,
            w,
            h,
        )

    def run(self, image: int, rows: list[list[float]]) -> None:
        """process_batch."""
        for j in range(self.height):
            for i in range(self.width):
                for n in range(len(self.head.mask)):
                    self.background(image, n, j, i, rows)
        for row in rows:
            self.truth(image, row)
        for j in range(self.height):
            for i in range(self.width):
                for n in range(len(self.head.mask)):
                    self.average(self.delta[image, n, :, j, i])

    def background(self, image: int, n: int, j: int, i: int, rows: list[list[float]]) -> None:
        """What a place learns before the truths are looked at."""
        values, delta, options = (
            self.output[image, n, :, j, i],
            self.delta[image, n, :, j, i],
            self.options,
        )
        pred = self.predicted(image, n, j, i)
        best = best_match = 0.0
        best_row = match_row = rows[0] if rows else []
        for row in rows:
            iou = box_iou(pred, (row[0], row[1], row[2], row[3]))
            if iou > best_match and any(values[self.obj + 1 :] > 0.25):
                best_match, match_row = iou, row
            if iou > best:
                best, best_row = iou, row
        delta[self.obj] = options.obj_normalizer * (0 - values[self.obj])
        if best_match > options.ignore_thresh:
            self.ignored(values, delta, best_match, match_row)
        if best > options.truth_thresh:
            class_id = int(best_row[4])
            goal = best * best if options.objectness_smooth else 1
            delta[self.obj] = options.obj_normalizer * (goal - values[self.obj])
            self.classes(values, delta, class_id)
            if options.objectness_smooth:
                delta[self.obj + 1 + class_id] = self.multiplier(class_id) * (
                    goal - values[self.obj + 1 + class_id]
                )
            self.box(image, n, j, i, best_row)

    def ignored(self, values: np.ndarray, delta: np.ndarray, best: float, row: list[float]) -> None:
        """A place that overlaps a truth."""
        if not self.options.objectness_smooth:
            delta[self.obj] = 0
        elif self.gaussian:
            delta[self.obj] = self.options.obj_normalizer * (best * best - values[self.obj])
            self.classes(values, delta, int(row[4]))
        else:
            delta[self.obj] = max(
                delta[self.obj], self.options.obj_normalizer * (best - values[self.obj])
            )

    def truth(self, image: int, row: list[float]) -> None:
        """One truth: its best anchor and, with iou_thresh, the others that fit."""
        x, y = row[0] - self.share() * row[2], row[1] - self.share() * row[3]
        i, j = (
            min(max(int(x * self.width), 0), self.width - 1),
            min(max(int(y * self.height), 0), self.height - 1),
        )
        shift = (0.0, 0.0, row[2], row[3])
        best, best_n = 0.0, 0
        sizes: list[Box] = [
            (0.0, 0.0, w / self.net[0], h / self.net[1]) for w, h in self.head.anchors
        ]
        for n, size in enumerate(sizes):
            if box_iou(size, shift) > best:
                best, best_n = box_iou(size, shift), n
        chosen = [best_n] if best_n in self.head.mask else []
        if self.options.iou_thresh < 1:
            chosen += [
                n
                for n, size in enumerate(sizes)
                if n in self.head.mask
                and n != best_n
                and box_kind(self.options.iou_thresh_kind, size, shift) > self.options.iou_thresh
            ]
        for n in chosen:
            self.positive(image, self.head.mask.index(n), j, i, row)

    def positive(self, image: int, n: int, j: int, i: int, row: list[float]) -> None:
        """One truth at one place."""
        values, delta, class_id = (
            self.output[image, n, :, j, i],
            self.delta[image, n, :, j, i],
            int(row[4]),
        )
        self.box(image, n, j, i, row)
        pred, truth = self.predicted(image, n, j, i), (row[0], row[1], row[2], row[3])
        metric = (
            "giou" if self.gaussian and self.options.iou_loss != "mse" else self.options.iou_loss
        )
        self.ious.append(box_kind("giou" if metric == "giou" else "iou", pred, truth))
        towards = self.multiplier(class_id) * self.options.obj_normalizer * (1 - values[self.obj])
        if self.gaussian or not self.options.objectness_smooth or delta[self.obj] == 0:
            delta[self.obj] = towards
        self.classes(values, delta, class_id)

    def classes(self, values: np.ndarray, delta: np.ndarray, class_id: int) -> None:
        """delta_yolo_class."""
        first, eps = self.obj + 1, self.options.label_smooth_eps
        probe = first if self.gaussian else first + class_id
        if delta[probe]:
            delta[first + class_id] = (
                1 - eps + 0.5 * eps - values[first + class_id]
            ) * self.multiplier(class_id)
            return
        focal = _focal(values[first + class_id]) if self.options.focal_loss else 1.0
        for n in range(self.head.classes):
            y = float(n == class_id)
            if self.options.focal_loss and not self.gaussian:
                delta[first + n] = (y - values[first + n]) * focal
                continue
            delta[first + n] = y * (1 - eps) + 0.5 * eps - values[first + n]
            if self.multipliers and n == class_id:
                delta[first + n] *= self.multiplier(class_id) * self.options.cls_normalizer

    def box(self, image: int, n: int, j: int, i: int, row: list[float]) -> None:
        """delta_yolo_box."""
        values, delta = self.output[image, n, :, j, i], self.delta[image, n, :, j, i]
        truth, options = (row[0], row[1], row[2], row[3]), self.options
        anchor = self.head.anchors[self.head.mask[n]]
        factor = options.iou_normalizer * self.multiplier(int(row[4]))
        scale = 2 - row[2] * row[3]
        goals = [
            (row[0] - self.share() * row[2]) * self.width - i,
            (row[1] - self.share() * row[3]) * self.height - j,
            row[2] * self.net[0] / anchor[0],
            row[3] * self.net[1] / anchor[1],
        ]
        new_coords = getattr(self.head, "new_coords", False)
        goals[2:] = [math.sqrt(g / 4) if new_coords else math.log(g) for g in goals[2:]]
        gradient = [0.0] * 4
        if options.iou_loss != "mse":
            gradient = dx_box_iou(self.predicted(image, n, j, i), truth, options.iou_loss)
            gradient[0] -= self.share() * gradient[2]
            gradient[1] -= self.share() * gradient[3]
            raw = values[4:8:2] if self.gaussian else values[2:4]
            if not new_coords:
                gradient[2:] = [g * math.exp(v) for g, v in zip(gradient[2:], raw, strict=True)]
        if self.gaussian:
            self.gaussian_box(values, delta, goals, gradient, scale, factor)
        elif options.iou_loss == "mse":
            delta[:4] += [
                scale * (goal - value) * factor
                for goal, value in zip(goals, values[:4], strict=True)
            ]
        else:
            delta[:4] += [self.clip(g * factor) for g in gradient]

    def gaussian_box(
        self,
        values: np.ndarray,
        delta: np.ndarray,
        goals: list[float],
        gradient: list[float],
        scale: float,
        factor: float,
    ) -> None:
        """delta_gaussian_yolo_box."""
        for k in range(4):
            mean, sigma = values[2 * k], values[2 * k + 1]
            reduced = (goals[k] - mean) / sigma
            density = math.exp(-(reduced**2) / 2) / (math.sqrt(math.pi * 2) * (sigma + 0.3))
            temp = 0.5 / (density + 1e-9) * density * scale
            direct = temp * reduced / sigma if self.options.iou_loss == "mse" else gradient[k]
            spread = temp * (reduced**2 / sigma - 1 / (sigma + 0.3))
            delta[2 * k] += self.clip(direct * factor)
            delta[2 * k + 1] += self.clip(spread * self.options.uc_normalizer)

    def clip(self, value: float) -> float:
        """fix_nan_inf and clip_value."""
        value = value if math.isfinite(value) else 0.0
        return min(max(value, -self.options.max_delta), self.options.max_delta)

    def average(self, delta: np.ndarray) -> None:
        """averages_yolo_deltas."""
        if self.gaussian or (self.options.iou_thresh < 1 and delta[self.obj] != 0):
            count = int((delta[self.obj + 1 :] > 0).sum())
            if count:
                delta[: self.obj] /= count

    def cost(self) -> float:
        """As printed."""
        if self.gaussian or self.options.iou_loss == "mse":
            return float((self.delta**2).sum())
        rest = float((self.delta[:, :, self.obj :] ** 2).sum())
        missed = sum(1 - iou for iou in self.ious) / max(len(self.ious), 1)
        return self.options.iou_normalizer * missed + self.options.obj_normalizer * rest


def region_delta(
    head: Region, values: np.ndarray, boxes: Sequence[np.ndarray], seen: int
) -> np.ndarray:
    """region_layer.c:187 on (B, H, W, A, 5 + C), x, y, w, h raw and the rest activated."""
    delta = np.zeros_like(values)
    for image, rows in enumerate(boxes):
        class_map = head.class_map or list(range(head.classes))
        kept = [
            [*(float(v) for v in row[:4]), class_map[int(row[4])]]
            for row in rows
            if 0 <= row[4] < len(class_map)
        ]
        _region_image(head, values[image], delta[image], kept, seen)
    return delta


def _region_box(
    head: Region, cell: np.ndarray, n: int, j: int, i: int, size: tuple[int, int]
) -> Box:
    x, y = (1 / (1 + math.exp(-v)) for v in cell[:2])
    return (
        (i + x) / size[0],
        (j + y) / size[1],
        math.exp(cell[2]) * head.anchors[n][0] / size[0],
        math.exp(cell[3]) * head.anchors[n][1] / size[1],
    )


def _region_image(
    head: Region, values: np.ndarray, delta: np.ndarray, rows: list[list[Any]], seen: int
) -> None:
    options, (height, width) = head.loss, values.shape[:2]
    size = (width, height)
    for j in range(height):
        for i in range(width):
            for n, anchor in enumerate(head.anchors):
                cell, d = values[j, i, n], delta[j, i, n]
                pred, best, best_class = _region_box(head, cell, n, j, i, size), 0.0, -1
                for row in rows:
                    iou = box_iou(pred, (row[0], row[1], row[2], row[3]))
                    if iou > best:
                        best, best_class = iou, row[4]
                slope = (1 - cell[4]) * cell[4]
                d[4] = options.noobject_scale * (0 - cell[4]) * slope
                if options.classfix == -1:
                    d[4] = options.noobject_scale * (best - cell[4]) * slope
                elif best > options.thresh:
                    d[4] = 0
                    if options.classfix > 0:
                        scale = options.class_scale * (cell[4] if options.classfix == 2 else 1)
                        _region_classes(head, cell, d, best_class, scale)
                if seen < 12800:
                    prior = (
                        (i + 0.5) / width,
                        (j + 0.5) / height,
                        anchor[0] / width,
                        anchor[1] / height,
                    )
                    _region_coordinates(head, cell, d, n, j, i, size, prior, 0.01)
    for row in rows:
        truth = (row[0], row[1], row[2], row[3])
        i, j = int(row[0] * width), int(row[1] * height)
        best, best_n = 0.0, 0
        for n, anchor in enumerate(head.anchors):
            pred = _region_box(head, values[j, i, n], n, j, i, size)
            if options.bias_match:
                pred = (0, 0, anchor[0] / width, anchor[1] / height)
            iou = box_iou((0, 0, pred[2], pred[3]), (0, 0, row[2], row[3]))
            if iou > best:
                best, best_n = iou, n
        cell, d = values[j, i, best_n], delta[j, i, best_n]
        _region_coordinates(head, cell, d, best_n, j, i, size, truth, options.coord_scale)
        iou = box_iou(_region_box(head, cell, best_n, j, i, size), truth)
        slope = (1 - cell[4]) * cell[4]
        d[4] = options.object_scale * ((iou if options.rescore else 1) - cell[4]) * slope
        _region_classes(head, cell, d, row[4], options.class_scale)


def _region_coordinates(
    head: Region,
    cell: np.ndarray,
    d: np.ndarray,
    n: int,
    j: int,
    i: int,
    size: tuple[int, int],
    truth: Box,
    scale: float,
) -> None:
    x, y = (1 / (1 + math.exp(-v)) for v in cell[:2])
    d[0] = scale * (truth[0] * size[0] - i - x) * (1 - x) * x
    d[1] = scale * (truth[1] * size[1] - j - y) * (1 - y) * y
    d[2] = scale * (math.log(truth[2] * size[0] / head.anchors[n][0]) - cell[2])
    d[3] = scale * (math.log(truth[3] * size[1] / head.anchors[n][1]) - cell[3])


def _region_classes(
    head: Region, cell: np.ndarray, d: np.ndarray, class_id: int, scale: float
) -> None:
    if head.tree is not None:
        groups = [
            list(g)
            for g in np.split(np.arange(head.classes), np.cumsum(head.tree.group_sizes)[:-1])
        ]
        while class_id >= 0:
            for sibling in next(group for group in groups if class_id in group):
                d[5 + sibling] = scale * (0 - cell[5 + sibling])
            d[5 + class_id] = scale * (1 - cell[5 + class_id])
            class_id = head.tree.parents[class_id]
        return
    focal = _focal(cell[5 + class_id]) if head.loss.focal_loss else 1.0
    for n in range(head.classes):
        d[5 + n] = scale * (float(n == class_id) - cell[5 + n]) * focal


def detection_delta(head: Detection, values: np.ndarray, boxes: Sequence[np.ndarray]) -> np.ndarray:
    """detection_layer.c:52 on (B, side^2 * (C + num * 5)); without ``random``."""
    delta, options, side, cells = np.zeros_like(values), head.loss, head.side, head.side**2
    for image, rows in enumerate(boxes):
        out, d = values[image], delta[image]
        first: dict[int, list[float]] = {}
        for row in rows:
            if row[2] >= 0.005 and row[3] >= 0.005:
                first.setdefault(
                    int(row[0] * side) + int(row[1] * side) * side, [float(v) for v in row]
                )
        for place in range(cells):
            for n in range(head.num):
                p = cells * head.classes + place * head.num + n
                d[p] = options.noobject_scale * (0 - out[p])
            if place not in first:
                continue
            x, y, w, h, class_id = first[place]
            x, y = x * side - place % side, y * side - place // side
            for c in range(head.classes):
                d[place * head.classes + c] = options.class_scale * (
                    (c == class_id) - out[place * head.classes + c]
                )
            truth = (x / side, y / side, w, h)
            starts = [
                cells * (head.classes + head.num) + (place * head.num + n) * 4
                for n in range(head.num)
            ]
            best, iou = _detection_best(head, [out[s : s + 4] for s in starts], truth)
            p = cells * head.classes + place * head.num + best
            d[p] = options.object_scale * ((iou if options.rescore else 1) - out[p])
            goal = (x, y, math.sqrt(w), math.sqrt(h)) if head.square_root else (x, y, w, h)
            for k in range(4):
                d[starts[best] + k] = options.coord_scale * (goal[k] - out[starts[best] + k])
    return delta


def _detection_best(
    head: Detection, coordinates: list[np.ndarray], truth: Box
) -> tuple[int, float]:
    best, best_iou, best_rmse, boxes = -1, 0.0, 20.0, []
    for n, c in enumerate(coordinates):
        size = (c[2] ** 2, c[3] ** 2) if head.square_root else (c[2], c[3])
        boxes.append((c[0] / head.side, c[1] / head.side, *size))
        iou = box_iou(boxes[n], truth)
        rmse = math.sqrt(sum((a - b) ** 2 for a, b in zip(boxes[n], truth, strict=True)))
        if best_iou > 0 or iou > 0:
            if iou > best_iou:
                best, best_iou = n, iou
        elif rmse < best_rmse:
            best, best_rmse = n, rmse
    if head.loss.forced:
        best = 1 if truth[2] * truth[3] < 0.1 else 0
    return best, box_iou(boxes[best], truth)
