"""Find the fault: ten broken modules that the reader mends, and the checks that judge them.

The texts of the exercises are the docstrings of ``broken`` and ``solved``.
"""
