"""What the command ``detect`` consists of: its options, its sources, its run, and its files.

``serve`` and ``evaluate`` share some of it. The detector itself is in ``prediction``.
"""
