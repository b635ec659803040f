"""Read and write video files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from darknet_builder.errors import ImageError, InputError
from darknet_builder.images.video import Frame, open_video, sample, write_video


def test_video_round_trip(tmp_path: Path) -> None:
    """Frames, size and rate are read as written."""
    path = tmp_path / "clip.mp4"
    with write_video(path, 12.5) as append:
        for grey in (0, 100, 200):
            append(np.full((48, 64, 3), grey, np.uint8))
        assert not path.exists()  # it appears when it is whole
    with open_video(path) as video:
        assert (video.fps, video.num_frames) == (12.5, 3)
        frames = list(video.frames())
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    assert [round(float(frame.mean())) for frame in frames] == pytest.approx([0, 100, 200], abs=6)


def test_a_video_that_fails_is_not_left_behind(tmp_path: Path) -> None:
    """No part of the file remains."""
    with (
        pytest.raises(RuntimeError, match="stop"),
        write_video(tmp_path / "clip.mp4", 10) as append,
    ):
        append(np.zeros((48, 64, 3), np.uint8))
        raise RuntimeError("stop")
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_videos(tmp_path: Path) -> None:
    """Each reason is one line."""
    (tmp_path / "text.mp4").write_text("hello")
    for name, text in {
        "none.mp4": "No such file or directory",
        "text.mp4": "not a video that OpenCV can read",
    }.items():
        with pytest.raises(ImageError) as raised, open_video(tmp_path / name):
            pass
        assert str(raised.value) == f"{tmp_path / name}: {text}"


def test_videos_that_cannot_be_written(tmp_path: Path) -> None:
    """The folder is missing, or the codec does not accept the size."""
    with pytest.raises(InputError) as raised, write_video(tmp_path / "none" / "a.mp4", 10):
        pass
    assert (
        str(raised.value) == f"{tmp_path}/none/a.mp4: cannot be written: No such file or directory"
    )
    with pytest.raises(InputError) as raised, write_video(tmp_path / "a.mp4", 10) as append:
        append(np.zeros((1, 1, 3), np.uint8))
    assert str(raised.value) == f"{tmp_path}/a.mp4: OpenCV cannot write a video of 1x1 pixels"
    assert not list(tmp_path.iterdir())


def test_frames_of_another_size_are_resized(tmp_path: Path) -> None:
    """Instead of left out, as OpenCV would."""
    with write_video(tmp_path / "a.mp4", 10) as append:
        append(np.zeros((48, 64, 3), np.uint8))
        append(np.full((96, 32, 3), 255, np.uint8))
    with open_video(tmp_path / "a.mp4") as video:
        frames = list(video.frames())
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 2
    assert frames[1].mean() > 200


def test_numbered_frames(tmp_path: Path) -> None:
    """Each with its number and its second."""
    with write_video(tmp_path / "a.mp4", 10) as append:
        for _ in range(5):
            append(np.zeros((48, 64, 3), np.uint8))
    with open_video(tmp_path / "a.mp4") as video:
        frames = list(sample(video.numbered(), every=2))
    assert [(frame.number, frame.time) for frame in frames] == [(0, 0), (2, 0.2), (4, 0.4)]


def test_a_sample_takes_no_frame_more_than_it_gives() -> None:
    """A stream may not send another one."""

    def frames() -> Iterator[Frame]:
        yield Frame(np.zeros((2, 2, 3), np.uint8), 0, 0.0)
        pytest.fail("nobody needs this one")

    assert len(list(sample(frames(), most=1))) == 1
