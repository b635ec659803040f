"""Names that other programs use for Darknet's sections, options and values.

``silu`` is two letters from ``selu``, but it is Darknet's ``swish``. Where a name is in this
table, no similar spelling is suggested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from darknet_builder.errors import did_you_mean, nearest

_DARKNETS: dict[str, str] = {
    # activations
    "swish": "silu",
    "leaky": "lrelu leakyrelu leaky_relu",
    "logistic": "sigmoid",
    "linear": "identity none",
    "hardtan": "hardtanh htanh",
    "relu6": "relu_6",
    # sections
    "convolutional": "conv2d convolution conv_2d cbl cbs",
    "upsample": "upsampling interpolate unpool resize",
    "batchnorm": "bn batchnorm2d batch_norm batchnormalization batchnormalisation",
    "maxpool": "maxpool2d max_pool maxpooling pool pooling",
    "avgpool": (
        "avgpool2d gap globalavgpool global_avgpool globalaveragepool adaptiveavgpool averagepool"
    ),
    "connected": "fc dense linear fully_connected fullyconnected innerproduct inner_product",
    "route": "concat concatenate cat",
    "shortcut": "add residual eltwise skip",
    "deconvolutional": (
        "deconvolution convtranspose conv_transpose transposed_convolution transposedconv"
    ),
    "reorg3d": "space_to_depth pixel_unshuffle",
    "activation": "act nonlinearity",
    # options
    "size": "kernel kernel_size ksize",
    "filters": "out_channels output_channels num_filters channels_out",
    "batch_normalize": "bn batch_norm batchnorm batch_normalise",
    "stride": "strides",
    "groups": "group",
    "output": "units out_features outputs",
    "probability": "p rate drop_prob dropout",
    "layers": "inputs sources",
    "classes": "nc num_classes",
    "num": "num_anchors",
    "learning_rate": "lr lr0",
    "decay": "weight_decay",
    "batch": "batch_size batchsize",
    "max_batches": "max_iter max_iterations iterations",
    "burn_in": "warmup warmup_iters burnin",
    "steps": "milestones lr_steps multistep",
    "scales": "lr_scales",
    # values
    "sgdr": "cosine cos",
    "poly": "polynomial",
    "greedynms": "greedy",
    "diounms": "diou",
}
"""Darknet's name -> other programs' names. A word may stand for several things; the names that are
allowed in its place decide between them.
"""
_NOTHING = frozenset(
    [
        "hardswish",
        "hard_swish",
        "hswish",
        "h_swish",
        "hardsigmoid",
        "hard_sigmoid",
        "softplus",
        "softsign",
        "prelu",
        "celu",
        "glu",
        "rrelu",
        "epochs",
    ]
)
"""Things that Darknet does not have, whatever known name is spelt similarly."""


def _invert(names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    inverse: dict[str, tuple[str, ...]] = {}
    for darknets, others in names.items():
        for other in others.split():
            inverse[other] = (*inverse.get(other, ()), darknets)
    return inverse


SYNONYMS = _invert(_DARKNETS)
"""Another program's name, in lower case -> Darknet's names for it."""


def darknets_name(word: str, known: Iterable[str]) -> str | None:
    """Return Darknet's name for another program's word, or None.

    Args:
        word: the word, in any case.
        known: Darknet's names that are allowed in its place.
    """
    candidates = set(known)
    return next((name for name in SYNONYMS.get(word.lower(), ()) if name in candidates), None)


def suggest(word: str, known: Iterable[str]) -> str:
    """Return advice on an unknown word, or an empty string.

    It is ``"; Darknet calls it 'swish'"`` from the table, or ``"; did you mean 'mish'?"`` by
    spelling.

    Args:
        word: the word that Darknet does not know.
        known: the names that are allowed in its place.
    """
    names = list(known)
    darknets = darknets_name(word, names)
    if darknets is not None:
        return f"; Darknet calls it {darknets!r}"
    if word.lower() in _NOTHING:
        # The nearest spelling would be wrong advice: hardswish is not swish.
        return "; Darknet has nothing like it"
    return did_you_mean(word, names)


def meant_for(key: str, words: Iterable[str]) -> str | None:
    """Return the word that is probably meant for one of Darknet's keys, or None.

    It is another program's name for the key, or the most similar spelling.

    Args:
        key: a key that Darknet reads.
        words: the words to choose from.
    """
    candidates = list(words)
    other = next((word for word in candidates if key in SYNONYMS.get(word.lower(), ())), None)
    return other or nearest(key, candidates)
