"""A recorder process by itself, with the test as its daemon."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from peer_gst import gst_camera
from recorded_runs import probe
from simpang_buffer.media.boxes import scan
from simpang_buffer.model import StreamKey
from simpang_buffer.recording.protocol import Message, encode, receive
from simpang_buffer.recording.spec import StreamSpec, spec_fields
from simpang_buffer.rtsp.auth import Credentials
from simpang_buffer.rtsp.session import Source

KEY = StreamKey("gate", "main")


class Process:
    """A running recorder and our end of its socket."""

    def __init__(
        self, child: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.child = child
        self.reader = reader
        self.writer = writer

    def tell(self, message: Message) -> None:
        self.writer.write(encode(message))

    def record(self, source: Source) -> None:
        sign_in = {"refused": 0, "wait_s": 0.0, "basic": False}
        fields = {**spec_fields(StreamSpec(KEY, source)), "first_run": 1, "previous_end": None}
        fields |= {"sign_in": sign_in, "pins": {}}
        self.tell(Message("record", KEY, fields))

    async def hears(self, kind: str) -> Message:
        """The next message of a kind; others are passed over."""
        async with asyncio.timeout(15):
            while (message := await receive(self.reader)) is not None:
                if message.kind == kind:
                    return message
        raise AssertionError(f"it ended without saying {kind}")

    async def rest(self) -> list[Message]:
        """All that it says until it closes."""
        messages: list[Message] = []
        async with asyncio.timeout(15):
            while (message := await receive(self.reader)) is not None:
                messages.append(message)
        return messages


@contextlib.asynccontextmanager
async def recorder(media: Path) -> AsyncIterator[Process]:
    ours, theirs = socket.socketpair()
    with theirs:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "simpang_buffer.recording.process",
            "--fd", str(theirs.fileno()), "--media", str(media), "--site", "site",
            pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        yield Process(child, reader, writer)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.communicate()
        writer.close()


async def test_it_closes_its_files_and_ends_within_two_seconds_of_the_daemon(tmp_path: Path) -> None:
    async with gst_camera(gop=10) as camera, recorder(tmp_path) as process:
        process.record(Source(camera.url, camera.host, camera.port))
        await process.hears("fragment")

        began = time.monotonic()
        process.writer.close()
        async with asyncio.timeout(5):
            code = await process.child.wait()
        took_s = time.monotonic() - began

    (file,) = tmp_path.rglob("*.mp4")
    with file.open("rb") as opened:
        scanned = scan(opened)
    found = await asyncio.to_thread(probe, file)
    assert (code, scanned.closed) == (0, True)
    assert took_s < 2
    assert int(found["streams"][0]["nb_read_frames"]) == sum(f.frames for f in scanned.fragments)


async def test_stop_says_what_was_closed_before_it_ends(tmp_path: Path) -> None:
    async with gst_camera(gop=10) as camera, recorder(tmp_path) as process:
        process.record(Source(camera.url, camera.host, camera.port))
        await process.hears("fragment")

        process.tell(Message("stop"))
        kinds = [message.kind for message in await process.rest()]

    assert kinds[-2:] == ["closed", "idle"]


async def test_signals_for_the_daemon_do_not_stop_it(tmp_path: Path) -> None:
    async with recorder(tmp_path) as process:
        await process.hears("pulse")

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(process.child.pid, number)
        await process.hears("pulse")

        assert process.child.returncode is None


async def test_a_daemon_that_talks_nonsense_is_left(tmp_path: Path) -> None:
    async with recorder(tmp_path) as process:
        await process.hears("pulse")

        process.writer.write(b"\xff" * 64)
        async with asyncio.timeout(5):
            code = await process.child.wait()

    assert code != 0


async def test_a_stream_forgotten_before_it_began_is_idle(tmp_path: Path) -> None:
    async with recorder(tmp_path) as process:
        process.record(Source("rtsp://127.0.0.1/x", "127.0.0.1", 1))
        process.tell(Message("forget", KEY, {"reason": "disabled"}))

        idle = await process.hears("idle")

    assert (idle.stream, dict(idle.fields)) == (KEY, {"reason": "disabled", "broken": False})


async def test_a_password_is_in_no_argument_variable_or_message(tmp_path: Path) -> None:
    secret = "hunter2hunter2"
    async with gst_camera(user="viewer", password="other") as camera, recorder(tmp_path) as process:
        process.record(Source(camera.url, camera.host, camera.port, Credentials("viewer", secret)))
        state = await process.hears("state")
        while state.fields["reason"] is None:
            state = await process.hears("state")
        proc = Path(f"/proc/{process.child.pid}")
        seen = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
        process.child.kill()
        said = (await process.child.communicate())[1]

    assert state.fields["reason"] == "auth"
    assert secret.encode() not in seen + said + encode(state)


def test_it_imports_nothing_heavy() -> None:
    heavy = {
        "aiohttp",
        "pydantic",
        "lxml",
        "av",
        "PIL",
        "zeep",
        "sqlite3",
        "aiosqlite",
        "cryptography",
        "jinja2",
    }
    script = "import sys, simpang_buffer.recording.process; print(' '.join(sys.modules))"

    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert not heavy & set(loaded.split())


async def test_it_gives_up_privileges_and_core_dumps(tmp_path: Path) -> None:
    async with recorder(tmp_path) as process:
        await process.hears("pulse")
        proc = Path(f"/proc/{process.child.pid}")
        status, limits = (proc / "status").read_text(), (proc / "limits").read_text()

    assert "NoNewPrivs:\t1" in status
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
