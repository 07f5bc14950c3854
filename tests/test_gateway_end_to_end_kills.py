"""The installed product killed and stopped: what is lost, how soon it records again, how it ends."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kills import Loss, Victim, kill
from product import Product, camera, product, toml, until
from served_camera import served_camera
from stage import stage

pytest_plugins = ("own_network",)
pytestmark = pytest.mark.usefixtures("own_network")

FLUSH_S = 2
CAMERAS = ("c0", "c1")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Product]:
    with product(tmp_path) as made:
        yield made


def test_after_a_kill_it_records_again_within_5_s_and_loses_no_more_than_flush_s_and_a_second(
    gateway: Product,
) -> None:
    victims: list[Victim] = ["recorder", "daemon"]
    losses: list[Loss] = []
    with stage() as there:
        text = "".join(camera(one, there.enter(served_camera()).url()) for one in CAMERAS)
        gateway.configure(toml(text, flush_s=FLUSH_S))
        gateway.start()
        gateway.wait_recording()

        for victim in victims:
            for one in CAMERAS:
                gateway.wait_footage(one, 2)
            time.sleep(random.uniform(0, 1))
            losses += kill(gateway, victim, CAMERAS)
        # Again and again, as soon as there is one: it must not wait the longer for it.
        for _ in range(5):
            until(lambda: bool(gateway.recorders()), 5, lambda: "no recorder is started")
            for recorder in gateway.recorders():
                recorder.kill()
        often = kill(gateway, "recorder", CAMERAS)
        beside = gateway.check("--deep")
        status, _ = gateway.stop()
        after = gateway.check("--deep")

    assert max(loss.lost_s for loss in losses) <= FLUSH_S + 1, losses
    assert max(loss.back_s for loss in losses) <= 5, losses
    assert max(loss.back_s for loss in often) <= 5, often
    assert {loss.reason for loss in losses + often} == {"restart"}, losses
    assert (beside.returncode, status, after.returncode) == (0, 0, 0), beside.stdout + after.stdout


def test_sigterm_ends_it_within_5_s_while_cameras_keep_silent(gateway: Product) -> None:
    """Both take the connection and never say a word: one by its ONVIF address, one by its RTSP address."""
    with socket.create_server(("127.0.2.1", 0)) as onvif, socket.create_server(("127.0.2.2", 0)) as rtsp:
        addresses = [f"{each.getsockname()[0]}:{each.getsockname()[1]}" for each in (onvif, rtsp)]
        more = f'address = "{addresses[0]}"\nuser = "u"\npassword_file = "p"'
        gateway.configure(
            toml(camera("onvif", more=more) + camera("rtsp", f"rtsp://{addresses[1]}/")), {"p": "pintu"}
        )
        gateway.start()
        for each in (onvif, rtsp):
            each.settimeout(15)
        with onvif.accept()[0] as asked, rtsp.accept()[0] as wanted:
            assert asked.recv(4) == b"POST"
            assert wanted.recv(7) == b"OPTIONS"
            family = gateway.family()

            status, seconds = gateway.stop()

    assert (status, seconds < 5) == (0, True), f"exit {status} after {seconds:.1f} s"
    until(lambda: not any(one.is_running() for one in family), 2, lambda: f"left behind: {family}")
