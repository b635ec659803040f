"""What a training tells while it runs: the log file, the line on the screen, curves and the
chart.
"""
