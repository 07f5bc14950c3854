"""Whose TLS certificate is believed of a camera with an rtsps:// address."""

from __future__ import annotations

from pathlib import Path

from simpang.roster.plan import Wanted
from simpang_buffer.rtsp.tls import Trust
from simpang_onvif.errors import OnvifError, Reason

# It travels to a recorder process in a message, and a site has a handful of CAs.
MOST_CA_BYTES = 32 * 1024


def trust_of(wanted: Wanted, folder: Path) -> Trust:
    """folder: of the configuration file, which ca_file is relative to. Raises OnvifError."""
    ca = None
    if wanted.ca_file:
        path = folder / wanted.ca_file
        try:
            with path.open("rb") as file:
                data = file.read(MOST_CA_BYTES + 1)
            ca = data.decode()
        except (OSError, UnicodeDecodeError) as error:
            said = getattr(error, "strerror", None) or "it is no text"
            raise OnvifError(
                Reason.REFUSED_BY_POLICY, f"its ca_file {path} cannot be read: {said}", "correct ca_file"
            ) from error
        if len(data) > MOST_CA_BYTES or "BEGIN CERTIFICATE" not in ca:
            raise OnvifError(
                Reason.REFUSED_BY_POLICY,
                f"its ca_file {path} holds no certificate in PEM of at most 32 kB",
                "correct ca_file",
            )
    return Trust(wanted.certificate_sha256 or None, ca, wanted.old_tls)
