"""Tests of the room cfg."""
