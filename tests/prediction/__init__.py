"""Tests of the room prediction."""
