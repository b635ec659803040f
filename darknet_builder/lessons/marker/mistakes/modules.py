"""The common mistakes of chapter 2."""

from __future__ import annotations

from darknet_builder.lessons.marker.mistakes.mistake import Mistake, one

_RELATIVE = "            source = index + source\n"
_PAD_BEFORE = "        before = (size - 1) // 2\n"
_POOL = "nn.Sequential(pad, nn.MaxPool2d(size, stride))"
_PADDING = '    padding = size // 2 if block.get("pad") == "1" else 0\n'

MISTAKES = (
    Mistake(
        "negative-index-kept", 2,
        "A negative number counts back from the layer itself, and must become the index of a layer:"
        " index + number. At layer 17, -1 is layer 16.",
        (one(_RELATIVE, "            source = source\n"),),
    ),
    Mistake(
        "absolute-taken-as-relative", 2,
        "A number of 0 or more is already the index of a layer; only negative numbers count back"
        " from the layer itself.",
        (
            one("        if source < 0:\n", "        if source != index:\n"),
            one("        if source < 0:\n", "        if source > 0:\n"),
        ),
    ),
    Mistake(
        "relative-off-by-one", 2,
        "A negative number counts back from the route or shortcut itself: -1 is the layer before"
        " it. It does not count from the layer before, and [net] is not counted.",
        (
            one(_RELATIVE, "            source = index + source - 1\n"),
            one(_RELATIVE, "            source = index + source + 1\n"),
        ),
    ),
    Mistake(
        "pad-taken-literally", 2,
        "pad=1 does not mean a padding of 1. It means: half of the size, rounded down. A"
        " convolution of size 1 gets none.",
        (one(_PADDING, '    padding = int(block.get("pad", "0"))\n'),),
    ),
    Mistake(
        "no-padding", 2,
        "The convolution has no padding, so its output is smaller. With pad=1, the padding is"
        " size // 2.",
        (one(_PADDING, "    padding = 0\n"),),
    ),
    Mistake(
        "stride-ignored", 2,
        "The stride of the section is not used.",
        (
            one("filters, size, stride, padding, bias", "filters, size, 1, padding, bias"),
            one("nn.MaxPool2d(size, stride)", "nn.MaxPool2d(size, 1)"),
        ),
    ),
    Mistake(
        "bias-beside-batch-norm", 2,
        "A convolution with batch_normalize=1 has no bias of its own (bias=False); the batch norm"
        " has one. Otherwise the weights file has too few numbers.",
        (one("bias=not has_norm", "bias=True"),),
    ),
    Mistake(
        "bias-missing", 2,
        "A convolution without batch norm has a bias.",
        (one("bias=not has_norm", "bias=False"),),
    ),
    Mistake(
        "leaky-slope-0.01", 2,
        "The slope of Darknet's leaky is 0.1. nn.LeakyReLU() has 0.01 unless you give it.",
        (one("nn.LeakyReLU(0.1)", "nn.LeakyReLU(0.01)"),),
    ),
    Mistake(
        "relu-for-leaky", 2,
        "leaky is not ReLU: negative values are multiplied by 0.1, not set to 0.",
        (one("nn.LeakyReLU(0.1)", "nn.ReLU()"),),
    ),
    Mistake(
        "activation-missing", 2,
        "The activation is missing: after the convolution and its batch norm, leaky multiplies"
        " negative values by 0.1.",
        (one('block["activation"] == "leaky"', 'block["activation"] == "none"'),),
    ),
    Mistake(
        "linear-made-leaky", 2,
        "activation=linear means no activation. Only leaky sections get an nn.LeakyReLU.",
        (
            one('block["activation"] == "leaky"', 'block["activation"] != "none"'),
        ),
    ),
    Mistake(
        "activation-before-norm", 2,
        "The order is convolution, batch norm, activation.",
        (one("    return nn.Sequential(*layers)", "    return nn.Sequential(layers[0],"
             " *reversed(layers[1:]))"),),
    ),
    Mistake(
        "batch-norm-epsilon", 2,
        "Batch norm adds 0.00001 to the variance (eps=1e-5). Another epsilon matters where the"
        " variance is small.",
        (
            one("eps=1e-5", "eps=1e-3"),
            one("eps=1e-5", "eps=1e-6"),
            one("eps=1e-5", "eps=1e-4"),
            one("eps=1e-5", "eps=1e-10"),
        ),
    ),
    Mistake(
        "zero-padded-pool", 2,
        "The max pool is padded with zeros. Where all values of a window are negative, a 0 from the"
        " padding wins. Pad with -infinity (or repeat the border), so that the padding never wins.",
        (
            one('float("-inf")', "0.0"),
            one(_PAD_BEFORE, '        if stride == 1:\n            return nn.Sequential('
                'nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(size, 1))\n' + _PAD_BEFORE),
        ),
    ),
    Mistake(
        "pool-not-padded", 2,
        "Darknet adds size - 1 columns and rows to every max pool, here one column right and one"
        " row below. At stride 1 the map then stays as large as it is.",
        (one(_POOL, "nn.MaxPool2d(size, stride)"),),
    ),
    Mistake(
        "pool-padded-at-stride-1-only", 2,
        "Darknet adds size - 1 columns and rows to every max pool, not only at stride 1. At size 2"
        " and stride 2 it shows where the number of rows or columns is odd: 5 become 3.",
        (one(_POOL, _POOL + " if stride == 1 else nn.MaxPool2d(size, stride)"),),
    ),
    Mistake(
        "pool-padded-by-one", 2,
        "The padding of a max pool depends on its size: size - 1 in all, half of it (rounded down)"
        " left and above, the rest right and below. One column right and one row below is right"
        " only for size 2.",
        (one("nn.ConstantPad2d((before, after, before, after)", "nn.ConstantPad2d((0, 1, 0, 1)"),),
    ),
    Mistake(
        "pool-padded-on-both-sides", 2,
        "Darknet pads size - 1 in all: for size 2 that is one column right and one row below, and"
        " nothing left and above. MaxPool2d(padding=...) pads both sides.",
        (
            one("(before, after, before, after)", "(after, before, after, before)"),
            one(_POOL, "nn.MaxPool2d(size, stride, size // 2)"),
        ),
    ),
    Mistake(
        "average-for-max", 2,
        "[maxpool] takes the largest value of each window, not the mean.",
        (one("nn.MaxPool2d(size, stride)", "nn.AvgPool2d(size, stride)"),),
    ),
    Mistake(
        "upsample-bilinear", 2,
        "Darknet's upsample repeats every value (mode='nearest'); it does not interpolate.",
        (
            one('mode="nearest"', 'mode="bilinear"'),
            one('mode="nearest"', 'mode="bilinear", align_corners=True'),
        ),
    ),
    Mistake(
        "plain-list", 2,
        "The modules are in a plain list, where PyTorch does not see them: parameters(), to(),"
        " eval() and state_dict() skip them, and an optimiser trains nothing. Use an"
        " nn.ModuleList.",
        (one("    modules = nn.ModuleList()\n", "    modules = []\n"),),
    ),
    Mistake(
        "channels-of-groups", 2,
        "A route with groups=2 returns half of its sources' channels, so the next convolution reads"
        " half as many: divide the sum by groups.",
        (one('current = total // int(block.get("groups", "1"))', "current = total"),),
    ),
    Mistake(
        "channels-of-one-source", 2,
        "A route has the channels of all its sources together: add them up.",
        (
            one("current = total //", "current = channels[source_layers(block, index)[0]] //"),
            one("current = total //", "current = channels[source_layers(block, index)[-1]] //"),
        ),
    ),
    Mistake(
        "route-channels-unchanged", 2,
        "After a route, the number of channels is that of its sources. It is not the number of the"
        " layer before.",
        (one("            current = total //", "            current = current or total //"),),
    ),
)  # fmt: skip
