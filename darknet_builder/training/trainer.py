"""The training loop, with checkpoints that resume exactly.

::

    network = build_network("my.cfg")  # with random weights
    lists = load_training_lists(DataFile.read("my.data"), network)
    trainer = Trainer(network, lists.images, TrainSettings(output=Path("run")), out=sys.stdout)
    outcome = trainer.run()

A step is Darknet's: ``batch`` images in ``subdivisions`` parts, whose gradients add up, then one
update of the weights. ``docs/training.md`` has a complete example.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from typing import TextIO

import torch
from torch import Tensor, nn

from darknet_builder.errors import DarknetError, InputError
from darknet_builder.evaluation.score import Validate
from darknet_builder.losses.whole_network import LossMaps, LossReport, network_loss
from darknet_builder.network.batch_memory import explaining_training_memory
from darknet_builder.network.network import Network
from darknet_builder.support.distributed import ProcessGroup
from darknet_builder.training.batches import Batch, Shard, StepPlan, load_batches, sample_rule
from darknet_builder.training.checkpoints.checkpoint_file import State
from darknet_builder.training.checkpoints.checkpointer import Checkpointer
from darknet_builder.training.checkpoints.output_files import OutputFiles
from darknet_builder.training.ema import WeightEma
from darknet_builder.training.interrupts import graceful_interrupts
from darknet_builder.training.log.outcome import Outcome
from darknet_builder.training.log.progress_line import ProgressLine
from darknet_builder.training.log.run_log import RunLog
from darknet_builder.training.log.skipped_images import SkippedImages
from darknet_builder.training.log.step_report import StepReport, summarize_step
from darknet_builder.training.optimizer import (
    clip_weights,
    freeze,
    make_optimizer,
    reached_parameters,
)
from darknet_builder.training.samples import LabelledImages
from darknet_builder.training.schedules import make_scheduler, rate_at
from darknet_builder.training.settings import TrainSettings, check_settings
from darknet_builder.training.validation import Validation

_SHOWN_PATHS = 8
"""Maximum number of image paths in an error message."""


class Trainer:
    """The loop of one training.

    Args:
        network: the network to train, with its initial weights.
        images: the training images with their labels.
        settings: the settings that are not in the cfg.
        out: a terminal or a file, for the progress line.
        validate: scores the network, which is in eval mode then; None for no validation.
        group: the processes that train together; None for this process alone. Each takes its shard
            of every part of a batch. A batch norm uses the images of its own process only; the
            files contain the statistics of the main process.
        crew: deprecated spelling of ``group``.
        progress: shows the steps in place of a ``ProgressLine`` on ``out``.

    Attributes:
        total: number of steps of the training.
        finished: number of finished steps.

    Raises:
        InputError: for invalid settings, an output folder that contains a training, or a checkpoint
            of a training with other settings.
        CfgError: for a cfg that cannot be trained.
        DataError: for an empty data set, or an output folder that cannot be created.
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
        progress: ProgressLine | None = None,
    ) -> None:
        network.check_sees_images()
        check_settings(network, settings)
        if crew is not None:
            _warn_deprecated("Trainer(crew=...) is deprecated: use group=")
        self.group = group or crew or ProcessGroup()
        self.network, self.images, self.settings = network, images, settings
        self.validate = validate
        self.device = torch.device(settings.device)
        self.net_options = options = network.options
        self.total = options.schedule.max_batches
        self.finished = 0
        network.to(self.device)
        self.model: nn.Module = LossMaps(network)
        self.optimizer = make_optimizer(network, settings.rates)
        self.scheduler = make_scheduler(self.optimizer, options.schedule, seed=settings.seed)
        self.average = WeightEma(network, options.ema_alpha, self.total)
        self.validation = self._make_validation()
        self.files = OutputFiles(settings, is_main=self.group.is_main)
        self.checkpoints = Checkpointer(
            network, self.optimizer, self.scheduler, self.average, settings, len(images)
        )
        self._plan()  # raises for a cfg or a data set that cannot be used, before files are written
        lines = self._prepare()
        self._reached = reached_parameters(network)
        self._trained: list[bool] = []
        self.log = self._open_log(progress or ProgressLine(out, self.total), lines)
        self.skipped = SkippedImages(self.log if self.group.is_main else None)

    def _prepare(self) -> Sequence[str]:
        """Prepare the output folder and restore the state; return the lines that say so."""
        self.files.prepare()
        self.group.barrier()  # others may look into the folder only after the main process
        if self.settings.resume:
            return (self._resume(),)
        return self._continue() if self.settings.continue_run else ()

    def _open_log(self, progress: ProgressLine, lines: Sequence[str]) -> RunLog:
        log = RunLog(
            self.settings.output,
            progress.out,
            progress=progress,
            total=self.total,
            finished=self.finished,
            quiet=not self.group.is_main,
        )
        for line in lines:
            log.note(line)
        return log

    def _make_validation(self) -> Validation:
        return Validation(
            self.network,
            self.validate if self.group.is_main else None,
            num_images=len(self.images),
            every=self.settings.eval_every,
        )

    @property
    def validated(self) -> int:
        """Number of finished steps at the last validation; 0 before the first."""
        return self.validation.validated

    @property
    def best(self) -> float | None:
        """The highest score so far; None before the first validation."""
        return self.validation.best

    @property
    def crew(self) -> ProcessGroup:
        """Deprecated spelling of ``group``."""
        _warn_deprecated("Trainer.crew is deprecated: use group")
        return self.group

    def _resume(self) -> str:
        """Restore the newest checkpoint, if there is one; return the line that says so."""
        # Broadcast: the file may exist on the machine of the main process alone.
        state = self.group.broadcast(self.checkpoints.newest)
        if state is None:
            return f"{self.settings.output}: found no checkpoint; starting at step 0"
        self.checkpoints.restore(state)
        self.finished = state["finished"]
        self.validation.restore(state.get("validated", self.finished), state["best"])
        return self._nothing_to_do() or f"resuming after step {self.finished}"

    def _continue(self) -> tuple[str, ...]:
        """Start where a checkpoint or the weights stand; return the lines that say so."""
        found = self.group.broadcast(self.checkpoints.newest_to_continue)
        start = self.checkpoints.continue_from(found)
        self.finished = start.finished
        self.validation.restore(start.validated, start.best)
        rest = self._nothing_to_do()
        return (*start.lines, rest) if rest else start.lines

    def _nothing_to_do(self) -> str:
        """Return a line for a training without further steps; empty if there are some."""
        if self.finished < self.total:
            return ""
        return f"nothing to do: {self.finished} steps are finished, and max_batches={self.total}"

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
                elif self.finished <= self.total:  # more, if max_batches became smaller
                    # The training may have ended between a checkpoint and its validation.
                    last = self._validate()
                stop = False
                while self.finished < self.total and not stop:
                    with explaining_training_memory(self.network):
                        step = self._step(batches)
                    self.log.step(step)
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
        skipped = len(set(self.group.gather(list(self.skipped.indices))))
        return Outcome(
            finished=self.finished,
            interrupted=self.finished < self.total,
            best=self.best,
            last=last,
            skipped_images=skipped,
        )

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
            requested = time.perf_counter()
            batch = next(batches)
            self.skipped.add(batch, self.finished + 1)
            waited += time.perf_counter() - requested
            # All processes count the images of all, as one process would.
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
                f"{self.finished}/{self.total}: replaced the weights by their moving average"
            )
        seconds = time.perf_counter() - started
        return summarize_step(
            reports, self.finished, rate, self.net_options.batch, seconds, waited, self.group
        )

    def _freeze(self) -> None:
        """Set ``requires_grad`` for this step; wrap the model again if that changes anything."""
        freeze(self.network, self.finished, norms=self.settings.freeze_norms)
        for parameter in self.network.parameters():
            if parameter not in self._reached:  # DDP would wait for its gradient
                parameter.requires_grad_(False)
        trained = [parameter.requires_grad for parameter in self.network.parameters()]
        if trained != self._trained:
            # DDP decides on creation which gradients it exchanges.
            self.model, self._trained = self.group.wrap(LossMaps(self.network)), trained

    def _learn(self, batch: Batch, seen: int) -> LossReport:
        """Run forward and backward passes of one part of a batch."""
        x = batch.inputs(self.net_options.channels, self.device)
        size = (x.shape[3], x.shape[2])  # (width, height); multi-scale changes it
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"
        ):
            maps = self.model(x)
        # Losses need float32: deltas are differences of nearly equal numbers.
        report = network_loss(
            self.network,
            [raw.float() for raw in maps],
            batch.targets(self.device),
            seen=seen,
            net_size=size,
        )
        self._check_finite(batch, "the loss", report.total)
        if report.total.requires_grad:  # False while every layer is frozen
            # ``total`` is a sum over images, so divide it by their number, the batch. DDP averages
            # the processes' gradients; Darknet's update takes their sum.
            (report.total * (self.group.world_size / self.net_options.batch)).backward()
        sums = [
            parameter.grad.sum()
            for parameter in self.network.parameters()
            if parameter.grad is not None
        ]
        # If an element is not finite, neither is the sum. One test for all parameters, because
        # each makes Python wait for the GPU.
        self._check_finite(batch, "a gradient", torch.stack([report.total.detach(), *sums]))
        return report

    def _check_finite(self, batch: Batch, what: str, values: Tensor) -> None:
        """Raise an InputError with the batch's images if ``values`` (``what``) are not finite."""
        if bool(torch.isfinite(values).all()):
            return
        paths = [self.images.path(index) for index in batch.indices]
        more = f" and {len(paths) - _SHOWN_PATHS} more" if len(paths) > _SHOWN_PATHS else ""
        raise InputError(
            f"step {self.finished + 1}: {what} is not finite, with the batch of"
            f" {', '.join(paths[:_SHOWN_PATHS])}{more}; look at these images and their labels, or"
            " lower learning_rate= or raise burn_in=; earlier checkpoints are intact"
        )

    # ---- after a step ----------------------------------------------------------------------------

    def _after_step(self) -> float | None:
        """Write weights and a checkpoint and validate if they are due.

        Returns:
            The score of the validation; None without one.
        """
        self.files.write_numbered(self.network, self.finished, self.total)
        if self.finished % self.settings.save_every == 0 or self.finished == self.total:
            self._save()
        return self._validate()

    def _validate(self) -> float | None:
        """Score the network if that is due; return None otherwise.

        The checkpoint of this step was written before, because validation takes long and may fail.
        It is written again with the score.
        """
        if not self.validation.is_due(self.finished, self.total):
            return None
        try:
            score = self._score()
        except DarknetError:
            self._save()  # a resumed training begins with this validation
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
        # First the log: a resumed training drops its lines after the checkpoint, but cannot restore
        # lost ones.
        self.log.flush()
        if not self.finished:
            # A training that is killed between the two files must leave a checkpoint: weights
            # without one are taken for another program's.
            self.checkpoints.save(self.state())
        self.files.write_weights(self.network, self.finished, "last")
        if self.finished:
            self.checkpoints.save(self.state())

    def state(self) -> State:
        """Return the contents of a checkpoint, from which the training resumes exactly."""
        return self.checkpoints.state(self.finished, self.validated, self.best)


def _warn_deprecated(text: str) -> None:
    # Level 3 is the caller of the deprecated function.
    warnings.warn(text, DeprecationWarning, stacklevel=3)
