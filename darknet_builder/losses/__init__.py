"""What each head learns from: Darknet's own gradients, not those of a textbook."""
from darknet_builder.losses import yolo  # noqa
