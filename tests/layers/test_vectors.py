"""A vector is an image of 1 x 1 with as many channels, wherever Darknet has it so.

Which pair of sections Darknet builds was tried with both programs: what follows a vector that has a
height and a width always does; after a vector that has none (``Layer.formless_in``) the sections of
``NEEDS_AN_IMAGE`` do not.
"""

from __future__ import annotations

import pytest
import torch

from darknet_builder import Detector, Network, build_network
from darknet_builder.cfg.dialects import DIALECTS
from darknet_builder.engines.fused import FusedNetwork
from darknet_builder.errors import CfgError
from darknet_builder.layers.base import registered_sections
from darknet_builder.losses.whole_network import loss_inputs

NET = (
    "[net]\nwidth=4\nheight=4\nchannels=1\n[convolutional]\nfilters=2\nsize=1\nactivation=linear\n"
)
CONNECTED = "[connected]\noutput=18\nactivation=linear\n"
GIVERS = {
    "connected": CONNECTED,
    "rnn": "[rnn]\nhidden=4\noutput=18\nactivation=linear\n",
    "lstm": "[lstm]\noutput=18\n",
    "gru": "[gru]\noutput=18\n",
    "softmax": f"{CONNECTED}[softmax]\n",
    "logistic": f"{CONNECTED}[logistic]\n",
    "cost": f"{CONNECTED}[cost]\n",
    "detection": f"{CONNECTED}[detection]\nside=1\nnum=3\nclasses=3\ncoords=4\n",
    "dropout": f"{CONNECTED}[dropout]\n",
    "activation": f"{CONNECTED}[activation]\nactivation=relu\n",
    "empty": f"{CONNECTED}[empty]\n",
    "route": f"{CONNECTED}[route]\nlayers=-1\n",
    "shortcut": f"{CONNECTED}[shortcut]\nfrom=-1\nactivation=linear\n",
    "sam": f"{CONNECTED}[sam]\nfrom=-1\n",
}
ANCHORS = "anchors=1,1,1,1,1,1\nclasses=1\nnum=3\n"
NEEDS_AN_IMAGE = {
    "convolutional": "filters=2\nsize=3\npad=1\nactivation=linear\n",
    "local": "filters=2\nsize=1\nactivation=linear\n",
    "deconvolutional": "filters=2\nsize=2\nstride=2\nactivation=linear\n",
    "crop": "crop_width=1\ncrop_height=1\n",
    "maxpool": "size=2\nstride=1\n",
    "local_avgpool": "size=2\nstride=1\n",
    "avgpool": "",
    "reorg": "stride=1\n",
    "reorg3d": "stride=1\n",
    "conv_lstm": "output=2\nsize=1\nactivation=linear\n",
    "crnn": "hidden=2\noutput=2\nsize=1\nactivation=linear\n",
    "history": "history_size=2\n",
    "normalization": "",
    "l2norm": "",
    "batchnorm": "",
    "upsample": "stride=2\n",
    "scale_channels": "from=-1\n",
    "yolo": f"mask=0,1,2\n{ANCHORS}",
    "Gaussian_yolo": "mask=0\nnum=1\nclasses=9\nanchors=1,1\n",
    "region": ANCHORS,
    "iseg": "classes=10\nids=8\n",
}
TAKES_ANYTHING = {
    "connected": "output=2\nactivation=linear\n",
    "rnn": "hidden=3\noutput=2\nactivation=linear\n",
    "gru": "output=2\n",
    "lstm": "output=2\n",
    "activation": "activation=relu\n",
    "dropout": "probability=.5\n",
    "empty": "",
    "implicit": "filters=2\n",
    "softmax": "",
    "logistic": "",
    "cost": "",
    "detection": "side=1\nnum=3\nclasses=3\ncoords=4\n",
    "route": "layers=-1\n",
    "shortcut": "from=-1\nactivation=linear\n",
    "sam": "from=-1\n",
}
NOT_A_PAIR = {"contrastive"}
"""It needs a [yolo] before it."""


def knows(section: str, dialect: str) -> bool:
    """Whether a dialect has a section."""
    return dialect in registered_sections()[section].dialects


PAIRS = [
    (giver, section, dialect)
    for dialect in DIALECTS
    for giver in GIVERS
    for section in NEEDS_AN_IMAGE | TAKES_ANYTHING
    if knows(giver, dialect) and knows(section, dialect)
]


def build(giver: str, section: str, dialect: str) -> Network:
    """A network in which ``section`` follows ``giver``."""
    options = (NEEDS_AN_IMAGE | TAKES_ANYTHING)[section]
    return build_network(f"{NET}{GIVERS[giver]}[{section}]\n{options}", dialect=dialect).eval()


def test_no_section_is_left_out() -> None:
    """A new section belongs into one of the two tables."""
    sections = {layer.section for layer in registered_sections().values()} - set()
    assert sections == {*NEEDS_AN_IMAGE, *TAKES_ANYTHING, *NOT_A_PAIR}


@pytest.mark.parametrize(("giver", "section", "dialect"), PAIRS)
def test_every_pair(giver: str, section: str, dialect: str) -> None:
    """It builds where Darknet builds it, and gives what its shape says."""
    strided = (
        section == "shortcut" and dialect == "pjreddie"
    )  # built there, and divides by a width of 0 (P blas.c:70)
    if dialect in registered_sections()[giver].formless_in and (
        section in NEEDS_AN_IMAGE or strided
    ):
        with pytest.raises(
            CfgError, match="needs an image from the layer before it, which gives a vector of 18$"
        ):
            build(giver, section, dialect)
        return
    network = build(giver, section, dialect)
    with torch.no_grad():
        outputs = network.layer_outputs(torch.rand(2, 1, 4, 4))
    for index, (layer, output) in enumerate(zip(network.sequence(), outputs, strict=True)):
        shape = layer.out_shape
        assert output.numel() == 2 * shape.size, index
        assert layer.is_head or tuple(output.shape) == shape.batched(2), index


def test_which_sections_give_a_length_alone() -> None:
    """What each Darknet's own files set (out_w, out_h and out_c of a layer)."""
    found = {
        dialect: {
            layer.section
            for layer in registered_sections().values()
            if dialect in layer.formless_in
        }
        for dialect in DIALECTS
    }
    assert found == {
        "alexeyab": {"gru", "softmax", "cost", "contrastive", "detection"},
        "pjreddie": {"rnn", "gru", "lstm", "softmax", "logistic", "cost", "detection"},
    }


def test_a_vector_from_outside_has_no_form() -> None:
    """``inputs=`` says a length alone (parser.c:1540)."""
    with pytest.raises(CfgError, match=r":3: \[maxpool\]: needs an image from the layer before it"):
        build_network("[net]\ninputs=9\n[maxpool]\n")
    build_network("[net]\ninputs=9\n[connected]\noutput=4\nactivation=linear\n[maxpool]\n")


@pytest.mark.parametrize(
    "last",
    [
        CONNECTED,
        f"{CONNECTED}[dropout]\n",
        f"{CONNECTED}[convolutional]\nfilters=18\nsize=1\nactivation=linear\n[route]\nlayers=-2\n",
    ],
)
@pytest.mark.parametrize(
    "head", [f"[yolo]\nmask=0,1,2\n{ANCHORS}", f"[region]\n{ANCHORS}softmax=1\n"]
)
def test_a_head_behind_a_vector(last: str, head: str) -> None:
    """Detection, the fast path and training see a map of 1 x 1."""
    network = build_network(NET.replace("channels=1", "channels=3") + last + head).eval()
    x = torch.rand(2, 3, 4, 4)
    with torch.no_grad():
        raw = network(x)
        fused = FusedNetwork(network)(x)
    assert raw[0].shape == fused[0].shape == loss_inputs(network, x)[0].shape == (2, 18, 1, 1)
    assert torch.allclose(raw[0], fused[0], atol=1e-5)
    found = Detector(network, threshold=0, nms=1)((torch.rand(9, 9, 3) * 255).byte().numpy())
    assert len(found) >= 1


def test_a_vector_beside_an_image_of_one_pixel() -> None:
    """[route], [shortcut], [sam] and [scale_channels] take them for the same, in either order."""
    both = f"{NET}[avgpool]\n[connected]\noutput=2\nactivation=linear\n"
    x = torch.rand(2, 1, 4, 4)
    for section in (
        "[route]\nlayers=-1,-2\n",
        "[route]\nlayers=-2,-1\n",
        "[shortcut]\nfrom=-2\nactivation=linear\n",
        "[sam]\nfrom=-2\n",
        "[scale_channels]\nfrom=-2\n",
        "[shortcut]\nfrom=-2\nweights_type=per_channel\nweights_normalization=relu\nactivation=linear\n",
    ):
        network = build_network(both + section).eval()
        outputs = network.layer_outputs(x)
        pooled, vector, joined = (output.flatten(1) for output in outputs[1:])
        assert outputs[3].shape == (2, joined.shape[1], 1, 1), section
        expected = {
            "route": torch.cat((vector, pooled) if "-1,-2" in section else (pooled, vector), 1),
            "shortcut": (
                vector + pooled if "type" not in section else (vector + pooled) / (2 + 1e-4)
            ),
        }
        assert torch.allclose(joined, expected.get(network.layers[3].section, vector * pooled)), (
            section
        )


def test_vectors_of_different_lengths_are_added() -> None:
    """As images with different numbers of channels: what both have."""
    text = (
        f"{NET}[connected]\noutput=3\nactivation=linear\n[connected]\noutput=5\nactivation=linear\n"
    )
    for name, taken in (("-2", 3), ("-1", 5)):
        network = build_network(f"{text}[shortcut]\nfrom={name}\nactivation=linear\n").eval()
        outputs = network.layer_outputs(torch.rand(2, 1, 4, 4))
        expected = outputs[2].clone()
        expected[:, :taken] += outputs[1] if taken == 3 else outputs[2]
        assert torch.equal(outputs[3], expected)
