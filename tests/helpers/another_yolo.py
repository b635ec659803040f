"""A reader's solution of YOLO from scratch, written in another style than the package's.

Loops and NumPy in place of whole-tensor operations, a class for the pool, other helpers: what is
found in it is found in a reader's own code.
"""

from __future__ import annotations

import math
import struct

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def numbers(text):
    result = []
    for word in text.split(","):
        result.append(float(word.strip()))
    return result


def parse_cfg(text):
    blocks, current = [], None
    for raw in text.split("\n"):
        line = raw.replace(" ", "").replace("\t", "")
        if len(line) == 0:
            continue
        if line.startswith("#") or line.startswith(";"):
            continue
        if line.startswith("["):
            if current is not None:
                blocks.append(current)
            current = {"type": line[1 : line.index("]")]}
        else:
            name, value = line.split("=", 1)
            current[name] = value
    blocks.append(current)
    return blocks


def source_layers(block, index):
    words = block.get("layers", block.get("from"))
    return [int(n) if int(n) >= 0 else index + int(n) for n in numbers(words)]


class Pool(nn.Module):
    def __init__(self, size, stride):
        super().__init__()
        self.size, self.stride = size, stride

    def forward(self, x):
        first = (self.size - 1) // 2
        second = self.size - 1 - first
        x = F.pad(x, [first, second, first, second], value=-1e30)
        return F.max_pool2d(x, self.size, self.stride)


class Conv(nn.Module):
    def __init__(self, block, cin):
        super().__init__()
        k, out = int(block["size"]), int(block["filters"])
        self.bn = None
        bn = int(block.get("batch_normalize", 0))
        pad = k // 2 if int(block.get("pad", 0)) else 0
        self.conv = nn.Conv2d(cin, out, k, int(block["stride"]), pad, bias=not bn)
        if bn:
            self.bn = nn.BatchNorm2d(out)
        self.leaky = block["activation"] == "leaky"

    def forward(self, x):
        x = self.conv(x)
        if self.bn is not None:
            x = self.bn(x)
        if self.leaky:
            x = torch.where(x > 0, x, 0.1 * x)
        return x


class Up(nn.Module):
    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        return x.repeat_interleave(self.stride, 2).repeat_interleave(self.stride, 3)


class Nothing(nn.Module):
    pass


def make_layer(block, in_channels):
    kinds = {
        "convolutional": lambda: Conv(block, in_channels),
        "maxpool": lambda: Pool(int(block["size"]), int(block["stride"])),
        "upsample": lambda: Up(int(block["stride"])),
        "route": Nothing,
        "shortcut": Nothing,
        "yolo": Nothing,
    }
    if block["type"] not in kinds:
        raise ValueError(block["type"])
    return kinds[block["type"]]()


def make_modules(blocks):
    layers, widths = [], []
    for i, block in enumerate(blocks[1:]):
        before = widths[-1] if widths else int(blocks[0]["channels"])
        layers.append(make_layer(block, before))
        if block["type"] == "convolutional":
            widths.append(int(block["filters"]))
        elif block["type"] == "route":
            g = int(block.get("groups", 1))
            widths.append(sum(widths[s] // g for s in source_layers(block, i)))
        else:
            widths.append(before)
    return nn.ModuleList(layers)


def run_layer(block, module, x, outputs):
    if block["type"] == "yolo":
        return x
    if block["type"] == "shortcut":
        other = outputs[source_layers(block, len(outputs))[0]]
        return other + x
    if block["type"] == "route":
        g, i = int(block.get("groups", 1)), int(block.get("group_id", 0))
        chosen = []
        for s in source_layers(block, len(outputs)):
            c = outputs[s].shape[1] // g
            chosen.append(outputs[s][:, c * i : c * (i + 1)])
        return torch.cat(chosen, 1)
    return module(x)


def forward(blocks, modules, image):
    outputs = []
    for i, block in enumerate(blocks[1:]):
        x = outputs[-1] if i else image
        outputs.append(run_layer(block, modules[i], x, outputs))
    return outputs


def read_header(data):
    major, minor, revision = np.frombuffer(data, "<i4", 3)
    if major * 10 + minor >= 2:
        return int(major), int(minor), int(revision), int(np.frombuffer(data, "<i8", 1, 12)[0]), 20
    return int(major), int(minor), int(revision), int(np.frombuffer(data, "<i4", 1, 12)[0]), 16


def load_weights(blocks, modules, data):
    at = start = read_header(data)[4]

    def take(tensor):
        nonlocal at
        n = tensor.numel()
        floats = struct.unpack_from(f"<{n}f", data, at)
        tensor.data.copy_(torch.tensor(floats).reshape(tensor.shape))
        at += 4 * n

    for module in modules:
        if isinstance(module, Conv):
            if module.bn is not None:
                take(module.bn.bias)
                take(module.bn.weight)
                take(module.bn.running_mean)
                take(module.bn.running_var)
            else:
                take(module.conv.bias)
            take(module.conv.weight)
    return (at - start) // 4


def fold_batch_norm(conv, norm):
    weight, bias = conv.weight.detach().clone(), torch.zeros(conv.out_channels)
    for f in range(conv.out_channels):
        root = math.sqrt(float(norm.running_var[f]) + 1e-5)
        weight[f] *= norm.weight[f].item() / root
        bias[f] = norm.bias[f] - norm.weight[f] * norm.running_mean[f] / root
    return weight, bias


def load_network(cfg_text, data):
    blocks = parse_cfg(cfg_text)
    modules = make_modules(blocks)
    load_weights(blocks, modules, data)
    for module in modules:
        module.eval()
    return blocks, modules


def sigmoid(t):
    return 1 / (1 + np.exp(-t))


def decode(raw, anchors, classes, width, height, scale_x_y=1.0):
    raw = raw.detach().numpy()[0]
    rows, columns = raw.shape[1:]
    boxes = []
    for a, (aw, ah) in enumerate(anchors):
        first = a * (5 + classes)
        for r in range(rows):
            for c in range(columns):
                t = raw[first : first + 5 + classes, r, c]
                sx, sy = [scale_x_y * (sigmoid(v) - 0.5) + 0.5 for v in t[:2]]
                x, y = (c + sx) / columns, (r + sy) / rows
                w, h = np.exp(t[2]) * aw / width, np.exp(t[3]) * ah / height
                boxes.append([x, y, w, h, *sigmoid(t[4:])])
    return torch.tensor(np.array(boxes, np.float32))


def head_anchors(block):
    values = numbers(block["anchors"])
    return [(values[2 * int(m)], values[2 * int(m) + 1]) for m in numbers(block["mask"])]


def decode_all(blocks, outputs):
    tables = []
    for i, block in enumerate(blocks[1:]):
        if block["type"] == "yolo":
            tables.append(
                decode(
                    outputs[i],
                    head_anchors(block),
                    int(block["classes"]),
                    int(blocks[0]["width"]),
                    int(blocks[0]["height"]),
                    float(block.get("scale_x_y", 1)),
                )
            )
    return torch.cat(tables)


def fitted_size(columns, rows, width, height):
    if width / columns < height / rows:
        return width, rows * width // columns
    return columns * height // rows, height


def letterbox(image, width, height):
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.float32) / 255
    new_w, new_h = fitted_size(image.shape[1], image.shape[0], width, height)
    planes = torch.tensor(rgb.transpose(2, 0, 1))[None]
    small = F.interpolate(planes, size=[new_h, new_w], mode="bilinear", align_corners=True)
    dx, dy = (width - new_w) // 2, (height - new_h) // 2
    return F.pad(small, [dx, width - new_w - dx, dy, height - new_h - dy], value=0.5)


def to_picture(boxes, columns, rows, width, height):
    new_w, new_h = fitted_size(columns, rows, width, height)
    result = []
    for x, y, w, h in boxes.tolist():
        x = (x - (width - new_w) / 2 / width) * width / new_w * columns
        y = (y - (height - new_h) / 2 / height) * height / new_h * rows
        w, h = w * width / new_w * columns, h * height / new_h * rows
        result.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    return torch.tensor(result)


def iou(box, boxes):
    x, y, w, h = (float(v) for v in box)
    result = []
    for bx, by, bw, bh in boxes.tolist():
        dx = min(x + w / 2, bx + bw / 2) - max(x - w / 2, bx - bw / 2)
        dy = min(y + h / 2, by + bh / 2) - max(y - h / 2, by - bh / 2)
        if dx <= 0 or dy <= 0:
            result.append(0.0)
            continue
        inter = dx * dy
        result.append(inter / (w * h + bw * bh - inter))
    return torch.tensor(result)


def nms(boxes, scores, threshold):
    out = scores.clone()
    for k in range(scores.shape[1]):
        alive = [i for i in range(len(boxes)) if scores[i, k] > 0]
        alive.sort(key=lambda i: -float(scores[i, k]))
        while alive:
            best = alive.pop(0)
            overlaps = iou(boxes[best], boxes)
            for i in list(alive):
                if overlaps[i] > threshold:
                    out[i, k] = 0
                    alive.remove(i)
    return out


def detect(blocks, modules, image, threshold=0.25, overlap=0.45):
    width, height = int(blocks[0]["width"]), int(blocks[0]["height"])
    with torch.no_grad():
        table = decode_all(blocks, forward(blocks, modules, letterbox(image, width, height)))
    table = table[table[:, 4] > threshold]
    scores = table[:, 5:] * table[:, 4:5]
    scores = nms(table[:, :4], torch.where(scores > threshold, scores, 0.0), overlap)
    corners = to_picture(table[:, :4], image.shape[1], image.shape[0], width, height)
    found = []
    for i in range(len(table)):
        for k in range(scores.shape[1]):
            if scores[i, k] > 0:
                found.append((k, float(scores[i, k]), *corners[i].tolist()))
    found.sort(key=lambda one: one[1], reverse=True)
    return found


def draw(image, found, names):
    image = image.copy()
    for k, _, x1, y1, x2, y2 in found:
        cv2.rectangle(image, (int(x1), int(y1)), (int(x2), int(y2)), (0, 0, 255), 2)
        cv2.putText(image, names[k], (int(x1), int(y1)), cv2.FONT_HERSHEY_PLAIN, 1, (0, 0, 255))
    return image


def best_anchor(anchors, w, h):
    overlaps = []
    for aw, ah in anchors:
        inter = min(w, aw) * min(h, ah)
        overlaps.append(inter / (w * h + aw * ah - inter))
    return overlaps.index(max(overlaps))


def yolo_delta(raw, truth, block, width, height):
    values = numbers(block["anchors"])
    anchors = list(zip(values[::2], values[1::2], strict=True))
    mask = [int(m) for m in numbers(block["mask"])]
    classes, s = int(block["classes"]), float(block.get("scale_x_y", 1))
    table = decode(raw, [anchors[m] for m in mask], classes, width, height, s)
    rows, columns = raw.shape[2:]
    out = raw.detach()[0].view(len(mask), -1, rows, columns).clone()
    for a in range(len(mask)):
        out[a, :2] = s * torch.sigmoid(out[a, :2]) - 0.5 * (s - 1)
        out[a, 4:] = torch.sigmoid(out[a, 4:])
    delta = torch.zeros_like(out)
    overlaps = [iou(t[:4], table[:, :4]) for t in truth]
    for n in range(len(table)):
        a, r, c = n // (rows * columns), n // columns % rows, n % columns
        delta[a, 4, r, c] = -out[a, 4, r, c]
        sure = bool((table[n, 5:] > 0.25).any())
        if sure and any(o[n] > float(block["ignore_thresh"]) for o in overlaps):
            delta[a, 4, r, c] = 0
    for x, y, w, h, k in truth.tolist():
        best = best_anchor(anchors, w * width, h * height)
        if best in mask:
            a, r, c = mask.index(best), int(y * rows), int(x * columns)
            d, o = delta[a, :, r, c], out[a, :, r, c]
            aw, ah = anchors[best]
            goal = [x * columns - c, y * rows - r]
            goal += [math.log(w * width / aw), math.log(h * height / ah)]
            for i in range(4):
                d[i] += (2 - w * h) * (goal[i] - o[i])
            d[4] = 1 - o[4]
            for i in range(classes):
                if i == int(k):
                    continue
                if not d[5 + int(k)]:
                    d[5 + i] = -o[5 + i]
            d[5 + int(k)] = 1 - o[5 + int(k)]
    return delta.view(raw.shape)


def train_step(blocks, modules, optimizer, image, truth):
    for module in modules:
        module.train()
    optimizer.zero_grad()
    outputs = forward(blocks, modules, image)
    loss, cost = 0, 0.0
    for block, output in zip(blocks[1:], outputs, strict=True):
        if block["type"] == "yolo":
            width, height = int(blocks[0]["width"]), int(blocks[0]["height"])
            delta = yolo_delta(output, truth, block, width, height)
            loss = loss - (delta * output).sum()
            cost += float((delta**2).sum())
    loss.backward()
    optimizer.step()
    return cost
