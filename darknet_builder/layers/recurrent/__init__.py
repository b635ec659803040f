"""Recurrent sections, and the state that they keep from frame to frame (``state``)."""
