"""Measure how fast a network is, alone and beside other programs.

Measuring how good it is belongs in ``evaluation``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.benchmark.comparison import Comparison as Comparison
    from darknet_builder.benchmark.comparison import Timing as Timing
    from darknet_builder.benchmark.comparison import compare as compare
    from darknet_builder.benchmark.pipeline import PipelineRate as PipelineRate
    from darknet_builder.benchmark.pipeline import measure_pipeline as measure_pipeline
    from darknet_builder.benchmark.training import TrainingRate as TrainingRate
    from darknet_builder.benchmark.training import measure_training as measure_training
else:
    __getattr__, __all__ = lazy_names(__name__)
