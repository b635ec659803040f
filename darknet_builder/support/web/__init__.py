"""Web addresses: their parts, and how to open them safely."""
