"""Save a training to checkpoints, and restore it from the newest one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from darknet_builder.engines.names import short_precision
from darknet_builder.network.network import Network
from darknet_builder.network.stored_values import check_tensors
from darknet_builder.training.checkpoints.checkpoint_file import (
    BEST,
    State,
    check_complete,
    check_same_cfg,
    check_same_run,
    checkpoint_path,
    list_checkpoints,
    load_checkpoint,
    model_metadata,
    plain_blocks,
    prune_checkpoints,
    restoring,
    save_checkpoint,
)
from darknet_builder.training.checkpoints.continuing import (
    Start,
    move_schedule,
    start_at_checkpoint,
    start_at_weights,
    take_over,
)
from darknet_builder.training.checkpoints.output_files import training_header
from darknet_builder.training.ema import WeightEma
from darknet_builder.training.settings import TrainSettings

_LEARNING = "learning"


class Checkpointer:
    """The checkpoints of one training.

    Args:
        network: its weights are saved and restored; its cfg must be the checkpoint's.
        optimizer: its momentum is saved and restored.
        scheduler: its position is saved and restored.
        average: the moving averages of the weights are saved and restored.
        settings: output folder, number of checkpoints to keep, and the settings that a resumed
            training must share.
        num_images: number of training images, which a resumed training must share too.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        average: WeightEma,
        settings: TrainSettings,
        num_images: int,
    ) -> None:
        self._network, self._optimizer = network, optimizer
        self._scheduler, self._average = scheduler, average
        self._settings, self._num_images = settings, num_images
        self._device = torch.device(settings.device)

    def state(self, finished: int, validated: int, best: float | None) -> State:
        """Collect everything that a training needs to resume exactly.

        Args:
            finished: number of finished steps.
            validated: number of finished steps at the last validation.
            best: the highest score so far; None before the first validation.
        """
        # The order of the images is not stored: it follows from `finished` and the seed.
        cuda = self._device.type == "cuda"
        return {
            "cfg": plain_blocks(self._network.blocks),
            "model": model_metadata(self._network, training_header(self._network, finished)),
            "facts": self._run_metadata(),
            "finished": finished,
            "validated": validated,
            "best": best,
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler.state_dict(),
            "average": self._average.state_dict(),
            "random": {
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state(self._device) if cuda else None,
            },
        }

    def exists(self, finished: int) -> bool:
        """Return whether there is a checkpoint after this number of steps."""
        return checkpoint_path(self._settings.output, finished).exists()

    def save(self, state: State) -> None:
        """Write a checkpoint, and delete the oldest ones.

        Raises:
            WeightsError: when it cannot be written.
        """
        save_checkpoint(checkpoint_path(self._settings.output, state["finished"]), state)
        prune_checkpoints(self._settings.output, self._settings.keep)

    def save_best(self, state: State) -> None:
        """Write the checkpoint of the best score, which is never deleted.

        Raises:
            WeightsError: when it cannot be written.
        """
        save_checkpoint(self._settings.output / BEST, state)

    def newest(self) -> State | None:
        """Load the newest checkpoint of the output folder; return None without one.

        Raises:
            WeightsError: for a file that cannot be read or belongs to another cfg.
            InputError: for a checkpoint of a training with other settings.
        """
        paths = list_checkpoints(self._settings.output)
        if not paths:
            # The training stopped before its first checkpoint; starting over gives the same one.
            return None
        state = load_checkpoint(paths[-1])
        check_complete(paths[-1], state)
        check_same_cfg(paths[-1], state, self._network.blocks)
        check_tensors(self._network, state["network"], paths[-1])
        # Earlier versions could not freeze norms and did not write this key.
        state["facts"].setdefault("norms", _LEARNING)
        check_same_run(paths[-1], state, self._run_metadata())
        return state

    def newest_to_continue(self) -> tuple[Path, State] | None:
        """Load the newest checkpoint of the output folder, whatever its cfg; None without any.

        Raises:
            WeightsError: for a file that cannot be read.
        """
        paths = list_checkpoints(self._settings.output)
        if not paths:
            return None
        state = load_checkpoint(paths[-1])
        check_complete(paths[-1], state)
        return paths[-1], state

    def continue_from(self, found: tuple[Path, State] | None) -> Start:
        """Take over a checkpoint, or without one the steps that the network's weights count.

        Raises:
            WeightsError: for a checkpoint whose weights do not fit.
            InputError: when neither the checkpoint nor the weights count steps, or both do.
        """
        if found is None:
            start = start_at_weights(self._network, self._settings.output)
        else:
            start = start_at_checkpoint(*found, self._network, self._run_metadata())
            check_tensors(self._network, found[1]["network"], found[0])
            with restoring(found[0]):
                has_momentum = take_over(found[1], self._network, self._optimizer, self._average)
            if not has_momentum:
                start = replace(start, lines=(*start.lines, "momentum: starts at zero"))
        move_schedule(self._scheduler, self._network, start.finished, self._settings.seed)
        return start

    def restore(self, state: State) -> None:
        """Restore network, optimiser, scheduler, average and random generators."""
        with restoring(checkpoint_path(self._settings.output, state["finished"])):
            self._network.load_state_dict(state["network"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._scheduler.load_state_dict(state["scheduler"])
            self._average.load_state_dict(state["average"])
            # Last: nothing may draw a random number after this.
            torch.set_rng_state(state["random"]["cpu"])
            if state["random"]["cuda"] is not None and self._device.type == "cuda":
                torch.cuda.set_rng_state(state["random"]["cuda"], self._device)

    def _run_metadata(self) -> dict[str, Any]:
        rates = [f"{rate.pattern}={rate.factor}" for rate in self._settings.rates]
        return {
            "seed": self._settings.seed,
            "precision": short_precision(self._settings.precision),
            "number_of_training_images": self._num_images,
            "rates": rates,
            "norms": "frozen" if self._settings.freeze_norms else _LEARNING,
        }
