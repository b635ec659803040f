"""The addresses of the server, over real connections: results, and every kind of refusal."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import pytest

from darknet_builder.boxes.records import Record, json_document
from darknet_builder.prediction.detector import Detector
from darknet_builder.serving import messages, server
from darknet_builder.serving.app import create_app
from darknet_builder.serving.settings import ServeSettings
from tests.helpers.served import Answer, Served, form, read, served
from tests.helpers.toy_detector import BLUE, RED, squares, toy_network
from tests.serving.test_detection_queue import Held

NAMES = ("red", "blue \x1b[31m\u202e\udcff <b>")
SMALL = ServeSettings(queue=3, max_upload=0.01, timeout=0.5)


def png(*objects: tuple[tuple[int, int, int], int, int]) -> bytes:
    """An image file of the toy network."""
    return bytes(cv2.imencode(".png", squares(*objects))[1])


TWO = png((RED, 1, 2), (BLUE, 3, 3))


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(toy_network(), names=NAMES, batch=4)


@pytest.fixture(scope="module")
def site(detector: Detector) -> Iterator[Served]:
    app = create_app(detector, name="toy", hosts=("127.0.0.1",))
    with served(app) as running:
        yield running


@pytest.fixture(scope="module")
def small(detector: Detector) -> Iterator[Served]:
    """With low limits."""
    with served(create_app(detector, settings=SMALL)) as running:
        yield running


@pytest.fixture
def held() -> Iterator[Held]:
    detector = Held(batch=2)
    yield detector
    detector.go.set()


def error(answer: Answer, status: int) -> str:
    """The sentence of a refusal."""
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert list(answer.json) == ["error"]
    return str(answer.json["error"])


# ---- results -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "image/jpeg; x=1"])
def test_bytes_of_an_image(site: Served, detector: Detector, kind: str) -> None:
    """The record is that of ``detect --json``."""
    answer = site.detect(TWO, kind=kind)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    expected = json_document([Record("image", detector(TWO))])
    assert answer.json == {"threshold": 0.25, "nms": 0.45, **expected}
    assert [found["name"] for found in answer.json["images"][0]["detections"]] == [*NAMES]


def test_control_characters_of_names_are_escaped(site: Served) -> None:
    body = site.detect(TWO).body.decode()
    assert r"blue \u001b[31m\u202e\udcff <b>" in body and "\x1b" not in body


def test_a_form_with_several_files(site: Served, detector: Detector) -> None:
    """One of them is not an image: the others are answered."""
    files = (("a.png", TWO), ("../../etc/passwd", b"root:x:0:0"), ("b\u202e.png", png()))
    answer = site.ask("POST", "/detect", *form(*files))
    expected = json_document(
        [Record("a.png", detector(TWO)), Record("b\u202e.png", detector(files[2][1]))], 1
    )
    assert answer.status == 200
    assert answer.json == {
        "threshold": 0.25,
        "nms": 0.45,
        **expected,
        "errors": [{"file": "../../etc/passwd", "error": "not an image that OpenCV can read"}],
    }


def test_parameters(site: Served) -> None:
    low = site.detect(TWO, "?threshold=0.01&nms=1").json
    assert (low["threshold"], low["nms"], len(low["images"][0]["detections"])) == (0.01, 1, 2)
    high = site.detect(TWO, "?threshold=1").json
    assert (high["threshold"], high["nms"], high["images"][0]["detections"]) == (1, 0.45, [])


def test_health(site: Served) -> None:
    answer = site.ask("GET", "/healthz")
    told = answer.json
    assert (answer.status, told["status"], told["model"]) == (200, "ok", "toy")
    assert (told["input_size"], told["batch"], told["queue"]) == ([32, 32], 4, 0)
    assert told["classes"] == [*NAMES] and told["queue_limit"] == 64


def test_headers(site: Served) -> None:
    """Other sites may neither read nor show anything."""
    page = site.ask("GET", "/", headers={"Origin": "https://example.com"})
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for answer in (page, site.detect(TWO), site.ask("GET", "/none")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_answers_on_one_connection_do_not_wait(site: Served) -> None:
    """For the acknowledgement of their first half, which clients delay by 40 ms."""
    connection, seconds = site.connect(), []
    for _ in range(6):
        start = time.perf_counter()
        connection.request("GET", "/healthz")
        assert read(connection).status == 200
        seconds.append(time.perf_counter() - start)
    connection.close()
    assert sorted(seconds)[1] < 0.03


def test_another_host_name_is_refused(site: Served) -> None:
    """A name of another site that leads to this machine."""
    assert site.ask("GET", "/", headers={"Host": "example.com"}).status == 400


# ---- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?threshold=0", "threshold=0: expected a number from 0.01 to 1"),
        ("?threshold=nan", "threshold=nan: expected a number from 0.01 to 1"),
        ("?nms=-0.1", "nms=-0.1: expected a number from 0 to 1"),
        ("?nms=", "nms=: expected a number from 0 to 1"),
        ("?treshold=0.5", "unknown parameter 'treshold'; did you mean 'threshold'?"),
    ],
)
def test_wrong_parameters(site: Served, query: str, sentence: str) -> None:
    assert error(site.detect(TWO, query), 400) == sentence


def test_not_an_image(site: Served) -> None:
    assert error(site.detect(b"garbage"), 422) == "not an image that OpenCV can read"
    assert error(site.detect(b""), 422) == "the file is empty"
    answer = site.ask("POST", "/detect", *form(("x.jpg", b"garbage")))
    assert error(answer, 422) == "x.jpg: not an image that OpenCV can read"
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60000).to_bytes(4, "big") * 2 + bytes(9)
    assert error(site.detect(bomb), 413) == (
        "has 60000 x 60000 pixels, more than the limit of 134,217,728"
    )


def test_a_path_is_not_read(site: Served, tmp_path: Path) -> None:
    """Not as the body, not as the name of a file, and not as an address."""
    path = tmp_path / "secret.png"
    path.write_bytes(TWO)
    assert error(site.detect(str(path).encode()), 422)
    assert error(site.ask("POST", "/detect", *form((str(path), b""))), 422)
    for address in (str(path), f"/..{path}", f"/detect/{path}"):
        assert error(site.ask("GET", address), 404) == f"nothing is at this address: GET {address}"


def test_other_content_types(site: Served) -> None:
    kind = "application/x-www-form-urlencoded"
    assert error(site.detect(TWO, kind=kind), 415).startswith(f"cannot read {kind}; send the bytes")
    assert error(site.detect(TWO, kind="text/plain"), 415)


def test_forms_without_files(site: Served) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    field = b'--edge\r\nContent-Disposition: form-data; name="image"\r\n\r\nx.jpg\r\n--edge--\r\n'
    assert error(site.ask("POST", "/detect", field, headers), 400) == (
        "the form field 'image' is not a file"
    )
    assert error(site.ask("POST", "/detect", b"--edge--\r\n", headers), 400)
    assert error(site.ask("POST", "/detect", b"nonsense", headers), 400)
    headers = {"Content-Type": "multipart/form-data"}
    assert (
        error(site.ask("POST", "/detect", field, headers), 400) == "Missing boundary in multipart."
    )


def test_wrong_methods_and_addresses(site: Served) -> None:
    answer = site.ask("GET", "/detect")
    assert error(answer, 405) == "this address does not support the method: GET /detect"
    assert answer.headers["allow"] == "POST"
    assert error(site.ask("POST", "/", TWO), 405)
    for path in ("/stream", "/stream.jsonl"):
        assert error(site.ask("GET", path), 404) == "this server was started without a source"


def test_nonsense_instead_of_http(site: Served) -> None:
    with socket.create_connection(("127.0.0.1", site.port), 20) as raw:
        raw.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")
    assert site.detect(TWO).status == 200


# ---- limits --------------------------------------------------------------------------------------


def test_too_many_bytes_by_their_announcement(small: Served) -> None:
    """Refused before anything is read, and the answer arrives although nothing was read."""
    connection = small.connect()
    connection.putrequest("POST", "/detect")
    connection.putheader("Content-Length", str(10 * 2**30))
    connection.putheader("Content-Type", "image/png")
    connection.endheaders()
    start = time.perf_counter()
    answer = read(connection)
    assert error(answer, 413) == (
        "the request has 10,737,418,240 bytes, more than the limit of 10,485"
    )
    assert answer.headers["connection"] == "close" and time.perf_counter() - start < 1
    connection.close()


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=edge"])
def test_too_many_bytes_without_announcement(small: Served, kind: str) -> None:
    """In pieces; the client sends on, and reads the answer nevertheless."""
    head = b'--edge\r\nContent-Disposition: form-data; name="i"; filename="i"\r\n\r\n'
    pieces = (head + bytes(5000) for _ in range(20))
    answer = small.ask("POST", "/detect", pieces, {"Content-Type": kind})
    assert error(answer, 413) == "the request has more than 10,485 bytes"


def test_a_slow_upload(small: Served) -> None:
    connection = small.connect()
    connection.putrequest("POST", "/detect")
    connection.putheader("Content-Length", "1000")
    connection.putheader("Content-Type", "image/png")
    connection.endheaders(b"the beginning")
    assert error(read(connection), 408) == "the upload took more than 0.5 seconds"
    connection.close()
    assert small.ask("GET", "/healthz").json["queue"] == 0


def test_too_many_files(small: Served) -> None:
    answer = small.ask("POST", "/detect", *form(*[("a.png", TWO)] * 4))
    assert error(answer, 400) == "Too many files. Maximum number of files is 3."
    assert len(small.ask("POST", "/detect", *form(*[("a.png", TWO)] * 3)).json["images"]) == 3


def test_a_full_queue(held: Held) -> None:
    """503 for the fourth image, and the three before it are answered."""
    app = create_app(held, settings=ServeSettings(queue=3))
    with served(app) as site, ThreadPoolExecutor(3) as clients:
        waiting = [clients.submit(site.detect, TWO) for _ in range(3)]
        wait_for(lambda: site.ask("GET", "/healthz").json["queue"] == 3)
        full = site.detect(TWO)
        assert error(full, 503) == "3 images are being worked on; try again later"
        assert full.headers["retry-after"] == "1"
        held.go.set()
        assert [client.result(20).status for client in waiting] == [200] * 3
        assert site.ask("GET", "/healthz").json["queue"] == 0
        assert site.detect(TWO).status == 200


def test_a_form_for_which_the_queue_is_too_full(held: Held) -> None:
    app = create_app(held, settings=ServeSettings(queue=3))
    with served(app) as site, ThreadPoolExecutor(1) as client:
        first = client.submit(site.detect, TWO)
        assert held.begun.wait(20)
        answer = site.ask("POST", "/detect", *form(*[("a.png", TWO)] * 3))
        assert error(answer, 503) == "2 images are being worked on; try again later"
        held.go.set()
        assert first.result(20).status == 200


def test_a_slow_network(held: Held) -> None:
    """504, and the image that waits is not computed afterwards."""
    with served(create_app(held, settings=SMALL)) as site:
        with ThreadPoolExecutor(2) as clients:
            first = clients.submit(site.detect, TWO)
            assert held.begun.wait(20)
            second = clients.submit(site.detect, TWO)
            for client in (first, second):
                sentence = "not answered within 0.5 seconds; try again later"
                assert error(client.result(20), 504) == sentence
        held.go.set()
        assert site.detect(TWO).status == 200
        assert held.sizes == [1, 1]


@pytest.mark.parametrize(
    ("failure", "status", "sentence"),
    [
        (ValueError("a fault"), 500, "internal error; the log of the server has the reason"),
        (MemoryError(), 503, "not enough memory"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_failing_network(
    held: Held, failure: Exception, status: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server goes on."""

    def fail(x: object) -> None:
        raise failure

    monkeypatch.setattr(held, "runner", fail)
    held.go.set()
    with served(create_app(held)) as site:
        assert error(site.detect(TWO), status).startswith(sentence)
        monkeypatch.undo()
        assert site.detect(TWO).status == 200


def test_200_connections_at_once(detector: Detector) -> None:
    """Every one is answered: with detections, or that the queue is full."""
    app = create_app(detector, settings=ServeSettings(queue=20))
    with served(app) as site:
        connections = [site.connect() for _ in range(200)]
        for connection in connections:
            connection.connect()
        for connection in connections:
            connection.request("POST", "/detect", TWO, {"Content-Type": "image/png"})
        answers = [read(connection) for connection in connections]
        for connection in connections:
            connection.close()
        statuses = [answer.status for answer in answers]
        assert statuses.count(200) >= 20 and statuses.count(200) + statuses.count(503) == 200
        assert app.state.service.answered == statuses.count(200)


# ---- stopping ------------------------------------------------------------------------------------


def test_stopping_loses_nothing(held: Held) -> None:
    """Requests that were received are answered; then nobody listens."""
    with served(create_app(held)) as site, ThreadPoolExecutor(5) as clients:
        waiting = [clients.submit(site.detect, TWO) for _ in range(5)]
        wait_for(lambda: site.ask("GET", "/healthz").json["queue"] == 5)
        site.stop()
        wait_for(lambda: refuses(site))
        held.go.set()
        answers = [client.result(20) for client in waiting]
        assert [answer.status for answer in answers] == [200] * 5
        assert {answer.headers["connection"] for answer in answers} == {"close"}
        site.thread.join(20)
        assert not site.thread.is_alive()


def test_idle_connections_are_closed(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a request, and with half of one; not while an answer is awaited."""
    monkeypatch.setattr(server, "_IDLE", 0.1)
    monkeypatch.setattr(server, "_TICKS", 1)
    with served(create_app(detector)) as site:
        for beginning in (b"", b"POST /detect HTTP/1.1\r\nHost: 127"):
            with socket.create_connection(("127.0.0.1", site.port), 20) as raw:
                raw.sendall(beginning)
                assert raw.recv(100) == b""
        assert site.detect(TWO).status == 200


def test_the_rest_of_a_refused_upload_is_dropped_for_a_while(
    small: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for ever."""
    monkeypatch.setattr(messages, "_LINGER", 0.2)
    with socket.create_connection(("127.0.0.1", small.port), 20) as raw:
        raw.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        received = b""
        while piece := raw.recv(1000):
            received += piece
    assert received.startswith(b"HTTP/1.1 413 ") and received.endswith(b"}\n")


def wait_for(condition: object) -> None:
    """Until it holds; at most 20 seconds."""
    end = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)


def refuses(site: Served) -> bool:
    """Whether nobody listens any more."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", site.port), 1):
        return False
    return True
