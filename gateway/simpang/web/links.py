"""Addresses of the page, as a person types or clicks them."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simpang.config.model import Web
    from simpang.config.values import Listen


def page_link(web: Web, token: str) -> str:
    """The page with a one-time token: over loopback where there is one, else over TLS.

    The token stands in the query, which the page's answer redirects away; it works once, so what stays in the
    browser's history is worth nothing.
    """
    return f"{page_address(web)}/?token={token}"


def page_address(web: Web) -> str:
    """`http://127.0.0.1:8080` or `https://HOST:8443`, without a slash at the end."""
    plain = next((listen for listen in web.plain_listen if listen.loopback), None)
    if plain is not None:
        return f"http://{plain}"
    if web.listen:
        return f"https://{_reachable(web.listen[0])}"
    raise ValueError("nothing serves the page: neither web.listen nor a loopback web.plain_listen is set")


def _reachable(listen: Listen) -> str:
    if not ipaddress.ip_address(listen.host).is_unspecified:
        return str(listen)
    return f"{socket.gethostname()}:{listen.port}"
