"""`python tests/bench/clip.py [--minutes 10] [--mbit 4]`: a clip over HTTP beside nginx serving its bytes.

A camera's footage is written in real fragments, its clip asked for from the product's own application (in a
process of its own), and the same bytes, saved, from a real nginx with sendfile. One client reads both.
CPU is that of the server's threads; the first byte is from sending the request to reading the body's first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parent.parent))

from media_samples import video
from recorded_runs import video_format
from recordings import Recording, finished, index_all
from simpang.web.times import format_time
from simpang_buffer.index.index import open_index
from simpang_buffer.model import AccessUnit, AnchorSource, StreamKey
from simpang_buffer.recording.places import only
from simpang_buffer.recording.segment_writer import (
    AppendFragment,
    FinishFile,
    OpenFile,
    RunStart,
    SegmentWriter,
)

KEY = StreamKey("utara", "main")
FPS = 25
TICKS = 90_000 // FPS


def record(media: Path, seconds: int, bits_per_s: int, start_us: int) -> Recording:
    """A stream of that rate: real key frames and headers, pictures of random bytes behind them."""
    units = video("h264", frames=FPS, fps=FPS, key_every=FPS)
    size = bits_per_s // 8 // FPS
    filler = os.urandom(size)
    writer = SegmentWriter(
        RunStart("digulis", KEY, 1, None, None),
        only(media),
        None,
        lambda: (start_us, AnchorSource.RTCP),
        segment_s=60,
    )
    made = Recording()
    format_ = video_format("h264", units)
    steps = []
    for number in range(seconds * FPS):
        unit = units[number % FPS]
        # Filler data is a NAL unit of type 12.
        padding = max(size - len(unit.data) - 5, 1)
        data = unit.data + (padding + 1).to_bytes(4, "big") + b"\x0c" + filler[:padding]
        dts = number * TICKS
        steps = writer.add_picture(
            AccessUnit(True, dts, 0, unit.key, data, start_us + dts * 100 // 9), format_
        )
        _perform(steps, made)
    _perform(writer.finish(), made)
    return made


def _perform(steps: list[object], made: Recording) -> None:
    for step in steps:
        match step:
            case OpenFile(file):
                file.open()
                made.files.append(file)
            case AppendFragment(file, buffers, fragment, seal):
                file.append(buffers, fragment, seal)
            case FinishFile(file):
                row = finished(file)
                assert row is not None
                made.rows.append(row)


def fetch(port: int, path: str, cookie: str = "") -> tuple[float, int, float]:
    """Seconds to the first byte of the body, bytes of the body, seconds in all."""
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{cookie}\r\n"
    buffer = bytearray(1 << 20)
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(head.encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += client.recv(65536)
        answer, _, body = data.partition(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        count = len(body)
        first_s = None if not count else time.perf_counter() - began
        while got := client.recv_into(buffer):
            first_s = first_s or time.perf_counter() - began
            count += got
    return first_s or 0.0, count, time.perf_counter() - began


def cpu_s(pids: list[int]) -> float:
    """Of all threads, to the nanosecond: the clock ticks of /proc/PID/stat are too coarse for nginx."""
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def nginx(folder: Path) -> Iterator[tuple[int, list[int]]]:
    """Serves the folder with sendfile, in one worker; its port and processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;\n"
        "events { worker_connections 64; }\n"
        f"http {{ access_log off; sendfile on; tcp_nopush on; client_body_temp_path {folder}/b;\n"
        f"proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;\n"
        f"scgi_temp_path {folder}/s; server {{ listen 127.0.0.1:{port}; root {folder}; }} }}\n"
    )
    process = subprocess.Popen(["nginx", "-c", str(config), "-e", f"{folder}/log"])
    try:
        _until(lambda: _listens(port))
        yield port, [process.pid]
    finally:
        process.terminate()
        process.wait()


@contextmanager
def gateway(data: Path) -> Iterator[tuple[int, str, list[int]]]:
    """The product's web application over the footage, in a process of its own; its port and a cookie."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(data)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdin
    try:
        told = json.loads(process.stdout.readline())
        yield told["port"], told["cookie"], [process.pid]
    finally:
        process.stdin.close()
        process.wait()


async def serve(data: Path) -> None:
    from web_site import camera, open_site

    async with open_site(data) as site:
        site.roster.told = [camera()]
        async with site.client() as client:
            jar = client.cookie_jar.filter_cookies(client._base_url)  # type: ignore[arg-type]  # it has one
            cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in jar.items())
        port = site.opened.plain[0][1]
        print(json.dumps({"port": port, "cookie": f"Cookie: {cookie}\r\n"}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not start"
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--mbit", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--serve", type=Path, default=None)
    chosen = parser.parse_args()
    if chosen.serve:
        asyncio.run(serve(chosen.serve))
        return
    folder = Path(tempfile.mkdtemp(dir=chosen.scratch))
    try:
        measure(folder, chosen.minutes * 60, int(chosen.mbit * 1e6), chosen.rounds)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, seconds: int, bits_per_s: int, rounds: int) -> None:
    start_us = (int(time.time()) - seconds - 600) * 1_000_000
    (folder / "media").mkdir()
    made = record(folder / "media", seconds, bits_per_s, start_us)

    async def known() -> None:
        async with open_index(folder / "index.db") as index:
            await index_all(index, made)

    asyncio.run(known())
    query = {"start": format_time(start_us), "end": format_time(start_us + seconds * 1_000_000)}
    path = f"/api/v1/cameras/utara/streams/main/clip.mp4?{urlencode(query)}"
    (folder / "nginx").mkdir()
    with gateway(folder) as (port, cookie, pids), nginx(folder / "nginx") as (peer_port, peer_pids):
        _save(port, path, cookie, folder / "nginx" / "clip.mp4")
        ours, theirs, firsts, peer_firsts = [], [], [], []
        for _ in range(rounds):
            before = cpu_s(pids)
            first_s, size, _ = fetch(port, path, cookie)
            ours.append(cpu_s(pids) - before)
            firsts.append(first_s)
            before = cpu_s(peer_pids)
            first_s, peer_size, _ = fetch(peer_port, "/clip.mp4")
            theirs.append(cpu_s(peer_pids) - before)
            peer_firsts.append(first_s)
            assert size == peer_size, (size, peer_size)
    mine, peer = sum(ours), sum(theirs)
    print(f"{seconds} s of {bits_per_s / 1e6} Mbit/s, {size >> 20} MB, {rounds} rounds each, in turn")
    print(
        f"CPU: ours {mine / rounds * 1000:.0f} ms, nginx {peer / rounds * 1000:.0f} ms, "
        f"ratio {mine / peer:.2f}"
    )
    print(
        f"first byte: ours {statistics.median(firsts) * 1000:.1f} ms (worst {max(firsts) * 1000:.1f}), "
        f"nginx {statistics.median(peer_firsts) * 1000:.1f} ms"
    )


def _save(port: int, path: str, cookie: str, into: Path) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{cookie}\r\n"
    with socket.create_connection(("127.0.0.1", port)) as client, into.open("wb") as file:
        client.sendall(head.encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += client.recv(65536)
        file.write(data.partition(b"\r\n\r\n")[2])
        while block := client.recv(1 << 20):
            file.write(block)


if __name__ == "__main__":
    main()
