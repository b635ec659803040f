"""The training loop: batches -> losses -> gradients -> weights, with checkpoints that resume
exactly.

    trainer = Trainer(network, images, TrainSettings(output=Path("run")), out=sys.stdout,
    validate=score) outcome = trainer.run()

A step is Darknet's: ``batch`` images in ``subdivisions`` parts, whose gradients add up, then one
update.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import torch
from torch import Tensor, nn

from darknet_builder.errors import DarknetError, InputError
from darknet_builder.evaluation.score import Validate
from darknet_builder.losses.whole_network import LossMaps, LossReport, network_loss, reached_layers
from darknet_builder.network.network import Network
from darknet_builder.support.distributed import ProcessGroup
from darknet_builder.training.batches import (
    Batch,
    LabelledImages,
    Shard,
    StepPlan,
    load_batches,
    sample_rule,
)
from darknet_builder.training.checkpoints.checkpoint_file import State
from darknet_builder.training.checkpoints.checkpointer import Checkpointer
from darknet_builder.training.checkpoints.output_files import OutputFiles
from darknet_builder.training.ema import WeightEma
from darknet_builder.training.interrupts import graceful_interrupts
from darknet_builder.training.log.run_log import RunLog
from darknet_builder.training.log.step_report import StepReport, summarize_step
from darknet_builder.training.optimizer import clip_weights, freeze, make_optimizer
from darknet_builder.training.schedules import make_scheduler, rate_at
from darknet_builder.training.settings import TrainSettings, check_settings
from darknet_builder.training.validation import Validation

_SHOWN_PATHS = 8
"""Paths of images in an error message."""


@dataclass(frozen=True)
class Outcome:
    """The end of a training.

    Attributes:
        finished: number of finished steps.
        interrupted: whether Ctrl-C ended it.
        best: the highest score of the training; None without validation.
        last: the score of the final weights; None without validation.
    """

    finished: int
    interrupted: bool
    best: float | None
    last: float | None


class Trainer:
    """The loop of one training.

    Args:
        network: the network to train, with its initial weights.
        images: the training set.
        settings: everything that the cfg does not say.
        out: a terminal or a file, for the progress line.
        validate: scores the network, which it gets in eval mode; None without a validation list.
        group: the processes that train together. Each takes its shard of every part of a batch;
            batch norm sees that shard alone, and the main process's statistics are kept.
        crew: deprecated spelling of ``group``.

    Attributes:
        total: number of steps of the training.
        finished: number of finished steps.

    Raises:
        InputError: for settings that make no sense, an output folder in use, a checkpoint of
            another training.
        CfgError: for a cfg that cannot be trained.
        DataError: for an empty data set, or an output folder that cannot be made.
        WeightsError: for a checkpoint that cannot be read or belongs to another cfg.
    """

    def __init__(
        self,
        network: Network,
        images: LabelledImages,
        settings: TrainSettings,
        *,
        out: TextIO,
        validate: Validate | None = None,
        group: ProcessGroup | None = None,
        crew: ProcessGroup | None = None,
    ) -> None:
        network.check_sees_images()
        check_settings(network, settings)
        if crew is not None:
            warnings.warn(
                "Trainer(crew=...) is deprecated: use group=", DeprecationWarning, stacklevel=2
            )
        self.group = group or crew or ProcessGroup()
        self.network, self.images, self.settings, self.validate = (
            network,
            images,
            settings,
            validate,
        )
        self.device = torch.device(settings.device)
        self.net_options = network.options
        self.total = network.options.schedule.max_batches
        self.finished = 0
        network.to(self.device)
        self.model: nn.Module = LossMaps(network)
        self.optimizer = make_optimizer(network, settings.rates)
        self.scheduler = make_scheduler(
            self.optimizer, network.options.schedule, seed=settings.seed
        )
        self.average = WeightEma(network, network.options.ema_alpha, self.total)
        self.validation = Validation(
            network,
            validate if self.group.is_main else None,
            num_images=len(images),
            every=settings.eval_every,
        )
        self.files = OutputFiles(settings, is_main=self.group.is_main)
        self.checkpoints = Checkpointer(
            network, self.optimizer, self.scheduler, self.average, settings, len(images)
        )
        self._plan()  # raises at once for what cannot be trained
        self.files.prepare()
        self.group.barrier()
        if settings.resume:
            self._resume()
        lines = self._continue() if settings.continue_run else ()
        layers = network.sequence()
        self._reached = {
            parameter
            for index in reached_layers(network)
            for parameter in layers[index].parameters()
        }
        self._trained: list[bool] = []
        self.log = RunLog(
            settings.output,
            out,
            total=self.total,
            finished=self.finished,
            quiet=not self.group.is_main,
        )
        if settings.resume or (settings.continue_run and self.finished >= self.total):
            lines = (*lines, self._describe_start())
        for line in lines:
            self.log.note(line)

    @property
    def validated(self) -> int:
        """The step after which the last validation was made; 0 before the first."""
        return self.validation.validated

    @property
    def best(self) -> float | None:
        """The highest score so far; None before the first validation."""
        return self.validation.best

    @property
    def crew(self) -> ProcessGroup:
        """Deprecated spelling of ``group``."""
        warnings.warn("Trainer.crew is deprecated: use group", DeprecationWarning, stacklevel=2)
        return self.group

    def _resume(self) -> None:
        state = self.group.broadcast(
            self.checkpoints.newest
        )  # the file may be on the main process's machine alone
        if state is None:
            return
        self.checkpoints.restore(state)
        self.finished = state["finished"]
        self.validation.restore(state.get("validated", self.finished), state["best"])

    def _continue(self) -> tuple[str, ...]:
        """Start where a checkpoint or the weights stand; return the lines that say so."""
        found = self.group.broadcast(self.checkpoints.newest_to_continue)
        start = self.checkpoints.continue_from(found)
        self.finished = start.finished
        self.validation.restore(start.validated, start.best)
        return start.lines

    def _describe_start(self) -> str:
        if not self.finished:
            return f"{self.settings.output}: no checkpoint yet: beginning at step 0"
        if self.finished < self.total:
            return f"going on after step {self.finished}"
        return f"nothing to do: {self.finished} steps are done, and max_batches={self.total}"

    # ---- the loop --------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Train until ``max_batches``, or until Ctrl-C.

        Raises:
            InputError: when the loss or a gradient is not finite, naming the images of that batch.
            WeightsError: when a file cannot be written.
        """
        last: float | None = None
        try:
            with graceful_interrupts() as interrupted:
                batches = self._batches()
                if not self.finished:
                    self._save()
                elif self.finished <= self.total:
                    last = (
                        self._validate()
                    )  # if the training ended between a checkpoint and its validation
                stop = False
                while self.finished < self.total and not stop:
                    self.log.step(self._step(batches))
                    last = self._after_step()
                    stop = self.group.any(interrupted())
                if stop:
                    self._save()
            if self.finished == self.total:
                self.files.write_weights(self.network, self.finished, "final")
            if self.group.is_main and self.finished <= self.total:
                self.log.draw_chart()
        finally:
            self.log.close()
        return Outcome(self.finished, self.finished < self.total, self.best, last)

    def _batches(self) -> Iterator[Batch]:
        return load_batches(
            self.images,
            self._plan(),
            workers=self.settings.workers,
            pinned=self.device.type == "cuda",
        )

    def _plan(self) -> StepPlan:
        return StepPlan(
            len(self.images),
            self.network,
            sample_rule(self.network),
            seed=self.settings.seed,
            first=self.finished,
            last=self.total,
            shard=Shard(self.group.rank, self.group.world_size),
        )

    def _step(self, batches: Iterator[Batch]) -> StepReport:
        """Make one update of the weights."""
        started = time.perf_counter()
        self.network.train()
        self._freeze()
        reports, seen, waited = [], self.finished * self.net_options.batch, 0.0
        rate = rate_at(self.net_options.schedule, self.finished + 1, seed=self.settings.seed)
        for part in range(self.net_options.subdivisions):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            seen += len(batch.indices) * self.group.world_size
            with self.group.accumulate(self.model, last=part == self.net_options.subdivisions - 1):
                reports.append(self._learn(batch, seen))
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        clip_weights(self.network)
        self.finished += 1
        if self.average.update(self.finished):
            self.log.note(
                f"{self.finished}/{self.total}: the average of the weights has taken their place"
            )
        seconds = time.perf_counter() - started
        return summarize_step(
            reports, self.finished, rate, self.net_options.batch, seconds, waited, self.group
        )

    def _freeze(self) -> None:
        """Set ``requires_grad`` for this step; rewrap in DDP when the set of trained parameters
        changes.
        """
        freeze(self.network, self.finished, norms=self.settings.freeze_norms)
        for parameter in self.network.parameters():
            if parameter not in self._reached:  # DDP would wait for its gradient
                parameter.requires_grad_(False)
        trained = [parameter.requires_grad for parameter in self.network.parameters()]
        if trained != self._trained:
            self.model, self._trained = self.group.wrap(LossMaps(self.network)), trained

    def _learn(self, batch: Batch, seen: int) -> LossReport:
        """Run forward and backward passes of one part of a batch."""
        x = batch.inputs(self.net_options.channels, self.device)
        size = (x.shape[3], x.shape[2])  # with multi-scale not always the network's own
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"
        ):
            maps = self.model(x)
        report = network_loss(
            self.network,
            [raw.float() for raw in maps],
            batch.targets(self.device),
            seen=seen,
            net_size=size,
        )
        self._check_finite(batch, "the loss", report.total)
        if report.total.requires_grad:  # False while every layer is frozen
            # DDP averages the processes' gradients; Darknet's update takes their sum.
            (report.total * (self.group.world_size / self.net_options.batch)).backward()
        sums = [
            parameter.grad.sum()
            for parameter in self.network.parameters()
            if parameter.grad is not None
        ]
        self._check_finite(batch, "a gradient", torch.stack([report.total.detach(), *sums]))
        return report

    def _check_finite(self, batch: Batch, what: str, values: Tensor) -> None:
        """Stop before NaN or infinity reach the weights.

        Raises:
            InputError: naming the images of the batch.
        """
        if bool(torch.isfinite(values).all()):
            return
        paths = [self.images.path(index) for index in batch.indices]
        more = f" and {len(paths) - _SHOWN_PATHS} more" if len(paths) > _SHOWN_PATHS else ""
        raise InputError(
            f"step {self.finished + 1}: {what} is not finite, with the batch of"
            f" {', '.join(paths[:_SHOWN_PATHS])}{more}; look at these images and their labels, or"
            " lower learning_rate= or raise burn_in=; the checkpoints of earlier steps are whole"
        )

    # ---- after a step ----------------------------------------------------------------------------

    def _after_step(self) -> float | None:
        """Write weights and checkpoint and validate, where that is due; return the score of a
        validation.
        """
        self.files.write_numbered(self.network, self.finished, self.total)
        if self.finished % self.settings.save_every == 0 or self.finished == self.total:
            self._save()
        return self._validate()

    def _validate(self) -> float | None:
        """Return the score of the weights as they are, where that is due and not yet known.

        A checkpoint that is due at this step was written before, since validation takes long and
        may fail. It is written again with the score.
        """
        if not self.validation.is_due(self.finished, self.total):
            return None
        try:
            score = self._score()
        except DarknetError:
            self._save()  # resuming begins with this validation
            raise
        if self.checkpoints.exists(self.finished):
            self._save()
        return score

    def _score(self) -> float:
        score, is_best = self.validation.score(self.finished)
        self.log.validation(self.finished, score.metric, score.value, score.numbers)
        if is_best:
            self.files.write_weights(self.network, self.finished, "best")
            self.checkpoints.save_best(self.state())
        self.log.draw_chart()
        return score.value

    def _save(self) -> None:
        """Write ``NAME_last.weights`` and a checkpoint."""
        if not self.group.is_main:
            return
        self.log.flush()
        self.files.write_weights(self.network, self.finished, "last")
        self.checkpoints.save(self.state())

    def state(self) -> State:
        """Return the contents of a checkpoint, from which the training goes on exactly."""
        return self.checkpoints.state(self.finished, self.validated, self.best)
