"""A real S3 store for tests: SeaweedFS (`weed server -s3`), with one access key, on free loopback ports."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from simpang.store.sigv4 import StoreKeys, sign

WEED = Path(__file__).parent.parent / ".peers" / "seaweedfs" / "bin" / "weed"
ACCESS_KEY = "simpang-access"
SECRET_KEY = "simpang-secret/+="  # characters that a signature must survive


@dataclass(frozen=True)
class SeaweedFs:
    endpoint: str
    bucket: str


@contextlib.contextmanager
def seaweedfs(folder: Path, bucket: str = "cctv") -> Iterator[SeaweedFs]:
    """Starts the store in `folder` and yields it once the bucket is there."""
    identity = {
        "name": "simpang",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    master, volume, filer, s3 = _free_ports(4)
    data = folder / "data"
    data.mkdir()
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(
            [str(WEED), "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
             f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}",
             "-s3", f"-s3.port={s3}", f"-s3.config={config}", "-s3.autoCreateBucket=true",
             "-master.volumeSizeLimitMB=64", "-volume.max=100", "-master.telemetry=false"],
            stdout=log, stderr=log, cwd=folder,
        )  # fmt: skip
    try:
        store = SeaweedFs(f"http://127.0.0.1:{s3}", bucket)
        _put(store, process, f"/{bucket}", b"")
        # A bucket is no proof: on a busy machine it takes the volumes half a minute to take anything.
        _put(store, process, f"/{bucket}/ready", b"yes")
        yield store
    finally:
        # It takes ten seconds to leave politely, and nothing of it is kept.
        process.kill()
        process.wait()
        shutil.rmtree(data, ignore_errors=True)


def _put(store: SeaweedFs, process: subprocess.Popen[bytes], path: str, body: bytes) -> None:
    """Makes the bucket or the object, as soon as the store can."""
    host = store.endpoint.removeprefix("http://")
    digest = hashlib.sha256(body).hexdigest()
    deadline = time.monotonic() + 60
    while True:
        keys = StoreKeys(ACCESS_KEY, SECRET_KEY)
        headers = sign(keys, "PUT", host, path, {}, {}, digest, datetime.now(UTC))
        asked = urllib.request.Request(f"{store.endpoint}{path}", body, headers=headers, method="PUT")
        try:
            with urllib.request.urlopen(asked, timeout=5):
                return
        except OSError as error:
            assert process.poll() is None, "the store ended"
            assert time.monotonic() < deadline, f"the store is not ready: {error}"
            time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    # SeaweedFS adds 10,000 to each HTTP port for its gRPC one, so both must be free and below 65,536.
    ports: list[int] = []
    for port in range(18_000, 28_000, 7):
        with socket.socket() as http, socket.socket() as grpc:
            try:
                http.bind(("127.0.0.1", port))
                grpc.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError("no free ports for the store")
