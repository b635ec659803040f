"""The modules of ``broken`` without their fault; each docstring explains the change.

No file of the package imports them.
"""
