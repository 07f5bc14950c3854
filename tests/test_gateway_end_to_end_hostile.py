"""The installed product and cameras that are silent, endless, treacherous or not ours, beside a good one."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import psutil
import pytest

from nasty_onvif import NastyCamera, serving, silent, stream_uri, witness
from product import Product, camera, micros, now_us, product, toml, until
from scripted_camera import Step, Talk, scripted_camera
from served_camera import served_camera
from simpang_buffer.rtsp.auth import ServerAuth
from simpang_buffer.rtsp.message import Request
from simpang_onvif.errors import Reason
from stage import stage

pytest_plugins = ("own_network",)
pytestmark = pytest.mark.usefixtures("own_network")

# The promise is 10 s; the rest is how often the gateway looks at its streams and we at it, and the noise.
REASON_S = 10.0 + 2.0
# A recorder and a daemon with everything imported have 25 and 110 MB; endless input may not add to that.
MOST_BYTES = 220 << 20
Conversation = Callable[[Talk], Awaitable[None]]
ELSEWHERE = "127.0.0.9"
SIGN_IN = 'user = "admin"\npassword_file = "p"'


@dataclass
class Bad:
    """One bad camera. more: of its [[camera]]. asked: how often it was tried. reasons: those that fit."""

    more: str
    asked: Callable[[], int]
    reasons: frozenset[str]


@dataclass
class Crowd:
    """Everything that plays a part. refused: sign-ins counted by the cameras whose password is another."""

    gateway: Product
    bad: dict[str, Bad]
    visitors: list[str]
    elsewhere: tuple[str, int]
    refused: dict[str, Callable[[], int]]
    begun_us: int = field(default_factory=now_us)
    seconds: dict[str, float] = field(default_factory=dict)
    most_bytes: int = 0


@pytest.fixture(scope="module")
def crowd(own_network: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    with product(tmp_path_factory.mktemp("e2e")) as gateway, stage() as there:
        port, visitors = there.enter(witness(ELSEWHERE))
        good = there.enter(served_camera(auth=ServerAuth({"viewer": "lihat"})))
        bad: dict[str, Bad] = {}
        wrong = Refusing()
        for name, (connected, steps, reason) in rtsp_faults(port).items():
            one = there.enter(scripted_camera(connected, **steps))
            bad[name] = Bad(
                f'url = "rtsp://127.0.0.1:{one.port}/live"\n{SIGN_IN}',
                lambda one=one: one.connections,  # type: ignore[misc]  # bound now
                reason,
            )
        for name, (device, reason) in onvif_faults(port).items():
            there.enter(serving(device))
            bad[name] = Bad(
                f'address = "{device.address}"\n{SIGN_IN}',
                lambda device=device: len(device.asked),  # type: ignore[misc]  # bound now
                reason,
            )
        refusing = there.enter(scripted_camera(DESCRIBE=wrong.refuse))
        locked = NastyCamera(host="127.0.3.9", password="another")
        there.enter(serving(locked))
        told = [camera(name, more=one.more) for name, one in bad.items()]
        told.append(camera("good", good.url(), more='user = "viewer"\npassword_file = "good"'))
        told.append(camera("wrong-rtsp", f"rtsp://127.0.0.1:{refusing.port}/live", more=SIGN_IN))
        told.append(camera("wrong-onvif", more=f'address = "{locked.address}"\n{SIGN_IN}'))
        gateway.configure(toml("".join(told)), {"p": "pass & <word>", "good": "lihat"})
        gateway.start()
        yield Crowd(
            gateway, bad, visitors, (ELSEWHERE, port),
            {"wrong-rtsp": lambda: wrong.refused, "wrong-onvif": lambda: locked.refused},
        )  # fmt: skip


def test_each_bad_camera_has_its_reason_within_10_s_and_memory_stays_bounded(crowd: Crowd) -> None:
    begun = time.monotonic()  # all are tried at once
    reasons: dict[str, str] = {}

    def all_told() -> bool:
        for name, known in crowd.gateway.cameras().items():
            if name in crowd.bad and known["reason"] is not None and name not in reasons:
                reasons[name] = known["reason"]
                crowd.seconds[name] = time.monotonic() - begun
                assert known["state"] in ("unreachable", "auth"), known
                assert known["detail"], known
                assert known["remedy"], known
        measure(crowd)
        return reasons.keys() == crowd.bad.keys()

    until(all_told, 30, lambda: f"no reason: {crowd.bad.keys() - reasons.keys()}")

    assert {name: reason for name, reason in reasons.items() if reason not in crowd.bad[name].reasons} == {}
    assert set(reasons.values()) <= set(Reason)
    assert {name: took for name, took in crowd.seconds.items() if took > REASON_S} == {}
    # The endless ones are tried again and again; a few seconds more of them change nothing.
    crowd.gateway.wait_footage("good", 12)
    measure(crowd)
    now = {name: crowd.gateway.cameras()[name]["reason"] for name in crowd.bad}
    assert {name: reason for name, reason in now.items() if reason not in crowd.bad[name].reasons} == {}
    assert all(one.asked() for one in crowd.bad.values())
    assert crowd.most_bytes < MOST_BYTES, f"{crowd.most_bytes >> 20} MB"


def test_good_camera_beside_them_is_recorded_without_a_gap(crowd: Crowd) -> None:
    crowd.gateway.wait_footage("good", 12)

    found = crowd.gateway.coverage("good", crowd.begun_us, now_us())

    assert len(found["spans"]) == 1, found
    # From the first picture on; up to the fragment that is being filled.
    late = [gap for gap in found["gaps"] if micros(gap["start"]) > micros(found["spans"][0]["start"])]
    assert all(micros(gap["end"]) - micros(gap["start"]) < 2_500_000 for gap in late), found
    assert crowd.gateway.cameras()["good"]["state"] == "recording"


def test_wrong_password_is_told_and_tried_at_most_three_times_even_through_restarts(crowd: Crowd) -> None:
    def told() -> bool:
        cameras = crowd.gateway.cameras()
        return all(cameras[name]["state"] == "auth" for name in crowd.refused)

    for restart in range(3):
        until(told, 20, lambda: f"not told: {crowd.gateway.cameras()}")
        items = crowd.gateway.health()["camera-not-recording"]
        known = crowd.gateway.cameras()

        assert {known[name]["reason"] for name in crowd.refused} == {"auth"}
        assert {item["subject"] for item in items} >= {f"camera/{name}" for name in crowd.refused}
        assert all(1 <= refused() <= 3 for refused in crowd.refused.values()), restart
        crowd.gateway.wait_recording("good")
        if restart == 0:
            assert crowd.gateway.stop()[0] == 0
        else:
            crowd.gateway.running.kill()
            crowd.gateway.running.wait()
        crowd.gateway.start()
    crowd.gateway.wait_recording("good")
    until(told, 20, lambda: f"not told: {crowd.gateway.cameras()}")

    tries = {name: refused() for name, refused in crowd.refused.items()}
    assert all(1 <= count <= 3 for count in tries.values()), tries


def test_nobody_was_sent_elsewhere(crowd: Crowd) -> None:
    """Last, so that it holds for all that was tried before; the witness itself is tried too."""
    assert crowd.visitors == []

    with socket.create_connection(crowd.elsewhere):
        until(lambda: bool(crowd.visitors), 5, lambda: "the witness sees nobody")
    assert len(crowd.visitors) == 1


def measure(crowd: Crowd) -> None:
    for process in crowd.gateway.family():
        try:
            crowd.most_bytes = max(crowd.most_bytes, process.memory_info().rss)
        except psutil.NoSuchProcess:
            continue


@dataclass
class Refusing:
    """Asks for a digest and never likes it."""

    refused: int = 0

    async def refuse(self, talk: Talk, request: Request) -> None:
        self.refused += request.headers.get("authorization") is not None
        challenge = 'Digest realm="cam", nonce="0123456789abcdef", algorithm=MD5'
        await talk.reply(request, 401, ("WWW-Authenticate", challenge), reason="Unauthorized")


def rtsp_faults(elsewhere: int) -> dict[str, tuple[Conversation | None, dict[str, Step], frozenset[str]]]:
    """By name: the whole conversation or single answers, and the reasons that fit."""

    async def keep_silent(talk: Talk) -> None:
        await asyncio.Event().wait()

    async def drip(talk: Talk) -> None:
        for byte in b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nX: " + b"x" * 10_000:
            await talk.send(bytes((byte,)))
            await asyncio.sleep(0.2)

    async def endless_sdp(talk: Talk, request: Request) -> None:
        number = request.headers.get("cseq")
        head = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\nContent-Type: application/sdp\r\n"
        await talk.send(f"{head}Content-Length: 4000000000\r\n\r\nv=0\r\n".encode())
        while True:
            await talk.send(b"a=control:x\r\n" * 5000)

    async def endless_head(talk: Talk, request: Request) -> None:
        await talk.send(b"RTSP/1.0 200 OK\r\n")
        while True:
            await talk.send(b"X-More: yes\r\n" * 5000)

    async def redirect(talk: Talk, request: Request) -> None:
        await talk.reply(request, 302, ("Location", f"rtsp://{ELSEWHERE}:{elsewhere}/live"))

    late = frozenset({"timeout"})
    odd = frozenset({"malformed", "limit", "timeout"})
    return {
        "silent": (keep_silent, {}, late),
        "drip": (drip, {}, late),
        "endless-sdp": (None, {"DESCRIBE": endless_sdp}, odd),
        "endless-head": (None, {"DESCRIBE": endless_head}, odd),
        "redirect": (None, {"DESCRIBE": redirect}, frozenset({"refused-by-policy", "moved"})),
    }


def onvif_faults(elsewhere: int) -> dict[str, tuple[NastyCamera, frozenset[str]]]:
    policy = frozenset({"refused-by-policy"})
    foreign = stream_uri(f"rtsp://{ELSEWHERE}:{elsewhere}/live")
    return {
        "onvif-silent": (
            NastyCamera(host="127.0.3.2", faults={"GetSystemDateAndTime": silent}), frozenset({"timeout"})
        ),
        "onvif-file": (
            NastyCamera(host="127.0.3.3", bodies={"GetStreamUri": stream_uri("file:///etc/passwd")}), policy
        ),
        "onvif-foreign": (NastyCamera(host="127.0.3.4", bodies={"GetStreamUri": foreign}), policy),
    }  # fmt: skip
