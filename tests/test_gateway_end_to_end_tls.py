"""The installed product and an rtsps:// camera whose certificate changes: refused, said, and trusted anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from certificates import made
from peer_gst import gst_camera
from product import camera, product, toml, until
from scripted_camera import Habits, Reply, frame, rtp, scripted_camera
from stage import stage
from tcp_gate import tcp_gate

pytest_plugins = ("own_network",)
pytestmark = pytest.mark.usefixtures("own_network")


def test_a_changed_certificate_is_refused_said_and_trusted_when_a_person_says_so(tmp_path: Path) -> None:
    first, second = made(tmp_path, "first"), made(tmp_path, "second")
    odd = Habits({"SETUP": [Reply()]}, media=(frame(9, rtp(8)) + frame(0, rtp(1)), 600.0))
    with stage() as there, product(tmp_path) as gateway:
        safe = there.enter(gst_camera(gop=10, certificate=first.file))
        other = there.enter(gst_camera(gop=10, certificate=second.file))
        gate = there.enter(tcp_gate(safe.host, safe.port))
        strange = there.enter(scripted_camera(habits=odd))
        strange_url = f"rtsp://{strange.host}:{strange.port}/x"
        gateway.configure(
            toml(camera("safe", f"rtsps://{gate.host}:{gate.port}/stream") + camera("strange", strange_url))
        )
        gateway.start()
        gateway.wait_recording("safe")
        gateway.wait_footage("safe", 3)
        gateway.stop()

        gate.lead_to(other.host, other.port)
        gateway.start()
        until(lambda: gateway.cameras()["safe"]["reason"], 20, lambda: gateway.log[-3000:])
        refused = gateway.cameras()["safe"]
        until(lambda: gateway.cameras()["strange"]["streams"][0]["repairs"], 20, lambda: gateway.log[-3000:])
        shown = gateway.cli("camera", "show", "strange").stdout
        trusted = gateway.cli("camera", "trust", "safe")
        gateway.wait_recording("safe", seconds=40)

    assert refused["reason"] == "refused-by-policy"
    assert "another certificate" in refused["detail"]
    assert "simpang camera trust" in refused["remedy"]
    assert trusted.returncode == 0
    assert "1 x packets on channels that were not agreed on were dropped (7.8)" in shown
