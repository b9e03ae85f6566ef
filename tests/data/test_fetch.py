"""Downloads from a server on this machine that also breaks off, sends wrong bytes and answers 404."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from netspec.cli import main
from netspec.data import fetch as module
from netspec.data.fetch import File, fetch, find, read_table, sources
from netspec.errors import SpecError

CONTENT = bytes(range(256)) * 5000
SHA1 = hashlib.sha1(CONTENT).hexdigest()


@dataclass
class Server:
    """How the server behaves: `breaks` counts the replies cut short, `resumes` says whether it knows ranges."""

    url: str = ""
    breaks: int = 0
    resumes: bool = True
    cut: int = 300_000
    starts: list[int] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "missing" in self.path:
                self.send_error(404)
                return
            content = CONTENT[::-1] if "wrong" in self.path else CONTENT
            ranged = self.headers.get("Range", "") if state.resumes else ""
            start = int(ranged.removeprefix("bytes=").rstrip("-") or 0)
            state.starts.append(start)
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if ranged else 200)
            if ranged:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = len(content)
            if state.breaks:
                state.breaks -= 1
                end = start + state.cut
            self.wfile.write(content[start:end])

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    state.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


def file(*urls: str, known: bool = True) -> File:
    return File("weights.bin", urls, ("sha1", SHA1) if known else None)


def test_whole(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch(file(f"{server.url}/a"), tmp_path / "new", progress=lambda *n: seen.append(n))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in path.parent.iterdir()] == ["weights.bin"]
    fetch(file(f"{server.url}/a"), tmp_path / "new")
    assert server.starts == [0]


def test_it_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.breaks = 2
    assert fetch(file(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert server.starts[0] == 0 and 0 < server.starts[1] < server.starts[2] < len(CONTENT)


def test_it_goes_on_after_another_run(server: Server, tmp_path: Path) -> None:
    (tmp_path / "weights.bin.part").write_bytes(CONTENT[:1000])
    assert fetch(file(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert server.starts == [1000]


def test_a_part_that_is_whole(server: Server, tmp_path: Path) -> None:
    (tmp_path / "weights.bin.part").write_bytes(CONTENT)
    assert fetch(file(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert server.starts == [len(CONTENT), 0]


def test_a_server_without_ranges(server: Server, tmp_path: Path) -> None:
    server.breaks, server.resumes = 1, False
    assert fetch(file(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert server.starts == [0, 0]


def test_a_server_that_always_breaks_off(server: Server, tmp_path: Path) -> None:
    server.breaks, server.cut = 1000, 0
    with pytest.raises(SpecError, match="weights.bin cannot be had"):
        fetch(file(f"{server.url}/a"), tmp_path)
    assert len(server.starts) == module.ATTEMPTS


def test_wrong_bytes(server: Server, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=f"wrong content: sha1 is .*, not {SHA1}"):
        fetch(file(f"{server.url}/wrong"), tmp_path)
    assert not list(tmp_path.iterdir())
    assert fetch(file(f"{server.url}/wrong", f"{server.url}/a"), tmp_path).read_bytes() == CONTENT


def test_a_part_of_something_else(server: Server, tmp_path: Path) -> None:
    """Its hash is wrong in the end; the next address, here the same, gives it anew."""
    (tmp_path / "weights.bin.part").write_bytes(b"x" * 1000)
    assert fetch(file(f"{server.url}/a", f"{server.url}/b"), tmp_path).read_bytes() == CONTENT


def test_a_damaged_file_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"damaged")
    assert fetch(file(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT


def test_every_address_is_named(server: Server, tmp_path: Path) -> None:
    urls = (f"{server.url}/missing", "http://127.0.0.1:1/x")
    with pytest.raises(SpecError, match="404 Not Found; .*connection refused.*--mirror"):
        fetch(file(*urls), tmp_path)


def test_mirrors_come_first(server: Server, tmp_path: Path) -> None:
    assert fetch(file("http://127.0.0.1:1/x"), tmp_path, [f"{server.url}/mirror/"]).read_bytes() == CONTENT


def test_the_table_names_what_it_should() -> None:
    known = sources()
    assert {"fcn8s-heavy-pascal", "vgg16", "bvlc_googlenet", "voc2011", "sbdd"} <= set(known)
    assert find("bvlc_alexnet", known).files[0].hash == ("sha1", "9116a64c0fbe4459d18f4bb6b56d647b63920377")
    with pytest.raises(SpecError, match="did you mean 'vgg16'"):
        find("vgg-16", known)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1", "'a' has no"),
        ("[a", "not a table of sources"),
        ('[[a.files]]\nfile = "../x"\nurls = ["http://h"]', "not the plain name"),
        ('[[a.files]]\nfile = "x"', "no list of urls"),
        ('[[a.files]]\nfile = "x"\nurls = ["file:///etc/passwd"]', "not a http or https address"),
    ],
)
def test_faulty_tables(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(SpecError, match=message):
        read_table(tmp_path / "mine.toml")


def test_the_verb(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mine.toml"
    entry = f'[mine]\nabout = "own"\n[[mine.files]]\nfile = "w.bin"\nurls = ["{server.url}/a"]\n'
    table.write_text(entry + f'sha1 = "{SHA1}"\n')
    monkeypatch.setenv("NETSPEC_SOURCES", str(table))
    assert main(["data", "get", "mine", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/w.bin").read_bytes() == CONTENT
    assert f"sha1 {SHA1} (as published)" in capsys.readouterr().out
    assert main(["data", "get"]) == 0
    assert "mine" in capsys.readouterr().out
    assert main(["data", "get", "mime"]) == 1
    assert "did you mean 'mine'?" in capsys.readouterr().err


def test_a_mirror_for_what_is_known(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETSPEC_MIRROR", server.url)
    assert main(["data", "get", "fcn8s-heavy-pascal", str(tmp_path)]) == 0
    assert (tmp_path / "fcn8s-heavy-pascal.caffemodel").read_bytes() == CONTENT
