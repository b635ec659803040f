"""Judge the code of a reader of "YOLO from scratch" by numbers recorded from Darknet.

Names the first value that differs and the usual mistake that gives exactly the reader's value.
"""
