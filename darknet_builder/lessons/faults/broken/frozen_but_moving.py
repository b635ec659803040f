"""A frozen backbone gives other features after each training.

``Frozen(backbone)`` holds a pretrained network that must not change while a head is trained behind
it. Mend it so that no tensor of the backbone changes, not even when ``train()`` is called on the
whole model before each epoch.
"""

from __future__ import annotations

from torch import Tensor, nn


class Frozen(nn.Module):
    """A backbone that is not trained.

    Args:
        backbone: any network.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.backbone.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the backbone gives."""
        return self.backbone(x)
