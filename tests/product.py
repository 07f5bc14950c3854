"""simpang as installed, seen from outside: its process, its Unix socket, its command line, its files."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import psutil

SIMPANG = Path(sys.executable).parent / "simpang"
PAGE = ("127.0.0.1", 8080)

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Product:
    """A data folder, its simpang.toml and the process that runs on them. log: all that it wrote to stderr."""

    data: Path
    options: Sequence[str] = ()
    prefix: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def config(self) -> Path:
        return self.data / "site.toml"

    @property
    def log(self) -> str:
        return (self.data.parent / f"{self.data.name}.log").read_text()

    @property
    def said(self) -> str:
        """All that it wrote to stdout."""
        return (self.data.parent / f"{self.data.name}.out").read_text()

    def configure(self, text: str, secrets: Mapping[str, str] | None = None) -> None:
        self.data.mkdir(exist_ok=True)
        self.config.write_text(text)
        folder = self.data / "secrets"
        folder.mkdir(mode=0o700, exist_ok=True)
        for name, secret in (secrets or {}).items():
            (folder / name).write_text(secret)
            (folder / name).chmod(0o600)

    def start(self, *, ready: bool = True) -> None:
        """`simpang run`; waits until it answers."""
        command = [str(SIMPANG), "--config", str(self.config), "run", "--data", str(self.data), *self.options]
        self.launch([*self.prefix, *command])
        if ready:
            self.wait_ready()

    def launch(self, command: Sequence[str], **more: Any) -> None:
        out, log = (self.data.parent / f"{self.data.name}.{name}" for name in ("out", "log"))
        with out.open("ab") as said, log.open("ab") as logged:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=logged, cwd=self.data.parent, **more
            )

    def wait_ready(self, seconds: float = 20) -> None:
        def ready() -> bool:
            assert self.running.poll() is None, f"exit {self.running.returncode}:\n{self.log[-3000:]}"
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.get("/healthz").status == 200
            return False

        until(ready, seconds, lambda: f"it does not answer:\n{self.log[-3000:]}")

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Exit status, and the seconds that it took."""
        begun = time.monotonic()
        self.running.send_signal(number)
        status = self.running.wait(20)
        return status, time.monotonic() - begun

    def end(self) -> None:
        """Whatever state it is in, nothing of it is left."""
        if self.process is None:
            return
        family = self.family() if self.process.poll() is None else []
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(8)
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait()

    def family(self) -> list[psutil.Process]:
        """The process and all below it."""
        root = psutil.Process(self.running.pid)
        return [root, *root.children(recursive=True)]

    def recorders(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.running.pid).children()
            return [one for one in children if "simpang_buffer.recording.process" in " ".join(one.cmdline())]
        return []

    def request(
        self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None
    ) -> Answer:
        """Over the Unix socket, whose callers are installers."""
        connection = _UnixConnection(self.data / "api.sock")
        return _exchange(connection, method, path, body, query, {})

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, query=query)

    def cli(self, *arguments: str, given: str = "", seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """The command line, asking this gateway."""
        where = ["--config", str(self.config), "--socket", str(self.data / "api.sock")]
        return subprocess.run(
            [str(SIMPANG), *where, *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            cwd=self.data.parent,
        )

    def cameras(self) -> dict[str, Any]:
        return {camera["id"]: camera for camera in self.get("/api/v1/cameras").json["items"]}

    def health(self) -> dict[str, list[Any]]:
        """Items by their code."""
        found: dict[str, list[Any]] = {}
        for item in self.get("/api/v1/health").json["items"]:
            found.setdefault(item["code"], []).append(item)
        return found

    def wait_recording(self, *ids: str, seconds: float = 30) -> None:
        """Until these cameras, or at least one and all that there are, are written."""

        def all_recorded() -> bool:
            cameras = self.cameras()
            wanted = ids or tuple(cameras)
            return bool(wanted) and all(
                one in cameras
                and cameras[one]["state"] == "recording"
                and all(stream["last_fragment"] for stream in cameras[one]["streams"])
                for one in wanted
            )

        until(all_recorded, seconds, lambda: f"not recorded: {self.cameras()}\n{self.log[-3000:]}")

    def coverage(self, camera: str, start_us: int, end_us: int, stream: str = "main") -> dict[str, Any]:
        found = self.get(
            f"/api/v1/cameras/{camera}/streams/{stream}/coverage",
            {"start": rfc3339(start_us), "end": rfc3339(end_us)},
        )
        assert found.status == 200, found.body
        result: dict[str, Any] = found.json
        return result

    def wait_footage(
        self, camera: str, seconds: float, stream: str = "main", within: float = 60
    ) -> tuple[int, int]:
        """Until its newest span is so long; returns its start and end in microseconds."""
        span = (0, 0)

        def enough() -> bool:
            nonlocal span
            now = now_us()
            spans = self.coverage(camera, now - 3_600_000_000, now + 1_000_000, stream)["spans"]
            if spans:
                span = (micros(spans[-1]["start"]), micros(spans[-1]["end"]))
            return span[1] - span[0] >= seconds * 1e6

        until(enough, within, lambda: f"{camera}/{stream} has {span}\n{self.log[-3000:]}")
        return span

    def check(self, *options: str) -> subprocess.CompletedProcess[str]:
        return self.cli("buffer", "check", "--data", str(self.data), *options)

    def link(self) -> str:
        """The address printed last, with its token."""
        found: list[str] = re.findall(r"^Page: (\S+)$", self.said, re.MULTILINE)
        return found[-1]


@contextlib.contextmanager
def product(folder: Path, options: Sequence[str] = (), prefix: Sequence[str] = ()) -> Iterator[Product]:
    """A data folder `folder`/data; whatever was started in it ends."""
    made = Product(folder / "data", options, prefix)
    try:
        yield made
    finally:
        made.end()


def page(
    method: str, path: str, headers: Mapping[str, str] | None = None, address: tuple[str, int] = PAGE
) -> Answer:
    """Over TCP, as a browser comes."""
    connection = http.client.HTTPConnection(*address, timeout=20)
    return _exchange(connection, method, path, None, None, headers or {})


def until(true: Callable[[], T | None], seconds: float, words: Callable[[], str]) -> T:
    """The first result that is true; fails with `words` after so long."""
    deadline = time.monotonic() + seconds
    while not (result := true()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {words()}"
        time.sleep(0.1)
    assert result is not None
    return result


def free_address() -> tuple[str, int]:
    """For a page outside the namespace, where port 8080 may be somebody's."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        host, port = free.getsockname()
        return str(host), int(port)


def toml(
    more: str = "",
    *,
    discovery: str = "enabled = false",
    flush_s: float = 2,
    listen: tuple[str, int] = PAGE,
    min_free: str = "20 MB",
) -> str:
    """A simpang.toml for loopback; `more` is appended."""
    host, port = listen
    return (
        '[site]\nid = "digulis"\nname = "Bundaran Digulis"\ntime_zone = "Asia/Pontianak"\n'
        f'[buffer]\nmax_bytes = "1 GB"\nmin_free = "{min_free}"\nsegment_s = 10\nflush_s = {flush_s}\n'
        f'[web]\nlisten = []\nplain_listen = ["{host}:{port}"]\n[discovery]\n{discovery}\n{more}'
    )


def camera(id_: str, url: str = "", *, more: str = "", record: str = '"main"') -> str:
    """A [[camera]] by its RTSP address, or by what `more` says."""
    where = f'url = "{url}"\n' if url else ""
    return f'[[camera]]\nid = "{id_}"\n{where}record = [{record}]\n{more}\n'


def now_us() -> int:
    return time.time_ns() // 1000


def rfc3339(time_us: int) -> str:
    moment = datetime.fromtimestamp(time_us // 1_000_000, UTC).replace(microsecond=time_us % 1_000_000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def micros(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Any,
    query: Mapping[str, str] | None,
    headers: Mapping[str, str],
) -> Answer:
    data = None if body is None else json.dumps(body).encode()
    sent = {**headers, **({} if data is None else {"Content-Type": "application/json"})}
    with contextlib.closing(connection):
        connection.request(method, f"{path}?{urlencode(query)}" if query else path, data, sent)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: os.PathLike[str]) -> None:
        super().__init__("localhost", timeout=30)
        self._path = os.fspath(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
