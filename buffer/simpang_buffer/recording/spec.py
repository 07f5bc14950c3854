"""What to record: one stream of one camera, and how it goes to a recorder process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simpang_buffer.model import StreamKey
from simpang_buffer.recording.protocol import ProtocolError
from simpang_buffer.rtsp.auth import Credentials
from simpang_buffer.rtsp.session import Source
from simpang_buffer.rtsp.tls import Trust


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """camera_offset_us: the camera's clock minus ours as last measured, where known; it is only noted."""

    key: StreamKey
    source: Source
    camera_offset_us: int | None = None


def spec_fields(spec: StreamSpec) -> dict[str, Any]:
    """As JSON, password and all: for the socket pair only."""
    source = spec.source
    credentials = source.credentials
    return {
        "url": source.url,
        "host": source.host,
        "port": source.port,
        "user": credentials.user if credentials else None,
        "password": credentials.password if credentials else None,
        "allow_basic": source.allow_basic,
        "transport": source.transport,
        "audio": source.audio,
        "metadata": source.metadata,
        "pin": source.trust.pin,
        "ca": source.trust.ca,
        "old_tls": source.trust.old,
        "camera_offset_us": spec.camera_offset_us,
    }


def stream_spec(key: StreamKey, fields: Mapping[str, Any]) -> StreamSpec:
    """Raises ProtocolError, which names the field that is missing and no value."""
    try:
        user = fields["user"]
        source = Source(
            url=fields["url"],
            host=fields["host"],
            port=fields["port"],
            credentials=Credentials(user, fields["password"]) if user is not None else None,
            allow_basic=fields["allow_basic"],
            transport=fields["transport"],
            audio=fields["audio"],
            metadata=fields["metadata"],
            trust=Trust(fields["pin"], fields["ca"], fields["old_tls"]),
        )
        return StreamSpec(key, source, fields["camera_offset_us"])
    except KeyError as error:
        raise ProtocolError(f"a stream to record without {error}") from None
