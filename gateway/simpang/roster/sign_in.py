"""What a camera is signed in with, and what may be connected to on its word."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import psutil

from simpang.config.model import Config
from simpang.config.secrets import Secrets
from simpang.config.values import Listen
from simpang.logs.redaction import Redaction
from simpang.roster.onboard import userinfo
from simpang.roster.plan import Wanted
from simpang_onvif.device import Credentials
from simpang_onvif.uri_policy import UriPolicy


def credentials(wanted: Wanted, secrets: Secrets, redaction: Redaction) -> Credentials | None:
    """User and password: those in its rtsp:// address, else its own or the site's. Raises SecretFault.

    Every form of them is known to the log's redaction before anybody uses them.
    """
    found = userinfo(wanted.url) if wanted.url else None
    if found is None and wanted.user:
        found = Credentials(wanted.user, secrets.read(wanted.password_file))
    if found is not None:
        redaction.add(found.password, user=found.user)
    return found


def uri_policy(wanted: Wanted, config: Config, own: frozenset[tuple[str, int]]) -> UriPolicy:
    """Loopback only for a camera whose address the installer wrote down, or where loopback is looked on."""
    allowed = wanted.trusted_address or "lo" in config.discovery.interfaces
    return UriPolicy(own_listeners=own, allow_loopback=allowed)


def own_listeners(listens: Iterable[Listen]) -> frozenset[tuple[str, int]]:
    """Where the gateway itself listens: every own address where it listens on all."""
    found: set[tuple[str, int]] = set()
    for listen in listens:
        hosts = [listen.host]
        if ipaddress.ip_address(listen.host).is_unspecified:
            hosts += [address.address for own in psutil.net_if_addrs().values() for address in own]
        found |= {(host, listen.port) for host in hosts}
    return frozenset(found)
