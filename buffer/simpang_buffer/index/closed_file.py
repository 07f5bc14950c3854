"""Takes a row from a file that was closed properly, in two small reads: its head, and the table at its end.

What is read is what the recorder wrote when it had made the file durable: every byte of head and table is
checked, the media between them is not. Measured: tests/bench/rebuild.py.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass

from simpang_buffer.media.boxes import MAX_FTYP_BYTES, MAX_MOOV_BYTES, read_header
from simpang_buffer.media.seal import (
    MAX_RUN_BYTES,
    RUN_UUID,
    TABLE_END_BYTES,
    TABLE_UUID,
    UUID_HEADER_BYTES,
    BadBox,
    TableSummary,
    parse_run_box,
    summarise_table,
    table_size,
)
from simpang_buffer.model import ROW_SEAL_BYTES, RunHeader, Segment, StreamKey

# Head and table of a file of a minute each fit in so much; a larger one costs one more read.
_HEAD_BYTES = 4096
_TABLE_BYTES = 4096
# Parts of one stream differ in few ways; a camera that changes with every file must not fill the memory.
_MOST_INITS = 256


@dataclass(frozen=True, slots=True)
class _Init:
    width: int
    height: int
    sha256: bytes


class ClosedFiles:
    """Reads such files one after another, remembering heads (ftyp and moov), of which thousands are alike."""

    def __init__(self) -> None:
        self._inits: dict[bytes, _Init] = {}

    def head(self, descriptor: int) -> tuple[RunHeader, int, int]:
        """Run header, width and height of any file of ours, torn or not. Raises BadBox, OSError."""
        _, run, init = self._head(descriptor)
        return run, init.width, init.height

    def row(self, descriptor: int, key: StreamKey, folder: int) -> tuple[Segment, RunHeader]:
        """The row of an open descriptor's file, which lies under `key`. Raises BadBox where the file was not
        closed, or is not as we write it; OSError passes through."""
        size_bytes = os.fstat(descriptor).st_size
        head_bytes, run, init = self._head(descriptor)
        table, table_bytes = _table(descriptor, size_bytes)
        if table.first_offset != head_bytes or table.end + table_bytes != size_bytes:
            raise BadBox("fragment table does not fit its file")
        row = Segment(
            key=key,
            run=run.run,
            seq=run.seq,
            start_us=table.start_us,
            end_us=max(table.end_us, table.start_us),
            size_bytes=size_bytes,
            fragments=table.fragments,
            frames=table.frames,
            first_chunk=run.first_chunk,
            chunks=max(table.chunks, 1),
            codec=run.codec,
            width=init.width,
            height=init.height,
            header_sha256=init.sha256,
            seal=table.seal[:ROW_SEAL_BYTES],
            folder=folder,
        )
        return row, run

    def _head(self, descriptor: int) -> tuple[int, RunHeader, _Init]:
        """Offset of the first fragment, run header, and what ftyp and moov say."""
        data = os.pread(descriptor, _HEAD_BYTES, 0)
        init_bytes = _init_bytes(data)
        run_bytes = int.from_bytes(data[init_bytes : init_bytes + 4], "big")
        if init_bytes + run_bytes > len(data):
            if run_bytes > MAX_RUN_BYTES:
                raise BadBox(f"run box of {run_bytes} bytes")
            data = os.pread(descriptor, init_bytes + MAX_RUN_BYTES, 0)
            run_bytes = int.from_bytes(data[init_bytes : init_bytes + 4], "big")
        run = data[init_bytes : init_bytes + run_bytes]
        if len(run) < UUID_HEADER_BYTES or run[4:8] != b"uuid" or run[8:UUID_HEADER_BYTES] != RUN_UUID:
            raise BadBox("no run box after moov")
        header = parse_run_box(run[UUID_HEADER_BYTES:])
        known = self._inits.get(init := data[:init_bytes])
        if known is None:
            parsed = read_header(io.BytesIO(data))
            known = _Init(parsed.width, parsed.height, hashlib.sha256(init).digest())
            if len(self._inits) >= _MOST_INITS:
                self._inits.clear()
            self._inits[init] = known
        return init_bytes + run_bytes, header, known


def _init_bytes(data: bytes) -> int:
    """Bytes of ftyp and moov, as they say; both kinds and their bounds are checked."""
    ftyp = int.from_bytes(data[:4], "big")
    if data[4:8] != b"ftyp" or not 8 <= ftyp <= MAX_FTYP_BYTES:
        raise BadBox("no ftyp box")
    moov = int.from_bytes(data[ftyp : ftyp + 4], "big")
    if data[ftyp + 4 : ftyp + 8] != b"moov" or not 8 <= moov <= MAX_MOOV_BYTES:
        raise BadBox("no moov box")
    return ftyp + moov


def _table(descriptor: int, size_bytes: int) -> tuple[TableSummary, int]:
    """The table's content and the size of its box."""
    at = max(size_bytes - _TABLE_BYTES, 0)
    data = os.pread(descriptor, _TABLE_BYTES, at)
    table_bytes = table_size(data[-TABLE_END_BYTES:])
    if table_bytes > size_bytes:
        raise BadBox("fragment table is larger than its file")
    if table_bytes > len(data):
        data = os.pread(descriptor, table_bytes, size_bytes - table_bytes)
    whole = data[-table_bytes:]
    if whole[:4] != table_bytes.to_bytes(4, "big") or whole[4:8] != b"uuid" or whole[8:24] != TABLE_UUID:
        raise BadBox("the file does not end with a fragment table")
    return summarise_table(whole[UUID_HEADER_BYTES:]), table_bytes
