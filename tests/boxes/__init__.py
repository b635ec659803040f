"""Tests of the room boxes."""
