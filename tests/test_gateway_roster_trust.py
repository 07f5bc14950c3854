from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kept_camera import UTARA
from simpang.roster.known import KnownCameras, KnownSource
from simpang.roster.onboard import onboard, specs
from simpang.roster.trust import MOST_CA_BYTES, trust_of
from simpang.state.database import open_state
from simpang_buffer.rtsp.tls import Trust
from simpang_onvif.errors import OnvifError
from simpang_onvif.uri_policy import UriPolicy
from test_gateway_state import UTARA as KNOWN


def test_what_the_installer_wrote_becomes_what_the_recorder_trusts(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    wanted = replace(UTARA, certificate_sha256="ab" * 32, ca_file="ca.pem", old_tls=True)

    assert trust_of(UTARA, tmp_path) == Trust()
    assert trust_of(wanted, tmp_path) == Trust("ab" * 32, "-----BEGIN CERTIFICATE-----\n", True)


@pytest.mark.parametrize(
    "content", [None, b"\xff\xfe", b"", b"-----BEGIN CERTIFICATE-----" + bytes(MOST_CA_BYTES)]
)
def test_a_ca_file_that_is_none_stops_this_camera_with_a_reason(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)

    with pytest.raises(OnvifError, match=r"ca\.pem"):
        trust_of(replace(UTARA, ca_file="ca.pem"), tmp_path)


async def test_rtsps_addresses_are_known_over_restarts_and_their_port_is_322(tmp_path: Path) -> None:
    found = await onboard(replace(UTARA, url="rtsps://u:p@127.0.0.1/x", record=("main",)), None, UriPolicy())
    plain = KnownSource("sub", "rtsp://127.0.0.1/y", "127.0.0.1", 554)
    async with open_state(tmp_path / "state.db") as state:
        kept = KnownCameras(state)
        await kept.put(KNOWN, [*found.sources, plain])
        again = await kept.sources("utara")
        (spec,) = specs(UTARA, found.sources, None, None, Trust(old=True))
        await kept.put(KNOWN, [plain])
        after = await kept.sources("utara")

    assert found.sources == (KnownSource("main", "rtsps://127.0.0.1/x", "127.0.0.1", 322),)
    assert again == [*found.sources, plain]
    assert (spec.source.encrypted, spec.source.trust.old) == (True, True)
    assert after == [plain]
