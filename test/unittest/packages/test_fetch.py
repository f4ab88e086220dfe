"""Downloads against a server that misbehaves on order."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from infrasim.errors import ExitCode, HostError
from infrasim.packages.fetch import FileGoneError, Network, RemoteFile, fetch

pytestmark = pytest.mark.allow("socket")

CONTENT = bytes(range(256)) * 1600
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """Answers each request by the next word of ``script``, then with the content."""

    script: list[str] = field(default_factory=list)
    content: bytes = CONTENT
    ranges: list[str | None] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/pool/x_1%2b2.deb"

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.ranges.append(wanted)
        act = self.script.pop(0) if self.script else "whole"
        if act.isdigit():
            request.send_response(int(act))
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        match = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        start = int(match.group(1)) if match and act != "ignore-range" else 0
        if start >= len(self.content):
            request.send_response(416)
            request.end_headers()
            return
        body = self.content[start:]
        request.send_response(206 if start else 200)
        if start:
            shown = start + 1 if act == "wrong-range" else start
            request.send_header("Content-Range", f"bytes {shown}-{len(self.content) - 1}/{len(self.content)}")
        if act != "no-length":
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        cut = act.partition("cut-")[2]
        request.wfile.write(body[: int(cut)] if cut else body)


@pytest.fixture
def server() -> Iterator[Server]:
    """A running server."""
    made = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        made.port = listening.server_address[1]
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        listening.shutdown()
        thread.join()


@dataclass
class Told:
    """A reporter that remembers."""

    steps: list[str] = field(default_factory=list)
    bytes_: list[tuple[str, int, int | None]] = field(default_factory=list)

    def step(self, text: str) -> None:
        self.steps.append(text)

    def advance(self, name: str, done_bytes: int, total_bytes: int | None) -> None:
        self.bytes_.append((name, done_bytes, total_bytes))


@dataclass
class Bench:
    """A server, a folder, and a fetch that never sleeps."""

    server: Server
    folder: Path
    told: Told = field(default_factory=Told)
    pauses_s: list[float] = field(default_factory=list)

    @property
    def target(self) -> Path:
        return self.folder / "x.deb"

    @property
    def part(self) -> Path:
        return self.folder / "x.deb.part"

    def fetch(
        self, *, sha256: str = DIGEST, size_bytes: int | None = len(CONTENT), attempts: int = 5
    ) -> Path:
        remote = RemoteFile(self.server.url, "x.deb", sha256, size_bytes)
        network = Network(attempts=attempts, pause=self.pauses_s.append)
        return fetch(remote, self.folder, report=self.told, network=network)

    def left(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def bench(server: Server, tmp_path: Path) -> Bench:
    """Nothing is downloaded yet."""
    return Bench(server, tmp_path / "made" / "on-demand")


def test_whole(bench: Bench) -> None:
    assert bench.fetch() == bench.target
    assert bench.target.read_bytes() == CONTENT
    assert bench.left() == ["x.deb"]
    assert bench.told.bytes_[0] == ("x.deb", 0, len(CONTENT))
    assert bench.told.bytes_[-1] == ("x.deb", len(CONTENT), len(CONTENT))


def test_without_a_known_size_the_answer_tells_it(bench: Bench) -> None:
    bench.fetch(size_bytes=None)
    assert bench.told.bytes_[-1] == ("x.deb", len(CONTENT), len(CONTENT))


def test_nobody_knows_the_size(bench: Bench) -> None:
    bench.server.script = ["no-length"]
    bench.fetch(size_bytes=None)
    assert bench.told.bytes_[-1] == ("x.deb", len(CONTENT), None)


def test_what_is_there_and_right_is_not_downloaded(bench: Bench) -> None:
    bench.fetch()
    bench.server.ranges.clear()
    bench.fetch()
    assert bench.server.ranges == []


def test_what_is_there_and_wrong_is_downloaded_again(bench: Bench) -> None:
    bench.folder.mkdir(parents=True)
    bench.target.write_bytes(b"x" * len(CONTENT))
    bench.fetch()
    assert bench.target.read_bytes() == CONTENT
    assert bench.told.steps == [f"{bench.target} is not what it should be; downloading it again"]


def test_a_broken_connection_is_resumed_with_growing_pauses(bench: Bench) -> None:
    bench.server.script = ["cut-200000", "cut-100000"]
    bench.fetch()
    assert bench.target.read_bytes() == CONTENT
    assert bench.server.ranges == [None, f"bytes={3 * 65536}-", f"bytes={4 * 65536}-"]
    assert bench.pauses_s == [1, 2]
    assert re.fullmatch(r"x\.deb: the connection broke; trying again in 1 s", bench.told.steps[0])


def test_an_earlier_part_is_resumed(bench: Bench) -> None:
    bench.folder.mkdir(parents=True)
    bench.part.write_bytes(CONTENT[:4096])
    bench.fetch()
    assert (bench.target.read_bytes(), bench.server.ranges) == (CONTENT, ["bytes=4096-"])


def test_an_earlier_part_that_is_whole_needs_no_server(bench: Bench) -> None:
    bench.folder.mkdir(parents=True)
    bench.part.write_bytes(CONTENT)
    bench.fetch()
    assert (bench.target.read_bytes(), bench.server.ranges) == (CONTENT, [])


@pytest.mark.parametrize("part", [b"old" * 1000, b"old" * 400000], ids=["shorter", "longer"])
@pytest.mark.parametrize("size_bytes", [len(CONTENT), None], ids=["size-known", "size-unknown"])
def test_an_earlier_part_of_another_file_is_thrown_away(
    bench: Bench, part: bytes, size_bytes: int | None
) -> None:
    bench.folder.mkdir(parents=True)
    bench.part.write_bytes(part)
    bench.fetch(size_bytes=size_bytes)
    assert bench.target.read_bytes() == CONTENT
    assert bench.server.ranges[-1] is None


@pytest.mark.parametrize("act", ["ignore-range", "wrong-range", "416"])
def test_a_server_that_does_not_resume(bench: Bench, act: str) -> None:
    bench.folder.mkdir(parents=True)
    bench.part.write_bytes(CONTENT[:4096])
    bench.server.script = [act]
    bench.fetch()
    assert bench.target.read_bytes() == CONTENT


@pytest.mark.parametrize("status", ["500", "503", "429"])
def test_a_passing_trouble_of_the_server(bench: Bench, status: str) -> None:
    bench.server.script = [status, status]
    bench.fetch()
    assert bench.pauses_s == [1, 2]


def test_wrong_content_is_refused_at_once_and_not_kept(bench: Bench) -> None:
    bench.server.content = b"y" * len(CONTENT)
    got = hashlib.sha256(bench.server.content).hexdigest()
    with pytest.raises(HostError) as caught:
        bench.fetch()
    assert caught.value.message == (
        f"{bench.server.url}: wrong content: got SHA-256 {got} in {len(CONTENT)} bytes, "
        f"wanted {DIGEST} in {len(CONTENT)} bytes"
    )
    assert caught.value.exit_code == ExitCode.HOST
    assert (bench.left(), bench.pauses_s) == ([], [])


@pytest.mark.parametrize("length", [1, len(CONTENT) * 2])
def test_a_file_of_another_length_is_refused(bench: Bench, length: int) -> None:
    bench.server.content = (CONTENT * 2)[:length]
    with pytest.raises(
        HostError, match=r"wrong content|the connection ended after 1 of 409600 bytes|\(tried 5"
    ):
        bench.fetch()
    assert "x.deb" not in bench.left()


def test_truncated_for_ever(bench: Bench) -> None:
    bench.server.script = ["cut-70000", *["cut-10"] * 4]
    with pytest.raises(
        HostError, match=r"cannot download http://.*: the connection broke \(tried 5 times\)"
    ) as caught:
        bench.fetch()
    assert "infrasim init --from DIR" in caught.value.hint
    assert bench.pauses_s == [1, 2, 4, 8]
    assert bench.left() == ["x.deb.part"], "the next call goes on from there"


def test_a_file_the_server_does_not_have(bench: Bench) -> None:
    bench.server.script = ["404"]
    with pytest.raises(FileGoneError, match=r"the server has no such file \(404\)"):
        bench.fetch()
    assert bench.pauses_s == []


def test_a_file_we_may_not_have(bench: Bench) -> None:
    bench.server.script = ["403"]
    with pytest.raises(HostError, match="the server answered 403 Forbidden"):
        bench.fetch()


def test_no_network(bench: Bench) -> None:
    bench.server.port = 1
    with pytest.raises(HostError, match=r"connection refused \(tried 2 times\)"):
        bench.fetch(attempts=2)
    assert bench.left() == []


def test_the_disk_is_known_to_be_too_small(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 2**20})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(HostError) as caught:
        bench.fetch(size_bytes=5 * 2**20)
    assert caught.value.message == (
        f"the disk that holds {bench.folder} is full: x.deb needs 5.0 MiB, 1.0 MiB are free"
    )
    assert (bench.left(), bench.server.ranges) == ([], [])


def test_the_disk_becomes_full(bench: Bench) -> None:
    bench.folder.mkdir(parents=True)
    bench.part.symlink_to("/dev/full")
    with pytest.raises(
        HostError, match=r"the disk that holds .* is full: x\.deb needs more, .* MiB are free"
    ):
        bench.fetch(size_bytes=None)
    assert bench.left() == []


def test_the_folder_cannot_be_written(bench: Bench) -> None:
    bench.folder.mkdir(parents=True)
    bench.part.mkdir()
    with pytest.raises(HostError, match=r"cannot write .*x\.deb\.part: Is a directory"):
        bench.fetch(size_bytes=None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RemoteFile("http://h/x", "../x", DIGEST), "'../x' cannot be a file name"),
        (lambda: RemoteFile("http://h/x", "", DIGEST), "'' cannot be a file name"),
        (lambda: RemoteFile("http://h/x", ".x", DIGEST), "'.x' cannot be a file name"),
        (lambda: RemoteFile("http://h/x", "x", "abc"), "'abc' is no SHA-256"),
    ],
)
def test_what_cannot_be_a_download(make: Callable[[], object], message: str) -> None:
    with pytest.raises(HostError, match=re.escape(message)):
        make()
