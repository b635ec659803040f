"""Training: batches, optimiser, schedules, the loop, checkpoints and the log.

Losses belong in ``losses``, images and labels in ``data``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.training.batches import StepPlan as StepPlan
    from darknet_builder.training.batches import load_batches as load_batches
    from darknet_builder.training.checkpoints.checkpoint_file import (
        load_checkpoint as load_checkpoint,
    )
    from darknet_builder.training.checkpoints.checkpoint_file import (
        save_checkpoint as save_checkpoint,
    )
    from darknet_builder.training.datasets import load_training_lists as load_training_lists
    from darknet_builder.training.ema import WeightEma as WeightEma
    from darknet_builder.training.initialization import InitRule as InitRule
    from darknet_builder.training.initialization import initialize as initialize
    from darknet_builder.training.log.run_log import RunLog as RunLog
    from darknet_builder.training.log.run_log import read_log as read_log
    from darknet_builder.training.optimizer import RatePattern as RatePattern
    from darknet_builder.training.optimizer import freeze as freeze
    from darknet_builder.training.optimizer import make_optimizer as make_optimizer
    from darknet_builder.training.optimizer import parameter_groups as parameter_groups
    from darknet_builder.training.schedules import DarknetLR as DarknetLR
    from darknet_builder.training.schedules import make_scheduler as make_scheduler
    from darknet_builder.training.schedules import rate_at as rate_at
    from darknet_builder.training.settings import TrainSettings as TrainSettings
    from darknet_builder.training.trainer import Trainer as Trainer
else:
    __getattr__, __all__ = lazy_names(__name__)
