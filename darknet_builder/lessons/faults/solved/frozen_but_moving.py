"""The backbone stays in evaluation mode, whatever the mode of the module.

The running statistics of a batch norm are buffers. ``requires_grad`` does not concern them: the
batch norm itself moves them in ``forward`` while it is in training mode. One call of ``eval()`` in
``__init__`` is not enough, because ``train()`` reaches all children, so ``train`` is extended.
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
        self.train(self.training)

    def train(self, mode: bool = True) -> Frozen:
        """Set the mode of everything but the backbone."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return what the backbone gives."""
        return self.backbone(x)
