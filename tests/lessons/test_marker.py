"""The marker: right code is right, and each planted mistake is named.

The mistakes are planted in ``tests/helpers/another_yolo.py``, a solution in another style than the
package's, from which the marker computes what a mistake gives.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from darknet_builder.lessons.marker.judge import Verdict, judge, probes_of
from darknet_builder.lessons.marker.mistakes.catalogue import mistakes_until
from darknet_builder.lessons.marker.recorded import load_recorded, make_code, solution
from darknet_builder.lessons.marker.report import write_report
from darknet_builder.lessons.scratch.chapters import CHAPTERS
from darknet_builder.lessons.scratch.stubs import whole_solution

ROOT = Path(__file__).parents[2]
ANOTHER = (ROOT / "tests" / "helpers" / "another_yolo.py").read_text()

PLANTED: list[tuple[int, str, str, str, str]] = [
    (1, "last-section-lost", "    blocks.append(current)\n    return", "    return", "after the loop"),
    (1, "semicolon-comments-kept", ' or line.startswith(";")', "", "begin with ;"),
    (1, "split-at-every-equals", '.split("=", 1)', '.split("=")', "only at the first"),
    (1, "inner-spaces-kept", "line = raw.replace(\" \", \"\").replace(\"\\t\", \"\")",
     'line = "=".join(part.strip() for part in raw.split("=", 1))', "inside a value"),
    (2, "relative-off-by-one", "else index + int(n)", "else index - 1 + int(n)", "-1 is the layer"),
    (2, "absolute-taken-as-relative", "int(n) if int(n) >= 0 else index + int(n)",
     "index + int(n)", "already the index"),
    (2, "zero-padded-pool", "value=-1e30", "value=0", "padded with zeros"),
    (2, "pool-padded-on-both-sides", "[first, second, first, second]",
     "[second, first, second, first]", "nothing left and above"),
    (2, "pool-padded-at-stride-1-only", "        x = F.pad(x, [first, second, first, second]",
     "        if self.stride == 1:\n            x = F.pad(x, [first, second, first, second]",
     "not only at stride 1"),
    (2, "pool-padded-by-one", "[first, second, first, second]", "[0, 1, 0, 1]",
     "depends on its size"),
    (2, "leaky-slope-0.01", "0.1 * x", "0.01 * x", "slope of Darknet's leaky is 0.1"),
    (2, "pad-taken-literally", "k // 2 if int(block.get(\"pad\", 0)) else 0",
     "int(block.get(\"pad\", 0))", "half of the size"),
    (2, "batch-norm-epsilon", "nn.BatchNorm2d(out)", "nn.BatchNorm2d(out, eps=1e-3)", "0.00001"),
    (2, "bias-beside-batch-norm", "bias=not bn", "bias=True", "bias=False"),
    (2, "upsample-bilinear", "return x.repeat_interleave(self.stride, 2)"
     ".repeat_interleave(self.stride, 3)",
     "return F.interpolate(x, scale_factor=self.stride, mode='bilinear')", "repeats every value"),
    (2, "plain-list", "return nn.ModuleList(layers)", "return layers", "plain list"),
    (2, "channels-of-groups", "widths[s] // g", "widths[s]", "divide the sum by groups"),
    (3, "groups-after-concatenation",
     "            c = outputs[s].shape[1] // g\n"
     "            chosen.append(outputs[s][:, c * i : c * (i + 1)])\n"
     "        return torch.cat(chosen, 1)\n",
     "            chosen.append(outputs[s])\n        whole = torch.cat(chosen, 1)\n"
     "        c = whole.shape[1] // g\n        return whole[:, c * i : c * (i + 1)]\n",
     "take the part of each source first"),
    (3, "group-id-ignored", "[:, c * i : c * (i + 1)]", "[:, :c]", "second half"),
    (3, "shortcut-in-place", "return other + x", "x += other\n        return x", "new tensor"),
    (3, "shortcut-without-previous", "return other + x", "return other", "sum of two outputs"),
    (3, "image-in-outputs", "    outputs = []\n    for i, block in enumerate(blocks[1:]):\n"
     "        x = outputs[-1] if i else image\n",
     "    outputs = [image]\n    for i, block in enumerate(blocks[1:]):\n"
     "        x = outputs[-1]\n", "begins with the image"),
    (4, "header-always-16-bytes", "if major * 10 + minor >= 2:", "if False:", "8 bytes"),
    (4, "header-always-20-bytes", "if major * 10 + minor >= 2:", "if True:", "16"),
    (4, "seen-as-int32", 'np.frombuffer(data, "<i8", 1, 12)', 'np.frombuffer(data, "<i4", 1, 12)',
     "int64"),
    (4, "header-skipped-as-20", "at = start = read_header(data)[4]", "at = start = 20",
     "not always at byte 20"),
    (4, "bias-and-scale-exchanged", "take(module.bn.bias)\n                take(module.bn.weight)",
     "take(module.bn.weight)\n                take(module.bn.bias)", "biases of a batch norm come"),
    (4, "epsilon-outside-the-root", "math.sqrt(float(norm.running_var[f]) + 1e-5)",
     "(math.sqrt(float(norm.running_var[f])) + 1e-5)", "inside the root"),
    (4, "norm-by-position", "if module.bn is not None:\n                take",
     "if True:\n                take", "only if the section has batch_normalize=1"),
    (4, "eval-forgotten", "    for module in modules:\n        module.eval()\n", "",
     "modules.eval()"),
    (5, "x-and-y-exchanged", "(c + sx) / columns, (r + sy) / rows",
     "(r + sx) / rows, (c + sy) / columns", "x counts columns"),
    (5, "scale-x-y-ignored", "scale_x_y * (sigmoid(v) - 0.5) + 0.5", "sigmoid(v)", "scale_x_y"),
    (5, "anchors-in-cells", "aw / width, np.exp(t[3]) * ah / height",
     "aw / columns, np.exp(t[3]) * ah / rows", "pixels of the network's input"),
    (5, "softmax-for-classes", "*sigmoid(t[4:])",
     "sigmoid(t[4]), *(np.exp(t[5:]) / np.exp(t[5:]).sum())", "own sigmoid"),
    (5, "mask-ignored", 'for m in numbers(block["mask"])]\n\n\ndef decode_all',
     'for m in range(len(numbers(block["mask"])))]\n\n\ndef decode_all', "mask= lists"),
    (6, "bgr-kept", "cv2.cvtColor(image, cv2.COLOR_BGR2RGB)", "image", "Reverse the channels"),
    (6, "not-divided-by-255", ".astype(np.float32) / 255", ".astype(np.float32)", "divide by 255"),
    (6, "align-corners", "align_corners=True", "align_corners=False", "corner pixels"),
    (6, "align-corners", '    small = F.interpolate(planes, size=[new_h, new_w], mode="bilinear",'
     " align_corners=True)\n",
     "    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), (new_w, new_h)) / 255\n"
     "    small = torch.tensor(small.transpose(2, 0, 1)[None], dtype=torch.float32)\n",
     "cv2.resize"),
    (6, "size-from-scale", "    if width / columns < height / rows:\n",
     "    s = min(width / columns, height / rows)\n    return int(columns * s), int(rows * s)\n"
     "    if width / columns < height / rows:\n", "whole numbers"),
    (6, "bars-rounded", "x = (x - (width - new_w) / 2 / width) * width / new_w * columns\n"
     "        y = (y - (height - new_h) / 2 / height) * height",
     "x = (x - (width - new_w) // 2 / width) * width / new_w * columns\n"
     "        y = (y - (height - new_h) // 2 / height) * height", "not rounded here"),
    (6, "detect-ignores-its-arguments", "scores = nms(table[:, :4], torch.where(scores > threshold,"
     " scores, 0.0), overlap)", "scores = nms(table[:, :4], torch.where(scores > threshold,"
     " scores, 0.0), 0.45)", "arguments threshold and overlap"),
    (6, "drawn-at-floats", "(int(x1), int(y1)), (int(x2), int(y2))", "(x1, y1), (x2, y2)",
     "whole numbers only"),
    (6, "letterbox-offsets-missing",
     "x = (x - (width - new_w) / 2 / width) * width / new_w * columns\n"
     "        y = (y - (height - new_h) / 2 / height) * height / new_h * rows",
     "x = x * width / new_w * columns\n        y = y * height / new_h * rows", "bars are still"),
    (6, "negative-sides", "        if dx <= 0 or dy <= 0:\n            result.append(0.0)\n"
     "            continue\n", "", "product is positive"),
    (6, "suppressed-boxes-suppress", "                    alive.remove(i)\n", "",
     "must not suppress others"),
    (7, "delta-sign", "return delta.view(raw.shape)", "return -delta.view(raw.shape)", "sign"),
    (7, "best-anchor-of-mask", "best = best_anchor(anchors, w * width, h * height)",
     "best = mask[best_anchor([anchors[m] for m in mask], w * width, h * height)]",
     "among all anchors"),
    (7, "nothing-ignored", "            delta[a, 4, r, c] = 0\n", "            pass\n", "is 0"),
    (7, "second-object-overwrites", "            for i in range(4):\n",
     "            d[:2] = 0\n            for i in range(4):\n", "are added up"),
    (7, "zero-grad-forgotten", "    optimizer.zero_grad()\n", "", "zero_grad"),
]  # fmt: skip
"""Chapter, name of the mistake, text of the other solution, the mistake, words of the advice."""


@functools.cache
def judged(source: str, chapter: int) -> Verdict:
    return judge(make_code(source, "reader"), chapter, "<reader>")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_right_code_is_right(chapter: int) -> None:
    """The solution, and one in another style; no mistake is named."""
    for verdict in (judge(solution(), chapter, ""), judged(ANOTHER, chapter)):
        assert verdict.is_right, write_report(verdict)
        assert verdict.mistakes == [] and "right (" in write_report(verdict)


@pytest.mark.parametrize(
    ("chapter", "name", "old", "new", "words"), PLANTED, ids=[row[1] for row in PLANTED]
)
def test_a_planted_mistake_is_named(
    chapter: int, name: str, old: str, new: str, words: str
) -> None:
    assert ANOTHER.count(old) == 1
    verdict = judged(ANOTHER.replace(old, new), chapter)
    text = write_report(verdict)
    assert [mistake.name for mistake in verdict.mistakes] == [name], text
    assert words in " ".join(text.split()) and f"cause: {name}" in text
    assert "first difference: " in text


def test_at_least_twenty_are_planted() -> None:
    assert len({row[1] for row in PLANTED}) >= 20
    assert {row[1] for row in PLANTED} <= {mistake.name for mistake in mistakes_until(7)}


def test_every_mistake_applies_and_has_its_own_name() -> None:
    """Each is a change of the solution that still is Python."""
    every = mistakes_until(7)
    assert len({mistake.name for mistake in every}) == len(every)
    for mistake in every:
        assert len(mistake.codes()) == len(mistake.variants) > 0


def test_every_mistake_of_a_chapter_is_found_in_the_solution() -> None:
    """Each gives a wrong result, which is explained by this mistake alone."""
    for mistake in mistakes_until(1):
        for code in mistake.codes():
            assert [found.name for found in judge(code, 1, "").mistakes] == [mistake.name]


def test_another_error_at_the_same_check_is_a_possible_cause() -> None:
    source = ANOTHER.replace("at = start = read_header(data)[4]", "at = start = 20")
    verdict = judged(source, 4)
    assert verdict.are_possible and "possible cause: header-skipped-as-20" in write_report(verdict)


def test_two_mistakes_at_one_place_are_named_together() -> None:
    source = ANOTHER.replace("aw / width, np.exp(t[3]) * ah / height", "aw, np.exp(t[3]) * ah")
    source = source.replace("scale_x_y * (sigmoid(v) - 0.5) + 0.5", "v")
    verdict = judged(source, 5)
    names = {mistake.name for mistake in verdict.mistakes}
    assert names == {"no-sigmoid-on-xy", "anchors-not-divided"} and verdict.are_combined
    assert "two mistakes together" in write_report(verdict)


def test_a_list_of_tensors_is_shown_by_its_shapes() -> None:
    text = write_report(
        judged(whole_solution().replace("= []\n    x = image", "= [image]\n    x = image"), 3)
    )
    assert "yours has 22 items, expected 21\n" in text and "tensor(" not in text
    assert "  yours:    shapes (1, 3, 24, 32), (1, 8, 12, 16), (1, 8, 6, 8), ...\n" in text


def test_an_unknown_difference_gets_no_false_name() -> None:
    source = ANOTHER.replace("x = torch.where(x > 0, x, 0.1 * x)", "x = torch.tanh(x)")
    text = write_report(judged(source, 2))
    assert "none of the common mistakes" in text


def test_numbers_of_the_recording() -> None:
    """The marker's truth is Darknet's, not the solution's: it does not change with the solution."""
    arrays = load_recorded().arrays
    assert {name for name in arrays if name.startswith("delta/")} == {"delta/13", "delta/20"}
    outputs = [arrays[f"output/{index}"] for index in range(21)]
    assert sum(len(output) for output in outputs) == 11400
    assert float(arrays["cost/13"]) == pytest.approx(69.81187)
    assert float(arrays["delta/13"].square().sum()) == pytest.approx(69.81187, rel=1e-5)
    assert np.isclose(float(arrays["letterbox"][0, 0, 0]), 0.5)


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (2, 1), (3, 1), (3, 2)])
def test_pools_are_those_of_the_package(size: int, stride: int) -> None:
    """The marker's checks on odd maps come from the solution, so it must pool as Darknet does."""
    from darknet_builder import build_network

    pool = f"[maxpool]\nsize={size}\nstride={stride}\n"
    network = build_network(f"[net]\nwidth=7\nheight=5\nchannels=2\n{pool}")
    x = -torch.rand(1, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    block = {"type": "maxpool", "size": str(size), "stride": str(stride)}
    found = solution().make_layer(block, 2)(x)
    # Darknet: (in + padding - size) / stride + 1 with padding = size - 1 (maxpool_layer.c)
    assert found.shape[2:] == ((5 - 1) // stride + 1, (7 - 1) // stride + 1)
    assert torch.equal(found, network.layers[0](x))


def test_what_is_right_so_far_is_said() -> None:
    text = write_report(judged(ANOTHER.replace("value=-1e30", "value=0"), 2))
    page = (ROOT / "docs" / "yolo-from-scratch.md").read_text()
    assert text.partition("also not yet right")[0] in page


def test_checks_have_titles_of_functions() -> None:
    for chapter in CHAPTERS:
        titles = [probe.title for probe in probes_of(chapter)]
        assert len(set(titles)) == len(titles)
        assert all(hasattr(solution(), probe.function) for probe in probes_of(chapter))


def test_training_is_that_of_the_package() -> None:
    """The gradient of the solution's delta is that of the package's loss."""
    from darknet_builder import Targets, build_network, load_weights, loss_inputs, network_loss
    from darknet_builder.support.bundled import bundled_file

    recorded, code = load_recorded(), solution()
    network = build_network(bundled_file("lesson", "scratch.cfg"))
    load_weights(network, bundled_file("lesson", "scratch.weights"))
    network.train()
    targets = Targets.of_boxes([recorded.arrays["truth"]])
    report = network_loss(network, loss_inputs(network, recorded.image), targets, seen=0)
    report.total.backward()

    blocks, modules = code.load_network(recorded.cfg, recorded.weights)
    optimizer = torch.optim.SGD(modules.parameters(), lr=0.0)
    cost = code.train_step(blocks, modules, optimizer, recorded.image, recorded.arrays["truth"])
    # Darknet reports the mean of its heads.
    assert cost / 2 == pytest.approx(float(report.cost), rel=1e-4)
    for index in (0, 9, 19):
        ours = network.layers[index].conv.weight.grad
        theirs = modules[index][0].weight.grad
        assert float((ours - theirs).norm()) <= 1e-3 * float(ours.norm())
