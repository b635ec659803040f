"""Ten modules with one fault each, which ``darknet-builder lesson fault start`` copies.

No file of the package imports them.
"""
