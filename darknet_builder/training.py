"""The training loop: batches -> losses -> gradients -> weights, with checkpoints from which it goes on exactly.

    trainer = Trainer(network, images, TrainSettings(output=Path("run")), out=sys.stdout, validate=score)
    outcome = trainer.run()

A step is Darknet's: ``batch`` images in ``subdivisions`` parts, whose gradients add up, then one update.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TextIO

import torch
from torch import Tensor, nn

from darknet_builder.augmentation import AugmentRule
from darknet_builder.averaging import WeightAverage
from darknet_builder.checkpoints import (
    BEST,
    MAKE_ROOM,
    check_same_cfg,
    check_same_run,
    checkpoint_path,
    list_checkpoints,
    load_checkpoint,
    model_facts,
    plain_blocks,
    prune_checkpoints,
    save_checkpoint,
)
from darknet_builder.classifier_data import ClassifierRule
from darknet_builder.engine_names import short_precision
from darknet_builder.errors import DarknetError, InputError, WeightsError
from darknet_builder.interruption import interruptible
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.losses import LossMaps, LossReport, network_loss, reached_layers
from darknet_builder.network import Network
from darknet_builder.parameter_groups import clip_weights, freeze, make_optimizer
from darknet_builder.processes import Crew
from darknet_builder.run_log import RunLog, StepReport
from darknet_builder.schedules import make_scheduler, rate_at
from darknet_builder.step_totals import summarize_step
from darknet_builder.training_data import Batch, LabelledImages, SampleRule, Share, StepPlan, load_batches
from darknet_builder.training_settings import TrainSettings, check_settings, prepare_output
from darknet_builder.weights import save_weights

_WEIGHTS_PERIOD = 1000
_LONG_TRAINING = 10000
"""Trainings of so many steps and more keep their weights every so many steps only (detector.c:372)."""
_SHOWN_PATHS = 8
_LEARNING = "learning"


@dataclass(frozen=True)
class Score:
    """What validation gives.

    Attributes:
        value: by which the best weights are chosen.
        metric: what it is, a key of ``run_log.METRICS``.
        numbers: others, for the log.
    """

    value: float
    metric: str = "map"
    numbers: Mapping[str, float] = field(default_factory=dict)


Validate = Callable[[Network], Score]


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        finished: steps.
        interrupted: whether Ctrl-C ended it.
        best: the highest score seen, None without validation.
        last: the score of the final weights, None without validation.
    """

    finished: int
    interrupted: bool
    best: float | None
    last: float | None


class Trainer:
    """One training.

    Args:
        network: built, with the weights to begin from.
        images: the training set.
        settings: see there.
        out: the screen.
        validate: scores the network, which it gets in eval mode; None without a validation list.
        crew: the processes that train together. Each takes its share of every part of a batch; batch norm sees that
            share, and the leader's statistics are kept.

    Raises:
        InputError: for settings that make no sense, an output folder in use, a checkpoint of another training.
        CfgError: for a cfg that cannot be trained.
        DataError: for an empty data set, or an output folder that cannot be made.
        WeightsError: for a checkpoint that cannot be read or belongs to another cfg.
    """

    def __init__(self, network: Network, images: LabelledImages, settings: TrainSettings, *, out: TextIO,
                 validate: Validate | None = None, crew: Crew | None = None) -> None:
        check_settings(network, settings)
        self.crew = crew or Crew()
        self.network, self.images, self.settings, self.validate = network, images, settings, validate
        self.device = torch.device(settings.device)
        self.net_options = network.options
        self.total = network.options.schedule.max_batches
        self.finished = 0
        self.validated = 0
        self.best: float | None = None
        network.to(self.device)
        self.model: nn.Module = LossMaps(network)
        self.optimizer = make_optimizer(network, settings.rates)
        self.scheduler = make_scheduler(self.optimizer, network.options.schedule, seed=settings.seed)
        self.average = WeightAverage(network, network.options.ema_alpha, self.total)
        self._plan()  # says at once what cannot be trained
        if self.crew.leads:
            prepare_output(settings)
        self.crew.wait()
        if settings.resume:
            self._restore()
        layers = network.sequence()
        self._reached = {parameter for index in reached_layers(network) for parameter in layers[index].parameters()}
        self._trained: list[bool] = []
        self.log = RunLog(settings.output, out, total=self.total, finished=self.finished, quiet=not self.crew.leads)
        if settings.resume:
            self.log.note(self._where_it_goes_on())

    def _where_it_goes_on(self) -> str:
        if not self.finished:
            return f"{self.settings.output}: no checkpoint yet: beginning at step 0"
        if self.finished < self.total:
            return f"going on after step {self.finished}"
        return f"nothing to do: {self.finished} steps are done, and max_batches={self.total}"

    # ---- the loop -----------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Train until ``max_batches``, or until Ctrl-C.

        Raises:
            InputError: when the loss or a gradient is no number, naming the images of that batch.
            WeightsError: when a file cannot be written.
        """
        last: float | None = None
        try:
            with interruptible() as interrupted:
                batches = self._batches()
                if not self.finished:
                    self._save()
                elif self.finished <= self.total:
                    last = self._validate()  # where the training ended between a checkpoint and its validation
                stop = False
                while self.finished < self.total and not stop:
                    self.log.step(self._step(batches))
                    last = self._after_step()
                    stop = self.crew.any(interrupted())
                if stop:
                    self._save()
            if self.finished == self.total:
                self._write_weights("final")
            if self.crew.leads and self.finished <= self.total:
                self.log.draw_chart()
        finally:
            self.log.close()
        return Outcome(self.finished, self.finished < self.total, self.best, last)

    def _batches(self) -> Iterator[Batch]:
        return load_batches(self.images, self._plan(), workers=self.settings.workers,
                            pinned=self.device.type == "cuda")

    def _plan(self) -> StepPlan:
        return StepPlan(len(self.images), self.network, sample_rule(self.network), seed=self.settings.seed,
                        first=self.finished, last=self.total, share=Share(self.crew.rank, self.crew.world))

    def _step(self, batches: Iterator[Batch]) -> StepReport:
        """One update."""
        started = time.perf_counter()
        self.network.train()
        self._freeze()
        reports, seen, waited = [], self.finished * self.net_options.batch, 0.0
        rate = rate_at(self.net_options.schedule, self.finished + 1, seed=self.settings.seed)
        for part in range(self.net_options.subdivisions):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            seen += len(batch.indices) * self.crew.world
            with self.crew.accumulate(self.model, last=part == self.net_options.subdivisions - 1):
                reports.append(self._learn(batch, seen))
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        clip_weights(self.network)
        self.finished += 1
        if self.average.update(self.finished):
            self.log.note(f"{self.finished}/{self.total}: the average of the weights has taken their place")
        seconds = time.perf_counter() - started
        return summarize_step(reports, self.finished, rate, self.net_options.batch, seconds, waited, self.crew)

    def _freeze(self) -> None:
        """Who learns in this step; the exchange of gradients must know when that changes."""
        freeze(self.network, self.finished, norms=self.settings.freeze_norms)
        for parameter in self.network.parameters():
            if parameter not in self._reached:  # the exchange would wait for its gradient
                parameter.requires_grad_(False)
        trained = [parameter.requires_grad for parameter in self.network.parameters()]
        if trained != self._trained:
            self.model, self._trained = self.crew.wrap(LossMaps(self.network)), trained

    def _learn(self, batch: Batch, seen: int) -> LossReport:
        """Forward and backward of one part of a batch."""
        x = batch.inputs(self.net_options.channels, self.device)
        size = (x.shape[3], x.shape[2])
        # Multi-scale: the network checks its input against its own size, which is this batch's now.
        self.network.options = replace(self.net_options, width=size[0], height=size[1])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            maps = self.model(x)
        report = network_loss(self.network, [raw.float() for raw in maps], batch.targets(self.device), seen=seen,
                              net_size=size)
        self._check_finite(batch, "the loss", report.total)
        if report.total.requires_grad:  # not where every layer rests for now
            # The processes' gradients are averaged, but it is their sum that counts.
            (report.total * (self.crew.world / self.net_options.batch)).backward()
        sums = [parameter.grad.sum() for parameter in self.network.parameters() if parameter.grad is not None]
        self._check_finite(batch, "a gradient", torch.stack([report.total.detach(), *sums]))
        self.network.options = self.net_options
        return report

    def _check_finite(self, batch: Batch, what: str, values: Tensor) -> None:
        """Stop before numbers that are none reach the weights.

        Raises:
            InputError: naming the images of the batch.
        """
        if bool(torch.isfinite(values).all()):
            return
        paths = [self.images.path(index) for index in batch.indices]
        more = f" and {len(paths) - _SHOWN_PATHS} more" if len(paths) > _SHOWN_PATHS else ""
        raise InputError(f"step {self.finished + 1}: {what} is not finite, with the batch of "
                         f"{', '.join(paths[:_SHOWN_PATHS])}{more}; look at these images and their labels, or lower "
                         "learning_rate= or raise burn_in=; the checkpoints of earlier steps are whole")

    # ---- what is written ----------------------------------------------------------------------------

    def _after_step(self) -> float | None:
        """Weights, checkpoint and validation where they are due; the score if there was a validation."""
        period = _WEIGHTS_PERIOD if self.total < _LONG_TRAINING else _LONG_TRAINING
        if self.finished % period == 0:
            self._write_weights(str(self.finished))
        if self.finished % self.settings.save_every == 0 or self.finished == self.total:
            self._save()
        return self._validate()

    def _validate(self) -> float | None:
        """The score of the weights as they are, where that is due and not yet known.

        Where a checkpoint of this step is due it was written before, since validation takes long and may fail; now it
        is written again with what has become known.
        """
        if (not self.crew.leads or self.validate is None or self.validated == self.finished
                or not self._is_due_for_validation()):
            return None
        try:
            score = self._score(self.validate)
        except DarknetError:
            self._save()  # --resume begins with this validation
            raise
        if checkpoint_path(self.settings.output, self.finished).exists():
            self._save()
        return score

    def _is_due_for_validation(self) -> bool:
        if self.finished == self.total:
            return True
        every = self.settings.eval_every
        if every is None:
            # Every four epochs, or two for a classifier, but not while the rate still rises (detector.c:255,
            # classifier.c:166).
            epochs = 4 if self.network.heads else 2
            every = max(100, epochs * len(self.images) // self.net_options.batch)
            if self.finished < self.net_options.schedule.burn_in:
                return False
        return every > 0 and self.finished % every == 0

    def _score(self, validate: Validate) -> float:
        self.network.eval()
        with torch.inference_mode():
            score = validate(self.network)
        self.network.train()
        self.validated = self.finished
        self.log.validation(self.finished, score.metric, score.value, score.numbers)
        if self.best is None or score.value > self.best:
            self.best = score.value
            self._write_weights("best")
            save_checkpoint(self.settings.output / BEST, self.state())
        self.log.draw_chart()
        return score.value

    def _save(self) -> None:
        if not self.crew.leads:
            return
        self.log.flush()
        self._write_weights("last")
        save_checkpoint(checkpoint_path(self.settings.output, self.finished), self.state())
        prune_checkpoints(self.settings.output, self.settings.keep)

    def _write_weights(self, suffix: str) -> None:
        """A ``.weights`` file from which Darknet can go on: ``seen`` is what it would have counted."""
        if not self.crew.leads:
            return
        self.network.header = self._header()
        try:
            save_weights(self.network, self.settings.output / f"{self.settings.name}_{suffix}.weights")
        except WeightsError as error:
            raise WeightsError(f"{error}; {MAKE_ROOM}") from None

    def _header(self) -> WeightsHeader:
        return WeightsHeader(0, 2, self.network.header.revision, self.finished * self.net_options.batch)

    # ---- checkpoints --------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that decides how the training goes on. The data's place follows from ``finished`` and the seed."""
        cuda = self.device.type == "cuda"
        return {
            "cfg": plain_blocks(self.network.blocks), "model": model_facts(self.network, self._header()),
            "facts": self._facts(), "finished": self.finished, "validated": self.validated, "best": self.best,
            "network": self.network.state_dict(), "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(), "average": self.average.state_dict(),
            "random": {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state(self.device) if cuda else None},
        }

    def _facts(self) -> dict[str, Any]:
        rates = [f"{rate.pattern}={rate.factor}" for rate in self.settings.rates]
        return {"seed": self.settings.seed, "precision": short_precision(self.settings.precision),
                "number_of_training_images": len(self.images), "rates": rates,
                "norms": "frozen" if self.settings.freeze_norms else _LEARNING}

    def _newest_checkpoint(self) -> dict[str, Any] | None:
        paths = list_checkpoints(self.settings.output)
        if not paths:
            return None  # stopped before the first one: the same beginning gives the same training
        state = load_checkpoint(paths[-1])
        check_same_cfg(paths[-1], state, self.network.blocks)
        state["facts"].setdefault("norms", _LEARNING)
        check_same_run(paths[-1], state, self._facts())
        return state

    def _restore(self) -> None:
        state = self.crew.hand_out(self._newest_checkpoint)  # which lies where the leader is
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.average.load_state_dict(state["average"])
        self.finished, self.best = state["finished"], state["best"]
        self.validated = state.get("validated", self.finished)  # earlier versions saved after the validation
        torch.set_rng_state(state["random"]["cpu"])
        if state["random"]["cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random"]["cuda"], self.device)


def sample_rule(network: Network) -> SampleRule:
    """What happens to a network's training images: a detector's rule, or a classifier's.

    Raises:
        InputError: for a cfg with a rule that the network cannot have.
    """
    return AugmentRule.of(network) if network.heads else ClassifierRule.of(network)
