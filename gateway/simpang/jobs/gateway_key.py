"""The gateway's own Ed25519 key, which signs manifests. Made at the first start, mode 0600."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_NAME = "gateway-key.pem"


class GatewayKey:
    """Signs what leaves this gateway, so that anybody can tell later that it came from here."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        # As in a JWK's "x" (RFC 8037): what manifests and GET /site show.
        self.public_text = _base64url(raw).decode()

    def detached_jws(self, content: bytes) -> bytes:
        """A JWS with detached content (RFC 7515 appendix F, EdDSA of RFC 8037), kid = the public key."""
        header = _base64url(json.dumps({"alg": "EdDSA", "kid": self.public_text}).encode())
        return header + b".." + _base64url(self._private.sign(header + b"." + _base64url(content)))


def load_gateway_key(secrets: Path) -> GatewayKey:
    """Reads DATA/secrets/gateway-key.pem (PKCS #8), or makes it. Raises OSError, ValueError."""
    path = secrets / _NAME
    if path.exists():
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(private, Ed25519PrivateKey):
            raise ValueError(f"{path} holds no Ed25519 key; move it away and a new one is made")
        return GatewayKey(private)
    private = Ed25519PrivateKey.generate()
    secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    written = secrets / f".{_NAME}.new"
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, pem)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    written.replace(path)
    return GatewayKey(private)


def _base64url(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")
