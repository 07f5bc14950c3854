"""Runs `simpang` as an installer would, for tests that look at it from outside."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simpang.cli.main import main

_GST = Path(__file__).with_name("gst_camera.py")
# A name that must never be seen again once it is in a secrets file.
PASSWORD = "s3cr3t-Übel"


@dataclass(frozen=True)
class Done:
    """How a verb ended and what it printed."""

    returncode: int
    stdout: str
    stderr: str


@dataclass
class Daemon:
    """A running gateway. out: what it said to whoever started it; log: what it logged."""

    process: subprocess.Popen[str]
    folder: Path
    data: Path
    port: int

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def cli(self, *arguments: str) -> Done:
        return cli("--socket", str(self.data / "api.sock"), *arguments, folder=self.folder)

    def ask(self, *arguments: str) -> Any:
        """What a verb prints with --json."""
        done = self.cli(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def http(self, path: str) -> tuple[int, str]:
        """GET over plain HTTP on loopback, following nothing."""
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stop(self) -> float:
        """SIGTERM; how long it took to end. Its exit code must be 0."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=10) == 0, self.log
        return time.monotonic() - begun


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def cli(*arguments: str, folder: Path) -> Done:
    """Runs a verb in this process, in a folder: a hundred times quicker than an interpreter for each."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as usage:
            code = int(usage.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def run_once(folder: Path, *arguments: str) -> Done:
    """`simpang run` that is expected to end by itself, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "simpang.cli", "run", *arguments],
        cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        env=environment(),
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without what a service manager would set."""
    dropped = ("INVOCATION_ID", "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "WATCHDOG_USEC")
    return {name: value for name, value in os.environ.items() if name not in dropped} | dict(extra or {})


def write_site(folder: Path, cameras: str, port: int, extra: str = "") -> Path:
    """simpang.toml with these [[camera]] tables and the secret `cameras`."""
    (folder / "secrets").mkdir(exist_ok=True)
    secret = folder / "secrets" / "cameras"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    file = folder / "simpang.toml"
    file.write_text(f"""
[site]
id = "digulis"
time_zone = "Asia/Pontianak"
[buffer]
flush_s = 1
min_free = "100 MB"
[web]
listen = []
plain_listen = ["127.0.0.1:{port}"]
[discovery]
enabled = false
[credentials]
user = "simpang"
password_file = "cameras"
{extra}
{cameras}
""")
    return file


@contextlib.contextmanager
def daemon(
    folder: Path, port: int, *arguments: str, variables: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    """`simpang run` in the folder of its simpang.toml, data in FOLDER/data."""
    with (folder / "out").open("w") as out, (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "simpang.cli", "run", "--data", str(folder / "data"), *arguments],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=log, text=True,
            env=environment(variables),
        )  # fmt: skip
    try:
        yield Daemon(process, folder, folder / "data", port)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)


@contextlib.contextmanager
def gst_camera(**options: Any) -> Iterator[int]:
    """A gst-rtsp-server camera with digest sign-in (simpang, PASSWORD); its port."""
    given = {
        "video": "h264", "audio": "none", "user": "simpang", "password": PASSWORD, "fps": 15, "frames": -1,
        "gop": 15, "bframes": 0, "width": 320, "height": 240, "kbps": 300, "shared": True,
        "host": "127.0.0.1", **options,
    }  # fmt: skip
    with subprocess.Popen(
        ["/usr/bin/python3", str(_GST), json.dumps(given)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["port"]
        finally:
            process.kill()


@contextlib.contextmanager
def silent_listener(host: str = "127.0.0.1") -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    kept: list[socket.socket] = []
    with socket.create_server((host, 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(server.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in kept:
                connection.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def until(true: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What `true` returns once it is; polls up to a deadline."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
    return found
