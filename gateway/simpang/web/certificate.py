"""The gateway's own TLS certificate, made at first start where the installer gave none.

Self-signed: a site has no public name. Whoever visits compares the fingerprint, which the plain listener
shows.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A gateway outlives any renewal that nobody performs, and its clock may be years off when it first starts.
_VALID = dt.timedelta(days=20 * 365)
_BEFORE = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in the data folder's secrets; fingerprint: SHA-256 of the DER, as browsers show it."""

    certificate_file: Path
    key_file: Path
    fingerprint: str


def own_certificate(secrets: Path, site: str, addresses: list[str]) -> Certificate:
    """The certificate in `secrets`, made now if there is none. Blocking: call it in a thread.

    The key is written first and the certificate renamed into place last, so a crash in between makes a new
    pair. Raises OSError when the folder cannot be written, ValueError when what lies there is no certificate.
    """
    certificate_file, key_file = secrets / "web.pem", secrets / "web.key"
    if not (certificate_file.exists() and key_file.exists()):
        _make(certificate_file, key_file, site, addresses)
    parsed = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    digest = hashlib.sha256(parsed.public_bytes(serialization.Encoding.DER)).hexdigest().upper()
    pairs = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
    return Certificate(certificate_file, key_file, pairs)


def tls_context(certificate: Certificate) -> ssl.SSLContext:
    """TLS 1.2 and newer with that certificate. Blocking for the read of two small files."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate.certificate_file, certificate.key_file)
    return context


def _make(certificate_file: Path, key_file: Path, site: str, addresses: list[str]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"simpang {site}")])
    host = socket.gethostname()
    names: list[x509.GeneralName] = [
        x509.DNSName(name) for name in dict.fromkeys(("localhost", host, f"{host}.local"))
    ]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEFORE)
        .not_valid_after(dt.datetime.now(dt.UTC) + _VALID)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key_bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(key_file, key_bytes)
    _write(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, durable, readable by us alone."""
    new = path.with_suffix(path.suffix + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
