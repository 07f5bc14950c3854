"""A real S3 store for tests: SeaweedFS (`weed server -s3`), with one access key, on free loopback ports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

WEED = Path(__file__).parent.parent / ".peers" / "seaweedfs" / "bin" / "weed"
ACCESS_KEY = "simpang-access"
SECRET_KEY = "simpang-secret/+="  # characters that a signature must survive


@dataclass(frozen=True)
class SeaweedFs:
    endpoint: str
    bucket: str


@contextlib.asynccontextmanager
async def seaweedfs(folder: Path, bucket: str = "cctv") -> AsyncIterator[SeaweedFs]:
    """Starts the store in `folder` and yields it once the bucket is there."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "s3.json"
    identity = {
        "name": "simpang",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config.write_text(json.dumps({"identities": [identity]}))
    master, volume, filer, s3 = _free_ports(4)
    data = folder / "data"
    data.mkdir()
    log = (folder / "weed.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        str(WEED), "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}",
        "-s3", f"-s3.port={s3}", f"-s3.config={config}", "-s3.autoCreateBucket=true",
        "-master.volumeSizeLimitMB=64", "-volume.max=20", "-master.telemetry=false",
        stdout=log, stderr=log, cwd=folder,
    )  # fmt: skip
    log.close()
    try:
        store = SeaweedFs(f"http://127.0.0.1:{s3}", bucket)
        await _make_bucket(store)
        yield store
    finally:
        # It takes ten seconds to leave politely, and nothing of it is kept.
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        shutil.rmtree(data, ignore_errors=True)


async def _make_bucket(store: SeaweedFs) -> None:
    from datetime import UTC, datetime

    from simpang.store.sigv4 import EMPTY_SHA256, StoreKeys, sign

    host = store.endpoint.removeprefix("http://")
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            headers = sign(
                StoreKeys(ACCESS_KEY, SECRET_KEY), "PUT", host, f"/{store.bucket}", {},
                {"Content-Length": "0"}, EMPTY_SHA256, datetime.now(UTC),
            )  # fmt: skip
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with session.put(f"{store.endpoint}/{store.bucket}", headers=headers) as answer:
                    if answer.status in (200, 409):
                        return
            await asyncio.sleep(0.2)


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
