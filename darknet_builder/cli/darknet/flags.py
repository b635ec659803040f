"""The flags of the ``darknet`` program: the functions that read each, and those not supported."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill

TEST, DETECT, DEMO = "detector test", "detect", "detector demo"
TRAIN, VALID, MAP = "detector train", "detector valid", "detector map"
RECALL, ANCHORS = "detector recall", "detector calc_anchors"
PREDICT, CLASS_TRAIN, CLASS_VALID = "classifier predict", "classifier train", "classifier valid"
PARTIAL = "partial"
ALL = (
    TEST,
    DETECT,
    DEMO,
    TRAIN,
    VALID,
    MAP,
    RECALL,
    ANCHORS,
    PREDICT,
    CLASS_TRAIN,
    CLASS_VALID,
    PARTIAL,
)
_COMPUTING = tuple(function for function in ALL if function not in (ANCHORS, PARTIAL))
_TRAINING = (TRAIN, CLASS_TRAIN)
_DETECTING = (TEST, DETECT, DEMO)
_NO_WINDOWS = "no window is opened"
_NO_SERVER = "this program opens no port and sends nothing"
_BENCHMARK = "use 'darknet-builder benchmark'"


@dataclass(frozen=True)
class Flag:
    """A flag of the program.

    Attributes:
        name: the name with its dash.
        functions: the functions that read it; with others Darknet ignores it silently.
        kind: type of the value after it; None for a flag without a value.
        unsupported: why it is not supported; empty for a supported flag.
        unsupported_in: the functions that do not support it; empty for all of them, if
            ``unsupported`` is set.
    """

    name: str
    functions: tuple[str, ...]
    kind: type[int] | type[float] | type[str] | None = None
    unsupported: str = ""
    unsupported_in: tuple[str, ...] = ()

    def complaint(self, function: str) -> str:
        """Return why the flag has no effect on a function; empty if it has one."""
        if function not in self.functions:
            return f"{self.name} has no effect on '{function}', as in Darknet"
        if self.unsupported and function in (self.unsupported_in or self.functions):
            return f"{self.name} is not supported: {self.unsupported}"
        return ""


# detector.c:1949, classifier.c:1353, darknet.c:456
FLAGS = {
    flag.name: flag
    for flag in (
        Flag("-dont_show", ALL),
        Flag(
            "-thresh",
            (*_DETECTING, MAP, TRAIN),
            float,
            "a training prints no table of true positives",
            (TRAIN,),
        ),
        Flag("-iou_thresh", (MAP, TRAIN), float, "a training measures mAP@0.50", (TRAIN,)),
        Flag("-points", (MAP,), int),
        Flag("-nms", _DETECTING, float),
        Flag("-hier", (TEST,), float),
        Flag("-letter_box", (TEST, DEMO)),
        Flag("-ext_output", _DETECTING),
        Flag("-save_labels", (TEST,)),
        Flag("-out", (TEST, VALID), str),
        Flag("-out_filename", (DEMO,), str),
        Flag("-json_file_output", (DEMO,), str),
        Flag("-prefix", (DEMO,), str),
        Flag("-dontdraw_bbox", (DEMO,)),
        Flag("-time_limit_sec", (DEMO,), int),
        Flag("-map", (TRAIN,)),
        Flag("-mAP_epochs", (TRAIN,), int),
        Flag("-clear", _TRAINING),
        Flag("-topk", (CLASS_TRAIN,)),
        Flag("-t", (PREDICT,), int),
        Flag("-num_of_clusters", (ANCHORS,), int),
        Flag("-width", (ANCHORS,), int),
        Flag("-height", (ANCHORS,), int),
        Flag("-gpus", _COMPUTING, str),
        Flag("-i", _COMPUTING, int),
        Flag("-nogpu", ALL),
        Flag("-show", (ANCHORS,), unsupported=_NO_WINDOWS),
        Flag(
            "-show_imgs",
            _TRAINING,
            unsupported="use 'darknet-builder train --show-samples FILE.png'",
        ),
        Flag("-chart", _TRAINING, str, unsupported="chart.png is drawn from the log in backup="),
        Flag("-avgframes", (DEMO,), int, unsupported="each frame is detected by itself"),
        Flag("-c", (DEMO,), int, unsupported="cameras are not read; record a video file"),
        Flag("-s", (DEMO,), int, unsupported="every frame is shown with its own boxes"),
        Flag("-json_port", (DEMO,), int, unsupported=f"{_NO_SERVER}; use -json_file_output FILE"),
        Flag("-mjpeg_port", (DEMO, *_TRAINING), int, unsupported=_NO_SERVER),
        Flag(
            "-http_post_host", (DEMO,), str, unsupported=f"{_NO_SERVER}; use -json_file_output FILE"
        ),
        Flag("-benchmark", (DEMO,), unsupported=_BENCHMARK),
        Flag("-benchmark_layers", (TEST, DEMO, TRAIN), unsupported=_BENCHMARK),
        Flag("-dontuse_opencv", (CLASS_TRAIN,), unsupported="images are always read by OpenCV"),
        Flag("-cuda_debug_sync", ALL, unsupported="it belongs to Darknet's own CUDA code"),
    )
}
"""By name."""


def list_flags() -> str:
    """List the supported flags of each function, one function a line, for the help text."""
    letters = {float: " P", int: " N", str: " TEXT", None: ""}
    lines = []
    for function in ALL:
        words = [f"  {function}:"]
        for flag in FLAGS.values():
            if function in flag.functions and not flag.complaint(function):
                words.append(f"{flag.name}{letters[flag.kind]}".replace(" ", "\0"))
        # A flag and its value stay on one line.
        lines.append(fill(" ".join(words), 98, subsequent_indent=" " * 6, break_on_hyphens=False))
    return "\n".join(lines).replace("\0", " ")
