"""Names that other programs use for Darknet's things: one table, asked before the distance between
spellings.

``silu`` is two letters from ``selu`` and is Darknet's ``swish``: where a name is known, no guess is
needed.
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
"""Darknet's name -> the others'. One word may stand for several things; which is meant shows where
it stands."""
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
"""Things that Darknet does not have, however near another name is."""


def _invert(names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for own, others in names.items():
        for other in others.split():
            found[other] = (*found.get(other, ()), own)
    return found


SYNONYMS = _invert(_DARKNETS)
"""Another program's name, in small letters -> Darknet's."""


def darknets_name(word: str, known: Iterable[str]) -> str | None:
    """What Darknet calls a thing, among the names that are known where the word stands."""
    candidates = set(known)
    return next((own for own in SYNONYMS.get(word.lower(), ()) if own in candidates), None)


def suggest(word: str, known: Iterable[str]) -> str:
    """``"; Darknet calls it 'swish'"``, ``"; did you mean 'mish'?"`` by spelling, or an empty
    string.
    """
    names = list(known)
    own = darknets_name(word, names)
    if own is not None:
        return f"; Darknet calls it {own!r}"
    return (
        "; Darknet has nothing like it" if word.lower() in _NOTHING else did_you_mean(word, names)
    )


def meant_for(key: str, words: Iterable[str]) -> str | None:
    """The word that stands for a key of Darknet's: another program's name for it, or the nearest
    spelling.
    """
    candidates = list(words)
    other = next((word for word in candidates if key in SYNONYMS.get(word.lower(), ())), None)
    return other or nearest(key, candidates)
