"""What a request has brought so far: manifest.json and an HLS playlist. Pure."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simpang.jobs.model import Job, SentChunk
from simpang.jobs.object_names import rfc3339
from simpang_buffer.reading.gaps import Gap


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a manifest says beside the chunks.

    device: as the camera names itself. clock_offset_us: the camera's clock minus ours. clock_source: where
    the runs' wall time comes from.
    """

    site: str
    gateway_key: str
    device: dict[str, str]
    clock_trusted: bool
    clock_offset_us: int | None
    clock_source: str


def manifest(
    job: Job, circumstances: Circumstances, chunks: Sequence[SentChunk], gaps: Sequence[Gap], *, final: bool
) -> bytes:
    """manifest.json. Chunks of one run with the same codec parameters make a part."""
    parts = [
        {
            "run": run,
            "codec": listed[0].codec,
            "init_sha256": init.hex(),
            "chunks": [
                {
                    "key": chunk.object_key,
                    "start": rfc3339(chunk.start_us),
                    "duration_us": chunk.duration_us,
                    "bytes": chunk.size_bytes,
                    "sha256": chunk.sha256.hex(),
                    "seal": chunk.seal.hex(),
                }
                for chunk in listed
            ],
        }
        for run, init, listed in _parts(chunks)
    ]
    content: dict[str, Any] = {
        "v": 1,
        "site": circumstances.site,
        "gateway_key": circumstances.gateway_key,
        "request": job.id,
        "party": job.party,
        "ref": job.request.ref,
        "camera": job.request.camera,
        "stream": job.request.stream,
        "device": circumstances.device,
        "start": rfc3339(job.request.start_us),
        "end": rfc3339(job.request.end_us),
        "clock": {
            "trusted": circumstances.clock_trusted,
            "offset_us": circumstances.clock_offset_us,
            "source": circumstances.clock_source,
        },
        "parts": parts,
        "gaps": [
            {"start": rfc3339(gap.start_us), "end": rfc3339(gap.end_us), "reason": str(gap.reason)}
            for gap in gaps
        ],
        "final": final,
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def playlist(folder: str, chunks: Sequence[SentChunk], *, final: bool) -> bytes:
    """HLS version 7 (RFC 8216): one media segment per chunk, addressed relative to `folder`.

    Each object carries its own ftyp and moov: they are named as the part's EXT-X-MAP and left out by byte
    range. Until it is final a player takes it for a growing event and asks again.
    """
    longest_us = max((chunk.duration_us for chunk in chunks), default=4_000_000)
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{-(-longest_us // 1_000_000)}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:" + ("VOD" if final else "EVENT"),
        "#EXT-X-INDEPENDENT-SEGMENTS",
    ]
    up = "../" * folder.count("/")
    for number, (_, _, listed) in enumerate(_parts(chunks)):
        if number:
            lines.append("#EXT-X-DISCONTINUITY")
        first = listed[0]
        lines.append(f'#EXT-X-MAP:URI="{up}{first.object_key}",BYTERANGE="{first.init_bytes}@0"')
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{rfc3339(first.start_us)}")
        for chunk in listed:
            lines.append(f"#EXTINF:{chunk.duration_us / 1_000_000:.6f},")
            lines.append(f"#EXT-X-BYTERANGE:{chunk.size_bytes - chunk.init_bytes}@{chunk.init_bytes}")
            lines.append(up + chunk.object_key)
    if final:
        lines.append("#EXT-X-ENDLIST")
    return ("\n".join(lines) + "\n").encode()


def _parts(chunks: Sequence[SentChunk]) -> list[tuple[int, bytes, list[SentChunk]]]:
    grouped = itertools.groupby(chunks, key=lambda chunk: (chunk.run, chunk.init_sha256))
    return [(run, init, list(listed)) for (run, init), listed in grouped]
