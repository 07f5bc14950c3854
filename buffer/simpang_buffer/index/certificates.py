"""The TLS certificates by which cameras are known: the first that each showed, kept over restarts."""

from __future__ import annotations

from simpang_buffer.index.index import Index

# A camera has one or two TLS ports; a hostile one that redirects through all of them fills nothing.
_MOST_OF_A_CAMERA = 8


async def pinned(index: Index, camera: str) -> dict[int, str]:
    """SHA-256 in hexadecimal, by port."""
    rows = await index.db.read("select port, sha256 from certificate where camera = ?", (camera,))
    return {int(port): bytes(sha256).hex() for port, sha256 in rows}


async def pin(index: Index, camera: str, port: int, sha256: str, seen_us: int) -> None:
    """The first one stays, whatever comes after it."""
    async with index.db.transaction() as tx:
        await tx.run(
            "insert into certificate (camera, port, sha256, seen_us) "
            "select ?, ?, ?, ? where (select count(*) from certificate where camera = ?) < ? "
            "on conflict do nothing",
            (camera, port, bytes.fromhex(sha256), seen_us, camera, _MOST_OF_A_CAMERA),
        )


async def unpin(index: Index, camera: str) -> None:
    """The next certificate that the camera shows is believed."""
    async with index.db.transaction() as tx:
        await tx.run("delete from certificate where camera = ?", (camera,))
