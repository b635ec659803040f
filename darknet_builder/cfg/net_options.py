"""[net]: options of the input, the training and the augmentation (parser.c:1145)."""

from __future__ import annotations

from dataclasses import dataclass

from darknet_builder.cfg.block import Block
from darknet_builder.errors import CfgWarning
from darknet_builder.shapes import Shape, flat

POLICIES = ("constant", "step", "steps", "exp", "poly", "random", "sigmoid", "sgdr")


@dataclass(frozen=True)
class Schedule:
    """The learning rate and its course over the iterations (network.c:131).

    The attributes are the options of [net] with the same names.

    Example:
        >>> Schedule.from_block(Block("net", {"burn_in": "1000", "max_batches": "6000"})).burn_in
        1000
    """

    learning_rate: float = 0.001
    learning_rate_min: float = 1e-5
    policy: str = "constant"
    burn_in: int = 0
    power: float = 4.0
    max_batches: int = 0
    step: int = 1
    scale: float = 1.0
    gamma: float = 1.0
    steps: tuple[int, ...] = ()
    scales: tuple[float, ...] = ()
    sgdr_cycle: int = 0
    sgdr_mult: int = 2

    @classmethod
    def from_block(cls, block: Block) -> Schedule:
        """Read the options of [net], with Darknet's defaults.

        Raises:
            CfgError: located, for a wrong value.
        """
        max_batches = block.get_int("max_batches", 0, minimum=0)
        # Darknet silently takes constant for a policy that it does not know (parser.c:1141).
        policy = block.get_choice("policy", "constant", POLICIES)
        steps = tuple(block.get_ints("steps", ()))
        scales = tuple(block.get_floats("scales", ()))
        # Darknet reads past the end of a shorter list of scales (parser.c:1270).
        if policy == "steps" and (not steps or len(scales) < len(steps)):
            raise block.error(
                f"needs as many scales as steps: {len(steps)} steps and {len(scales)} scales are"
                " given",
                "policy",
            )
        return cls(
            learning_rate=block.get_float("learning_rate", 0.001),
            policy=policy,
            steps=steps,
            scales=scales,
            learning_rate_min=block.get_float("learning_rate_min", 1e-5),
            burn_in=block.get_int("burn_in", 0),
            power=block.get_float("power", 4.0),
            max_batches=max_batches,
            step=block.get_int("step", 1),
            scale=block.get_float("scale", 1.0),
            gamma=block.get_float("gamma", 1.0),
            # By default one cosine lasts the whole training (parser.c:1151).
            sgdr_cycle=block.get_int("sgdr_cycle", max_batches),
            sgdr_mult=block.get_int("sgdr_mult", 2),
        )


@dataclass(frozen=True)
class Augmentation:
    """Options of [net] that change training images.

    The attributes are the options of [net] with the same names.

    Example:
        >>> Augmentation.from_block(Block("net", {"angle": "7", "mosaic": "1"}), width=416).mosaic
        True
    """

    angle: float = 0.0
    aspect: float = 1.0
    saturation: float = 1.0
    exposure: float = 1.0
    hue: float = 0.0
    flip: bool = True
    blur: int = 0
    gaussian_noise: int = 0
    mixup: bool = False
    cutmix: bool = False
    mosaic: bool = False
    mosaic_bound: bool = False
    min_crop: int = 0
    max_crop: int = 0
    label_smooth_eps: float = 0.0
    resize_step: int = 32

    @classmethod
    def from_block(cls, block: Block, width: int) -> Augmentation:
        """Read the options of [net], with Darknet's defaults.

        Args:
            block: the section [net] or [network].
            width: width of the input in pixels, from which the defaults of the crop follow.
        """
        return cls(
            angle=block.get_float("angle", 0.0),
            aspect=block.get_float("aspect", 1.0),
            saturation=block.get_float("saturation", 1.0),
            exposure=block.get_float("exposure", 1.0),
            hue=block.get_float("hue", 0.0),
            flip=block.get_flag("flip", True),
            blur=block.get_int("blur", 0),
            gaussian_noise=block.get_int("gaussian_noise", 0),
            mixup=block.get_flag("mixup"),
            cutmix=block.get_flag("cutmix"),
            mosaic=block.get_flag("mosaic"),
            mosaic_bound=block.get_flag("mosaic_bound"),
            min_crop=block.get_int("min_crop", width),  # parser.c:1198
            max_crop=block.get_int("max_crop", 2 * width),
            label_smooth_eps=block.get_float("label_smooth_eps", 0.0),
            resize_step=block.get_int("resize_step", 32),
        )


@dataclass(frozen=True)
class NetOptions:
    """The options of [net].

    Attributes:
        width: width of the input image in pixels; 0 if the input is a vector.
        height: height of the input image in pixels; 0 if the input is a vector.
        channels: channels of the input image; 0 if the input is a vector.
        inputs: length of the input vector; width * height * channels for an image.
        batch: images per optimisation step.
        subdivisions: number of parts that each batch is divided into to save memory.
        time_steps: consecutive frames of each sequence, for recurrent layers.
        momentum: momentum of SGD, 0 to 1.
        decay: weight decay (L2 penalty) of SGD.
        letter_box: whether images keep their aspect ratio.
        adam: Adam instead of SGD.
        beta1: Adam's beta 1 (``B1=``).
        beta2: Adam's beta 2 (``B2=``).
        epsilon: Adam's term against division by zero (``eps=``).
        ema_alpha: weight of the old value in the moving average of the weights; 0 turns it off.
        loss_scale: factor on the loss in mixed precision.
        schedule: the learning rate of each step.
        augmentation: the changes to training images.

    Example:
        >>> options = NetOptions.from_block(
        ...     Block("net", {"width": "416", "height": "416", "channels": "3"})
        ... )
        >>> str(options.input_shape)
        '416 x 416 x 3'
    """

    width: int
    height: int
    channels: int
    inputs: int
    batch: int
    subdivisions: int
    time_steps: int
    momentum: float
    decay: float
    letter_box: bool
    adam: bool
    beta1: float
    beta2: float
    epsilon: float
    ema_alpha: float
    loss_scale: float
    schedule: Schedule
    augmentation: Augmentation

    @property
    def input_shape(self) -> Shape:
        """Shape of one input of ``network(x)``, without the batch."""
        if self.width and self.height and self.channels:
            return Shape(self.channels, self.height, self.width)
        # parser.c:1540 gives a vector no height and no width, so no image section may follow.
        return flat(self.inputs, formless=True)

    @classmethod
    def from_block(
        cls, block: Block, *, width: int | None = None, height: int | None = None
    ) -> NetOptions:
        """Read [net].

        Args:
            block: the section [net] or [network].
            width: width of the input in pixels; None for the cfg's.
            height: height of the input in pixels; None for the cfg's.

        Raises:
            CfgError: located, if neither an image nor a vector is given as input.
        """
        width, height, channels, inputs = _read_sizes(block, width, height)
        # The batch of a whole step; Darknet divides it by subdivisions when it reads it
        # (parser.c:1162).
        batch = block.get_int("batch", 1, minimum=1)
        adam = block.get_flag("adam")
        _ignore_unused(block)
        return cls(
            width=width,
            height=height,
            channels=channels,
            inputs=inputs,
            batch=batch,
            subdivisions=block.get_int("subdivisions", 1, minimum=1),
            time_steps=block.get_int("time_steps", 1, minimum=1),
            momentum=block.get_float("momentum", 0.9),
            decay=block.get_float("decay", 1e-4),
            letter_box=block.get_flag("letter_box"),
            adam=adam,
            beta1=block.get_float("B1", 0.9),
            beta2=block.get_float("B2", 0.999),
            epsilon=block.get_float("eps", 1e-6),
            ema_alpha=block.get_float("ema_alpha", 0.0),
            loss_scale=block.get_float("loss_scale", 1.0),
            schedule=Schedule.from_block(block),
            augmentation=Augmentation.from_block(block, width),
        )


def _read_sizes(block: Block, width: int | None, height: int | None) -> tuple[int, int, int, int]:
    """Return width, height, channels and inputs; given sizes override the cfg's."""
    sizes = {key: block.get_int(key, 0, minimum=0) for key in ("width", "height", "channels")}
    width, height = width or sizes["width"], height or sizes["height"]
    # A network over vectors has inputs= alone (parser.c:1196).
    inputs = block.get_int("inputs", width * height * sizes["channels"], minimum=0)
    if not inputs:
        hints = dict.fromkeys(block.misspelt(key) for key in sizes if not sizes[key])
        raise block.error(
            "needs width=, height= and channels= above 0, or inputs=", hint="".join(hints)
        )
    return width, height, sizes["channels"], inputs


def _ignore_unused(block: Block) -> None:
    """Mark options as read that do not change any number here.

    They are about Darknet's memory, display, tracking and video.
    """
    block.ignore(
        "track",
        "augment_speed",
        "sequential_subdivisions",
        "seq_scales",
        "try_fix_nan",
        "use_cuda_graph",
        "dynamic_minibatch",
        "optimized_memory",
        "workspace_size_limit_MB",
        "max_chart_loss",
        "show_receptive_field",
        "contrastive",
        "contrastive_jit_flip",
        "contrastive_color",
        "unsupervised",
        "attention",
        "adversarial_lr",
        "weights_reject_freq",
        "equidistant_point",
        "badlabels_rejection_percentage",
        "num_sigmas_reject_badlabels",
        "max_epochs",
        "seen",
        "center",
        "ratio",
        "random",
        "clip",
    )


def check_burn_in(net: Block, schedule: Schedule) -> CfgWarning | None:
    """Return a located warning if the burn-in does not end before the rate first falls, or None.

    Args:
        net: the [net] section, for the location in the warning.
        schedule: the schedule read from it.
    """
    # Before burn_in, Darknet ignores the policy (network.c:131). A step inside the burn-in then
    # applies at its end, and the rate never reaches learning_rate=.
    drops = [step for step in schedule.steps if step > 0 and schedule.policy == "steps"]
    first_drop = min(drops, default=schedule.burn_in + 1)
    for key, reached, end in (
        ("max_batches", schedule.burn_in <= schedule.max_batches, schedule.max_batches),
        ("steps", schedule.burn_in < first_drop, first_drop),
    ):
        if schedule.max_batches and schedule.burn_in and not reached:
            return net.warning(
                f"does not end before {key}={end}: the rate never reaches learning_rate=", "burn_in"
            )
    return None
