"""Live results: a real camera on the local network and a video file, to several watchers."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from darknet_builder.errors import InputError
from darknet_builder.images.files import decode_image
from darknet_builder.images.video import write_video
from darknet_builder.prediction.detector import Detector
from darknet_builder.serving import broadcast
from darknet_builder.serving.app import create_app
from darknet_builder.serving.broadcast import Shown, Watcher, open_source
from darknet_builder.serving.settings import ServeSettings
from tests.helpers.camera import Camera, run_camera
from tests.helpers.served import Served, served
from tests.helpers.toy_detector import BLUE, NAMES, RED, squares, toy_network

FRAMES = [squares((color, 1, 2), size=(160, 160)) for color in (RED, BLUE, RED)]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(toy_network(), names=NAMES, batch=2)


@pytest.fixture
def cam() -> Iterator[Camera]:
    """A camera that shows the frames again and again."""
    with run_camera(FRAMES) as running:
        yield running


@pytest.fixture
def clip(tmp_path: Path) -> str:
    with write_video(tmp_path / "clip.mp4", fps=20) as append:
        for frame in FRAMES:
            append(frame)
    return str(tmp_path / "clip.mp4")


def watch(site: Served, path: str) -> http.client.HTTPResponse:
    connection = site.connect()
    connection.request("GET", path)
    return connection.getresponse()


def picture(response: http.client.HTTPResponse) -> np.ndarray:
    """The next picture of an MJPEG response."""
    assert response.readline() == b"--frame\r\n"
    assert response.readline() == b"Content-Type: image/jpeg\r\n"
    name, length = response.readline().split(b": ")
    assert (name, response.readline()) == (b"Content-Length", b"\r\n")
    image = decode_image(response.read(int(length)))
    assert response.readline() == b"\r\n"
    return image


def wait_until(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_camera_to_several_watchers(detector: Detector, cam: Camera) -> None:
    """One connection to the camera, and none before and after somebody watches; photographs are
    answered meanwhile."""
    app = create_app(detector, source=open_source(cam.url))
    with served(app) as site:
        before = cam.requests
        lines, pictures = watch(site, "/stream.jsonl"), watch(site, "/stream")
        assert lines.getheader("content-type") == "application/jsonl"
        assert pictures.getheader("content-type") == "multipart/x-mixed-replace; boundary=frame"
        connected = cam.requests
        records = [json.loads(lines.readline()) for _ in range(5)]
        assert {record["file"] for record in records} == {cam.url}
        assert {record["detections"][0]["name"] for record in records} == {"red", "blue"}
        numbers = [record["frame"] for record in records]
        assert numbers == sorted(set(numbers)) and len(numbers) == 5
        image = picture(pictures)
        assert image.shape == (160, 160, 3) and picture(pictures).any()
        # The frames have no green or grey; the label's letters and edges of its box have.
        assert (np.ptp(image.astype(int), axis=2) < 40).any(where=image.max(2) > 100)
        photo = bytes(cv2.imencode(".png", FRAMES[0])[1])
        assert len(site.detect(photo).json["images"][0]["detections"]) == 1
        assert cam.requests == connected > before == 0
        lines.close()
        pictures.close()
        broadcasting = app.state.service._live
        wait_until(lambda: broadcasting._thread is None)
        assert picture(watch(site, "/stream")).any() and cam.requests > connected


def test_a_video_at_its_own_speed(detector: Detector, clip: str) -> None:
    """It ends, and begins again for the next watcher."""
    with served(create_app(detector, source=open_source(clip))) as site:
        for _ in range(2):
            start = time.perf_counter()
            records = [json.loads(line) for line in watch(site, "/stream.jsonl")]
            assert time.perf_counter() - start > 0.09
            assert [record["frame"] for record in records] == [0, 1, 2]
            assert records[0]["detections"][0]["name"] == "red"


def test_late_frames_are_left_out(clip: str) -> None:
    name, open_frames = open_source(clip)
    with open_frames() as frames:
        first = next(frames)
        time.sleep(0.11)
        assert (name, first.number, [frame.number for frame in frames]) == (clip, 0, [2])


def test_stopping_ends_streams(detector: Detector, cam: Camera) -> None:
    with served(create_app(detector, source=open_source(cam.url))) as site:
        stream = watch(site, "/stream.jsonl")
        assert stream.readline()
        site.stop()
        for _ in stream:
            pass
        site.thread.join(20)
        assert not site.thread.is_alive()


def test_a_camera_that_goes_away(detector: Detector, cam: Camera, monkeypatch: Any) -> None:
    """The stream ends; who comes later is told why there is none."""
    monkeypatch.setattr(broadcast, "LiveSource", quick)
    with served(create_app(detector, source=open_source(cam.url))) as site:
        cam.lengths = [5]
        stream = watch(site, "/stream.jsonl")
        cam.status = 404
        assert len(list(stream)) >= 1
        answer = site.ask("GET", "/stream")
        assert answer.status == 503 and answer.headers["retry-after"] == "5"
        assert answer.json["error"].startswith(f"{cam.url}: ") and "404" in answer.json["error"]
        cam.status = 200
        assert watch(site, "/stream").status == 200


def quick(address: str) -> Any:
    """A live source that does not connect again."""
    from darknet_builder.images.sources.live import LiveSource

    return LiveSource(address, timeout=2, reconnects=0)


def test_a_camera_that_stalls(detector: Detector, cam: Camera) -> None:
    """504 after the server's limit, and other addresses answer meanwhile."""
    cam.lengths, cam.stalls = [0], True
    app = create_app(detector, source=open_source(cam.url), settings=ServeSettings(timeout=0.3))
    with served(app) as site:
        answer = site.ask("GET", "/stream.jsonl")
        assert answer.status == 504
        assert answer.json == {"error": f"{cam.url}: no frame within 0.3 seconds"}
        assert site.ask("GET", "/healthz").status == 200
        cam.stopped.set()


def test_a_slow_watcher_misses_frames() -> None:
    """It gets the newest picture, and the lines of the newest frames."""

    async def watched(pictures: bool) -> list[Shown | None]:
        watcher = Watcher(pictures)
        for number in range(150):
            watcher.give(Shown(str(number).encode(), b""))
        watcher.end("over")
        frames = [await watcher.next()]
        while frames[-1] is not None:
            frames.append(await watcher.next())
        return frames

    assert asyncio.run(watched(pictures=True)) == [None]
    lines = [frame.line for frame in asyncio.run(watched(pictures=False)) if frame is not None]
    assert lines == [str(number).encode() for number in range(51, 150)]


def test_too_many_watchers(detector: Detector, cam: Camera, monkeypatch: Any) -> None:
    monkeypatch.setattr(broadcast, "MOST_WATCHERS", 1)
    with served(create_app(detector, source=open_source(cam.url))) as site:
        first = watch(site, "/stream")
        answer = site.ask("GET", "/stream.jsonl")
        assert (answer.status, answer.json) == (
            503, {"error": "too many clients watch this source"}
        )  # fmt: skip
        assert picture(first).any()


class Remembering(Detector):
    """A detector whose network keeps state from frame to frame."""

    has_memory = True  # type: ignore[assignment]


def test_networks_with_state_have_no_source() -> None:
    """Requests would disturb the state; without a source they are welcome."""
    detector = Remembering(toy_network())
    with pytest.raises(InputError, match="^webcam 0: the network keeps state from frame to frame"):
        create_app(detector, source=open_source("0"))
    assert create_app(detector).routes
