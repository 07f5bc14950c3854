"""AWS Signature Version 4 for S3, header form, as the S3 API reference's "Authenticating Requests" gives it.

Pure: the clock is an argument, nothing is sent.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class StoreKeys:
    """An access key and its secret."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"


def encoded_path(path: str) -> str:
    """S3 wants each byte outside the unreserved set encoded once, slashes kept."""
    return quote(path, safe="/-_.~")


def encoded_query(query: Mapping[str, str]) -> str:
    return "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(query.items())
    )


def sign(
    keys: StoreKeys,
    method: str,
    host: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    payload_sha256: str,
    now: datetime,
) -> dict[str, str]:
    """All headers of the request: `headers` plus Host, x-amz-date, x-amz-content-sha256 and Authorization.

    path is not yet encoded; host carries the port where it is not the scheme's own; now is UTC.
    """
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{keys.region}/s3/aws4_request"
    whole = {**headers, "Host": host, "x-amz-date": stamp, "x-amz-content-sha256": payload_sha256}
    lowered = sorted((name.lower(), " ".join(value.split())) for name, value in whole.items())
    names = ";".join(name for name, _ in lowered)
    canonical = "\n".join(
        [
            method,
            encoded_path(path),
            encoded_query(query),
            "".join(f"{name}:{value}\n" for name, value in lowered),
            names,
            payload_sha256,
        ]
    )
    to_sign = "\n".join([ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + keys.secret_key).encode()
    for part in (stamp[:8], keys.region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    whole["Authorization"] = (
        f"{ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return whole
