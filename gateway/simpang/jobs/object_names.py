"""Names and attributes of objects: ONVIF's object storage recording format.

ONVIF Recording Control 26.06, annex "Object storage recording format".
"""

from __future__ import annotations

from datetime import UTC, datetime

from simpang_buffer.model import StreamKey


def chunk_key(site: str, party: str, stream: StreamKey, start_us: int, number: int) -> str:
    """site/party/2026-11-24/camera.stream/02/00-00.000000Z.0.mp4; start_us is UTC of the first sample."""
    return f"{_lead(site, party, stream, start_us)}.{number}.mp4"


def run_end_key(site: str, party: str, stream: StreamKey, end_us: int, number: int) -> str:
    """The empty object that closes a run (a span, in ONVIF's words): its end, and the next number."""
    return f"{_lead(site, party, stream, end_us)}.{number}.mp4_end"


def request_folder(site: str, party: str, request: str) -> str:
    """Where manifest.json, manifest.jws and playlist.m3u8 of a request lie, with its slash."""
    return f"{site}/{party}/requests/{request}/"


def codecs(video: str, audio_entry: str | None) -> str:
    """RFC 6381: "avc1.640028,mp4a.40.2". audio_entry: the sample entry's name."""
    sound = {"mp4a": "mp4a.40.2"}.get(audio_entry or "", audio_entry)
    return f"{video},{sound}" if sound else video


def content_type(codecs: str) -> str:
    """As in video/mp4; codecs="avc1.640028"."""
    return f'video/mp4; codecs="{codecs}"'


def attributes(
    source: str, duration_us: int, codecs: str, width: int, height: int, sha256: bytes
) -> dict[str, str]:
    """Object metadata of a chunk; source names the camera, duration is ISO 8601."""
    return {
        "Version": "1.0",
        "Source": source,
        "Duration": iso_duration(duration_us),
        "FullContentType": content_type(codecs),
        "VideoWidth": str(width),
        "VideoHeight": str(height),
        "sha256": sha256.hex(),
    }


def iso_duration(duration_us: int) -> str:
    """ISO 8601-1 in seconds: PT4.000000S."""
    seconds, micros = divmod(duration_us, 1_000_000)
    return f"PT{seconds}.{micros:06}S"


def rfc3339(time_us: int) -> str:
    """UTC with microseconds: 2026-11-24T02:00:00.000000Z."""
    return _utc(time_us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _lead(site: str, party: str, stream: StreamKey, time_us: int) -> str:
    moment = _utc(time_us)
    postfix = f"{stream.camera}.{stream.stream}"
    return f"{site}/{party}/{moment:%Y-%m-%d}/{postfix}/{moment:%H}/{moment:%M-%S.%f}Z"


def _utc(time_us: int) -> datetime:
    seconds, micros = divmod(time_us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)
