"""Webcams and streams, with a real server on this machine."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from darknet_builder.errors import ImageError, InputError
from darknet_builder.images.sources import live
from darknet_builder.images.sources.live import LiveSource
from darknet_builder.images.video import write_video
from tests.helpers.camera import Camera, run_camera
from tests.helpers.web_server import serve


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[Camera]:
    """A camera whose pictures have 16 different levels of grey."""
    monkeypatch.setattr(live, "FIRST_WAIT", 0.01)
    with run_camera([np.full((48, 64, 3), level * 16, np.uint8) for level in range(16)]) as running:
        yield running


def level(image: np.ndarray) -> int:
    """The number of a picture of the camera."""
    return round(float(image.mean()) / 16)


def test_a_stream_to_its_end(camera: Camera) -> None:
    """Whoever does not ask to connect again sees the end; the frames come in their order."""
    camera.lengths = [10]
    with LiveSource(camera.url, reconnects=0) as source:
        frames = list(source.numbered())
        assert (source.fps, source.num_frames) == (25, 0)
    assert frames[0].image.shape == (48, 64, 3)
    assert [level(frame.image) for frame in frames] == [frame.number for frame in frames]
    assert source.num_received == 10 == len(frames) + source.num_dropped
    times = [frame.time for frame in frames]
    assert times == sorted(times) and 0 <= times[0] < times[-1] < 5


def test_only_the_newest_frame_is_kept(camera: Camera) -> None:
    """A slow consumer gets the present, and the rest is counted."""
    with LiveSource(camera.url) as source:
        frames = source.numbered()
        first = next(frames)
        time.sleep(0.3)
        late = next(frames)
        assert source.num_received - late.number <= 2
    assert late.number - first.number > 5
    assert source.num_dropped >= late.number - first.number - 1


def test_a_stream_that_dies_is_opened_again(camera: Camera) -> None:
    """The frames go on, and so do their numbers; closing ends the iteration."""
    camera.lengths = [4, 4]
    with LiveSource(camera.url, timeout=5) as source:
        numbers = []
        for frame in source.numbered():
            numbers.append(frame.number)
            if frame.number > 10:
                source.close()
    assert (camera.requests, source.num_reconnects) == (3, 2)
    assert numbers == sorted(set(numbers))


def test_the_attempts_have_a_limit(camera: Camera) -> None:
    """What was received is yielded first; then the reason, once."""
    camera.lengths = [4]
    received = []
    with (
        LiveSource(camera.url, timeout=5, reconnects=2) as source,
        pytest.raises(ImageError) as raised,
    ):
        for frame in source.frames():
            received.append(level(frame))
            camera.status = 503
    assert str(raised.value) == (
        f"{camera.url}: the stream was lost after 4 frames, and not restored in 2 attempts:"
        " HTTP 503 Service Unavailable"
    )
    assert received and received[-1] == 3


def test_each_wait_is_longer(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as long as the one before, up to a limit."""
    waits = []
    monkeypatch.setattr(live, "LONGEST_WAIT", 0.03)
    camera.lengths = [4]
    with LiveSource(camera.url, timeout=5, reconnects=4) as source:
        monkeypatch.setattr(source._closing, "wait", lambda seconds: waits.append(seconds))
        with pytest.raises(ImageError, match="not restored in 4 attempts"):
            for _ in source.frames():
                camera.status = 404
    assert waits == [0.01, 0.02, 0.03, 0.03]


def test_connections_that_soon_end_are_limited(camera: Camera) -> None:
    """A server that accepts and hangs up again and again is given up."""
    camera.lengths = [4] * 10
    with (
        LiveSource(camera.url, timeout=5, reconnects=3) as source,
        pytest.raises(ImageError, match="not restored in 3 attempts: the stream ended$"),
    ):
        list(source.frames())
    assert camera.requests == 4


@pytest.mark.parametrize(("reconnects", "tried"), [(0, ""), (1, ", and not restored in 1 attempt")])
def test_a_stream_that_stalls(camera: Camera, reconnects: int, tried: str) -> None:
    """Silence is a failure after the time limit."""
    camera.lengths, camera.stalls = [4, 4], True
    started = time.monotonic()
    with (
        LiveSource(camera.url, timeout=0.5, reconnects=reconnects) as source,
        pytest.raises(ImageError) as raised,
    ):
        list(source.frames())
    assert time.monotonic() - started < 4
    assert str(raised.value) == (
        f"{camera.url}: the stream was lost after {4 + 4 * reconnects} frames{tried}:"
        " no frame for 0.5 seconds"
    )


def test_opencv_that_hangs(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that ignores the time limit does not stop the program."""
    monkeypatch.setattr(live, "GRACE", 0.1)
    hanging = threading.Event()

    class Capture:
        """Opens, and never answers."""

        def get(self, which: int) -> float:
            return 0

        def read(self) -> tuple[bool, None]:
            hanging.wait(20)
            return False, None

        def release(self) -> None:
            """Nothing to release."""

    monkeypatch.setattr(live, "connect", lambda device, timeout: Capture())
    with (
        LiveSource(camera.url, timeout=0.2) as source,
        pytest.raises(ImageError, match="OpenCV does not answer"),
    ):
        list(source.frames())
    hanging.set()


def test_closing_while_it_waits(camera: Camera) -> None:
    """Nothing waits for a camera that is not wanted any more."""
    camera.lengths, camera.stalls = [4], True
    with LiveSource(camera.url, timeout=0.5) as source:
        frames = source.frames()
        next(frames)
        threading.Timer(0.2, source.close).start()
        assert len(list(frames)) <= 3
    assert source.num_received == 4


# ---- what cannot be opened -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "HTTP 404 Not Found"), (401, "HTTP 401 Unauthorized")]
)
def test_an_error_of_the_server(camera: Camera, status: int, reason: str) -> None:
    """Its own words."""
    camera.status = status
    with pytest.raises(ImageError) as raised, LiveSource(camera.url):
        raise AssertionError
    assert str(raised.value) == f"{camera.url}: {reason}"


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_nobody_listens(scheme: str) -> None:
    """The system's words, and no password."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}/live"
    login = "" if scheme == "http" else "ann:secret@"
    with pytest.raises(ImageError) as raised, LiveSource(f"{scheme}://{login}{place}", timeout=5):
        raise AssertionError
    assert str(raised.value) == f"{scheme}://{place}: cannot be reached: Connection refused"


def test_a_page_is_not_a_stream() -> None:
    """One line."""
    with serve() as site:
        site.files["/live"] = b"<html>" * 100
        with pytest.raises(ImageError) as raised, LiveSource(f"{site.url}/live", timeout=5):
            raise AssertionError
        assert str(raised.value) == f"{site.url}/live: not a stream that OpenCV can read"


def test_no_webcam() -> None:
    """One line that says what to check."""
    with pytest.raises(ImageError) as raised, LiveSource("61"):
        raise AssertionError
    assert str(raised.value) == (
        "webcam 61: no such camera, or it cannot be opened; check that it is connected and that no"
        " other program uses it"
    )


@pytest.mark.parametrize("address", ["photo.jpg", "ftp://a.org/live", "-1", "10200", ""])
def test_neither_number_nor_address(address: str) -> None:
    """Says what is expected."""
    with pytest.raises(InputError, match=r"^address=.*: expected the number of a webcam, or an "):
        LiveSource(address)


def test_settings_out_of_range() -> None:
    """Named by their argument."""
    with pytest.raises(InputError, match=r"^timeout=0: expected a number above 0$"):
        LiveSource(0, timeout=0)
    with pytest.raises(InputError, match=r"^reconnects=-1: expected 0 or more$"):
        LiveSource(0, reconnects=-1)


def test_how_a_source_is_opened(camera: Camera) -> None:
    """In one with statement."""
    source = LiveSource(camera.url)
    with pytest.raises(InputError, match=": is not open; use the source in a with statement$"):
        next(source.frames())
    with source:
        next(source.frames())
    with pytest.raises(InputError, match=": a live source can be opened once"), source:
        raise AssertionError


# ---- addresses -----------------------------------------------------------------------------------


def test_redirects(camera: Camera) -> None:
    """Are followed."""
    with run_camera([np.zeros((48, 64, 3), np.uint8)]) as other:
        other.redirect = camera.url
        with LiveSource(other.url) as source:
            assert next(source.frames()).shape == (48, 64, 3)
    assert camera.requests == 1


def test_a_login(camera: Camera) -> None:
    """Answers the question of the server, and stays out of the name."""
    camera.login = "Basic YW5uOnNlY3JldA=="
    address = camera.url.replace("://", "://ann:secret@")
    with LiveSource(address) as source:
        next(source.frames())
    assert (source.name, camera.requests) == (camera.url, 1)


def test_a_recorded_video(tmp_path: Path) -> None:
    """Of known length: all its frames, however slow the consumer is, and then the end."""
    with serve() as site:
        with write_video(tmp_path / "clip.mp4", 10) as append:
            for number in range(6):
                append(np.full((48, 64, 3), number * 40, np.uint8))
        site.files["/clip.mp4"] = (tmp_path / "clip.mp4").read_bytes()
        with LiveSource(f"{site.url}/clip.mp4") as source:
            frames = []
            for frame in source.numbered():
                frames.append(frame)
                time.sleep(0.02)
    assert (source.num_frames, source.fps, source.num_dropped) == (6, 10, 0)
    assert [frame.number for frame in frames] == list(range(6))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
