"""``detect`` with the toy network, in a folder with an image and a video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from darknet_builder.cli.program import main
from darknet_builder.images.files import write_image
from darknet_builder.images.video import write_video
from tests.helpers.toy_detector import BLUE, RED, squares, toy_files

Run = Callable[..., tuple[int, list[str], list[str]]]
Objects = Sequence[tuple[tuple[int, int, int], int, int]]
"""The squares of a picture: colour, column and row of each."""


def toy_command(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    frames: Iterable[Objects],
) -> Run:
    """Draw ``two.png`` and ``clip.mp4`` in a new working folder, and return the command, which
    gives status, lines of stdout, lines of stderr."""
    cfg, weights, names = toy_files(folder)
    (folder / "work").mkdir()
    monkeypatch.chdir(folder / "work")
    write_image("two.png", squares((RED, 0, 0), (BLUE, 3, 3), size=(160, 160)))
    with write_video("clip.mp4", 10) as append:
        for objects in frames:
            append(squares(*objects, size=(160, 160)))

    def command(*words: str) -> tuple[int, list[str], list[str]]:
        model = ["--cfg", cfg, "--weights", weights, "--names", names]
        try:
            status = main(["detect", *words, *model])
        except SystemExit as stop:  # argparse
            status = int(stop.code or 0)
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err.splitlines()

    return command
