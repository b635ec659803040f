"""The log of a training: the log file, the progress line, TensorBoard's curves and the chart."""
