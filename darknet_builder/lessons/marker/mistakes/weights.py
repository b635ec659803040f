"""The common mistakes of chapter 4."""

from __future__ import annotations

from darknet_builder.lessons.marker.mistakes.mistake import Mistake, one

_TENSORS = "[norm.bias, norm.weight, norm.running_mean, norm.running_var]"
_IF_NORM = '        if block.get("batch_normalize") == "1":\n'
_FACTOR = "torch.sqrt(norm.running_var + 0.00001)"

MISTAKES = (
    Mistake(
        "header-always-16-bytes", 4,
        "From version 0.2 on (major * 10 + minor of 2 or more), the number of images has 8 bytes"
        " and the header 20. With 16, the last 4 bytes of the header are read as the first weight.",
        (
            one("if major * 10 + minor >= 2:", "if major > 1000:"),
            one("struct.unpack_from(\"<q\", data, 12)[0], 20",
                "struct.unpack_from(\"<i\", data, 12)[0], 16"),
            one("struct.unpack_from(\"<q\", data, 12)[0], 20",
                "struct.unpack_from(\"<q\", data, 12)[0], 16"),
        ),
    ),
    Mistake(
        "header-always-20-bytes", 4,
        "Before version 0.2, the number of images has 4 bytes and the header 16. With 20, the first"
        " weight is skipped.",
        (
            one("if major * 10 + minor >= 2:", "if major >= 0:"),
            one("struct.unpack_from(\"<i\", data, 12)[0], 16",
                "struct.unpack_from(\"<i\", data, 12)[0], 20"),
        ),
    ),
    Mistake(
        "header-rule", 4,
        "The rule is major * 10 + minor >= 2. Version 1.0 has the long header although its minor"
        " number is 0.",
        (
            one("if major * 10 + minor >= 2:", "if minor >= 2:"),
            one("if major * 10 + minor >= 2:", "if major + minor >= 2:"),
        ),
    ),
    Mistake(
        "seen-as-int32", 4,
        "In the long header, the number of images is one int64 of 8 bytes, not an int32.",
        (
            one("struct.unpack_from(\"<q\", data, 12)[0], 20",
                "struct.unpack_from(\"<i\", data, 12)[0], 20"),
            one("struct.unpack_from(\"<q\", data, 12)[0], 20",
                "struct.unpack_from(\"<I\", data, 12)[0], 20"),
        ),
    ),
    Mistake(
        "header-skipped-as-20", 4,
        "The weights begin where read_header says, not always at byte 20: a file of version 0.1 has"
        " a header of 16 bytes.",
        (one("    start = read_header(data)[-1]\n", "    start = 20\n"),),
    ),
    Mistake(
        "header-skipped-as-16", 4,
        "The weights begin where read_header says, not always at byte 16: from version 0.2 on, the"
        " header has 20 bytes.",
        (one("    start = read_header(data)[-1]\n", "    start = 16\n"),),
    ),
    Mistake(
        "header-read-as-weights", 4,
        "The header was loaded as weights. Skip it.",
        (one("    start = read_header(data)[-1]\n", "    start = 0\n"),),
    ),
    Mistake(
        "bias-and-scale-exchanged", 4,
        "In the file, the biases of a batch norm come first and its scales second.",
        (one(_TENSORS, "[norm.weight, norm.bias, norm.running_mean, norm.running_var]"),),
    ),
    Mistake(
        "mean-and-variance-exchanged", 4,
        "In the file, the running means come before the running variances.",
        (one(_TENSORS, "[norm.bias, norm.weight, norm.running_var, norm.running_mean]"),),
    ),
    Mistake(
        "weights-before-norm", 4,
        "In the file, the numbers of the batch norm come before the weights of the convolution.",
        (
            one("        tensors += [conv.weight]\n",
                "        tensors = [conv.weight, *tensors]\n"),
        ),
    ),
    Mistake(
        "biases-before-weights", 4,
        "Without batch norm too, the biases come before the weights.",
        (
            one("        tensors += [conv.weight]\n",
                "        tensors = [*tensors, conv.weight] if len(tensors) > 1 else"
                " [conv.weight, *tensors]\n"),
        ),
    ),
    Mistake(
        "biases-not-loaded", 4,
        "A convolution without batch norm has biases in the file too, before its weights.",
        (one("            tensors += [conv.bias]\n", "            tensors += []\n"),),
    ),
    Mistake(
        "norm-by-position", 4,
        "A convolution without batch norm has none in its module either. Look for it only if the"
        " section has batch_normalize=1.",
        (one(_IF_NORM + "            norm = module[1]\n",
             "        norm = module[1]\n" + _IF_NORM),),
    ),
    Mistake(
        "weights-transposed", 4,
        "The weights are in PyTorch's order: (filters, channels, height, width). Do not transpose"
        " them.",
        (
            one("tensor.copy_(part.view(tensor.shape))",
                "tensor.copy_(part.view(tensor.shape) if tensor.dim() == 1 else"
                " part.view(*tensor.shape[2:], tensor.shape[1], -1).permute(3, 2, 0, 1))"),
            one("tensor.copy_(part.view(tensor.shape))",
                "tensor.copy_(part.view(tensor.shape) if tensor.dim() == 1 else"
                " part.view(tensor.shape[1], -1, *tensor.shape[2:]).transpose(0, 1))"),
            one("tensor.copy_(part.view(tensor.shape))",
                "tensor.copy_(part.view(tensor.shape) if tensor.dim() == 1 else"
                " part.view(tensor.shape).transpose(2, 3))"),
        ),
    ),
    Mistake(
        "position-not-moved", 4,
        "After each tensor, go on by its number of values; here several tensors got the same"
        " numbers.",
        (
            one("            position += tensor.numel()\n", "        position += tensor.numel()\n"),
            one("            position += tensor.numel()\n",
                "            position += tensor.numel() if tensor.dim() > 1 else 0\n"),
        ),
    ),
    Mistake(
        "epsilon-outside-the-root", 4,
        "The epsilon belongs inside the root: sqrt(variance + 0.00001). Outside it matters where"
        " the variance is small.",
        (
            one(_FACTOR, "(torch.sqrt(norm.running_var) + 0.00001)"),
            one(_FACTOR, "(torch.sqrt(norm.running_var) + 0.000001)"),
        ),
    ),
    Mistake(
        "epsilon-left-out", 4,
        "The epsilon is missing: the factor is scale / sqrt(variance + 0.00001).",
        (one(_FACTOR, "torch.sqrt(norm.running_var)"),),
    ),
    Mistake(
        "epsilon-value", 4,
        "Darknet's epsilon is 0.00001.",
        (
            one(_FACTOR, "torch.sqrt(norm.running_var + 0.000001)"),
            one(_FACTOR, "torch.sqrt(norm.running_var + 0.001)"),
        ),
    ),
    Mistake(
        "variance-without-root", 4,
        "Batch norm divides by the standard deviation, which is the root of the variance.",
        (one(_FACTOR, "(norm.running_var + 0.00001)"),),
    ),
    Mistake(
        "mean-not-scaled", 4,
        "The mean is subtracted before the scaling, so the bias is bias - mean * factor.",
        (
            one("norm.bias - norm.running_mean * factor", "norm.bias - norm.running_mean"),
            one("norm.bias - norm.running_mean * factor", "norm.bias"),
            one("norm.bias - norm.running_mean * factor",
                "(norm.bias - norm.running_mean) * factor"),
            one("norm.bias - norm.running_mean * factor", "norm.bias + norm.running_mean * factor"),
        ),
    ),
    Mistake(
        "eval-forgotten", 4,
        "The modules are in training mode, so batch norm uses the mean and variance of the current"
        " image. Call modules.eval().",
        (one("return blocks, modules.eval()", "return blocks, modules"),),
    ),
    Mistake(
        "weights-not-loaded", 4,
        "The network has random weights: load_network must call load_weights.",
        (one("    load_weights(blocks, modules, data)\n", ""),),
    ),
)  # fmt: skip
