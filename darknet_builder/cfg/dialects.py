"""Table of the differences between AlexeyAB's and pjreddie's Darknet, read by the layers.

A = AlexeyAB/darknet @59596d78, P = pjreddie/darknet @f6afaab.
"""

from __future__ import annotations

from dataclasses import dataclass

from darknet_builder.errors import InputError, did_you_mean


@dataclass(frozen=True)
class Dialect:
    """The choices of one Darknet variant.

    Attributes:
        name: the variant's name: ``alexeyab`` or ``pjreddie``.
        resize: how ``detector test`` fits a photograph into the network: ``stretch`` or
            ``letterbox`` (A detector.c, P detector.c:582).
        valid_threshold: minimum confidence of ``detector valid`` (A detector.c:730, P
            examples/detector.c:419).
        valid_nms: NMS IoU threshold of ``detector valid``.
        region_by_cell: the region head's output is stored cell by cell, with x and y raw (A
            region_layer.c:160).
        region_logistic_classes: class scores without softmax get a logistic (P region_layer.c:186).
        region_objectness: detections of a region head carry its objectness; in A they carry 1 (A
            region_layer.c:400).
        strided_shortcut: a shortcut may join layers of different sizes by sampling (P blas.c:68).
        reorg_extra: [reorg] has the option ``extra=`` (P parser.c:398).
        lstm_order: order of the gates in the file, for the state's weights and then the input's.
        gru_input_first: the input's three layers come before the state's in the file (A
            parser.c:2310).
        gru_tanh: [gru] has the option ``tanh=`` (P parser.c:271); A's candidate is always logistic.
        rnn_hidden: [rnn] has the option ``hidden=``; P's state is as long as its output (P
            parser.c:260).
        crnn_keeps_size: [crnn] always has a padded 3x3 kernel, whatever the cfg gives (P
            crnn_layer.c:30).
        classify_resize: how ``classifier predict`` fits a photograph into the network: ``crop`` or
            ``letterbox`` (A classifier.c, P examples/classifier.c).
        classify_leaves: ``classifier predict`` names only those classes of a hierarchy that have no
            children.
        large_version_is_short: a weights header of version 1000 or more has a 32-bit ``seen`` (P
            parser.c:1236).

    Example:
        >>> get_dialect("pjreddie").resize
        'letterbox'
    """

    name: str
    resize: str
    valid_threshold: float
    valid_nms: float
    region_by_cell: bool
    region_logistic_classes: bool
    region_objectness: bool
    strided_shortcut: bool
    reorg_extra: bool
    lstm_order: str
    gru_input_first: bool
    gru_tanh: bool
    rnn_hidden: bool
    crnn_keeps_size: bool
    classify_resize: str
    classify_leaves: bool
    large_version_is_short: bool


_ROWS = (
    Dialect(
        "alexeyab",
        resize="stretch",
        valid_threshold=0.001,
        valid_nms=0.6,
        region_by_cell=True,
        region_logistic_classes=False,
        region_objectness=False,
        strided_shortcut=False,
        reorg_extra=False,
        lstm_order="figo",
        gru_input_first=True,
        gru_tanh=False,
        rnn_hidden=True,
        crnn_keeps_size=False,
        classify_resize="crop",
        classify_leaves=False,
        large_version_is_short=False,
    ),
    Dialect(
        "pjreddie",
        resize="letterbox",
        valid_threshold=0.005,
        valid_nms=0.45,
        region_by_cell=False,
        region_logistic_classes=True,
        region_objectness=True,
        strided_shortcut=True,
        reorg_extra=True,
        lstm_order="ifog",
        gru_input_first=False,
        gru_tanh=True,
        rnn_hidden=False,
        crnn_keeps_size=True,
        classify_resize="letterbox",
        classify_leaves=True,
        large_version_is_short=True,
    ),
)
DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in _ROWS}


def get_dialect(name: str | None) -> Dialect:
    """Return a dialect by name.

    Args:
        name: ``alexeyab`` or ``pjreddie``; None for ``alexeyab``.

    Raises:
        InputError: for an unknown name.

    Example:
        >>> get_dialect(None).name
        'alexeyab'
    """
    if name is None:
        return _ROWS[0]  # AlexeyAB's, whose cfgs and weights most people have
    if name not in DIALECTS:
        raise InputError(
            f"dialect {name!r} is unknown; expected one of "
            f"{', '.join(DIALECTS)}{did_you_mean(name, DIALECTS)}"
        )
    return DIALECTS[name]
