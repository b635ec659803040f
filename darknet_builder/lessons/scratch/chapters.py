"""The chapters of "YOLO from scratch": their numbers and titles."""

from __future__ import annotations

CHAPTERS = {
    1: "read the cfg",
    2: "blocks to modules",
    3: "the forward pass",
    4: "weights",
    5: "decode",
    6: "suppression and the picture",
    7: "loss and gradient",
}
"""Number of a chapter -> its title."""
READERS_FILE = "my_yolo.py"
"""The file that the reader writes."""
