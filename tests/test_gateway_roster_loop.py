from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest_asyncio

from kept_camera import KeptCamera
from simpang.config.load import parse
from simpang.roster.known import KnownCameras
from simpang.roster.plan import MOST_CAMERAS
from simpang.roster.roster import Roster
from simpang.roster.view import CameraState
from simpang.state.database import open_state
from simpang.supervise import Supervisor
from simpang_buffer.index.rows import StreamTotals
from simpang_buffer.model import StreamKey
from simpang_buffer.recording.spec import StreamSpec
from simpang_buffer.recording.view import StreamStatus
from simpang_buffer.rtsp.tls import Trust
from simpang_onvif.device import Device
from simpang_onvif.errors import OnvifError, Reason
from simpang_onvif.uri_policy import UriPolicy

CONFIG = """
[site]
id = "digulis"
time_zone = "Asia/Pontianak"
[discovery]
adopt = "all"
[credentials]
user = "simpang"
password_file = "cameras"
[[camera]]
id = "aus"
address = "10.0.4.50"
enabled = false
"""


@dataclass
class Network:
    """What discovery sees."""

    found: list[Device] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def devices(self) -> Sequence[Device]:
        return self.found

    def where_looked(self) -> Sequence[str]:
        return ["eth0 10.0.4.2/24"]

    def see(self, *devices: Device) -> None:
        self.found = list(devices)
        self.changed.set()


class NoFootage:
    async def stream_totals(self) -> dict[StreamKey, StreamTotals]:
        return {}


@dataclass
class Site:
    roster: Roster
    network: Network
    cameras: KeptCamera
    supervisor: Supervisor

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not true():
                await asyncio.sleep(0.005)

    def states(self) -> dict[str, CameraState]:
        return {camera.id: camera.state for camera in self.roster.cameras()}


@contextlib.asynccontextmanager
async def running(known: KnownCameras) -> AsyncIterator[Site]:
    network, cameras, supervisor = Network(), KeptCamera(known), Supervisor()
    roster = Roster(
        parse(CONFIG, Path("site.toml")),
        known=known,
        pool=cameras,
        index=NoFootage(),
        finder=network,
        supervisor=supervisor,
        credentials=cameras.credentials,
        policy=lambda wanted: UriPolicy(),
        trust=lambda wanted: Trust(),
        now_us=cameras.time.wall,
        onboard=cameras.onboard,
    )
    task = asyncio.create_task(roster.run(), name="roster")
    try:
        yield Site(roster, network, cameras, supervisor)
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with open_state(tmp_path / "state.db") as state, running(KnownCameras(state)) as site:
        yield site


def device(address: str, epr: str, name: str = "Utara") -> Device:
    return Device(epr, address, (f"http://{address}/onvif/device_service",), name, "X1", "", "eth0")


async def test_camera_that_appears_is_recorded_and_stays_when_it_goes(site: Site) -> None:
    site.network.see(device("10.0.4.21", "urn:a"))
    await site.until(lambda: site.states().get("utara") == CameraState.RECORDING)

    site.network.see()
    await site.until(lambda: site.roster.devices() == [])
    await asyncio.sleep(0)

    assert site.states() == {"aus": CameraState.DISABLED, "utara": CameraState.RECORDING}
    assert site.roster.where_looked() == ["eth0 10.0.4.2/24"]


async def test_becoming_known_does_not_interrupt_the_recording(site: Site) -> None:
    site.network.see(device("10.0.4.21", "urn:a"))
    await site.until(lambda: site.cameras.wished[-1:] == [("main", "sub")])
    wished = len(site.cameras.wished)

    for name in ("Utara", "Selatan"):
        site.network.see(device("10.0.4.21", "urn:a", name), device("10.0.4.22", "urn:b", f"{name} dua"))
        await site.until(lambda: not site.network.changed.is_set())
        await asyncio.sleep(0.05)

    assert all("main" in wish and "sub" in wish for wish in site.cameras.wished[wished:])
    assert site.roster.camera("utara") is not None


async def test_camera_that_is_recorded_is_not_moved_by_whoever_claims_to_be_it(site: Site) -> None:
    site.network.see(device("10.0.4.21", "urn:a"))
    await site.until(lambda: site.states().get("utara") == CameraState.RECORDING)

    site.network.see(device("10.0.4.66", "urn:a"))
    await site.until(lambda: not site.network.changed.is_set())
    await asyncio.sleep(0.05)

    camera = site.roster.camera("utara")
    assert camera is not None
    assert (camera.address, camera.state) == ("10.0.4.21", CameraState.RECORDING)


async def test_camera_that_moved_goes_on_under_its_id(tmp_path: Path) -> None:
    async with open_state(tmp_path / "state.db") as state:
        async with running(KnownCameras(state)) as site:
            site.network.see(device("10.0.4.21", "urn:a"))
            await site.until(lambda: site.states().get("utara") == CameraState.RECORDING)
        async with running(KnownCameras(state)) as site:
            site.cameras.state = lambda spec: StreamStatus("unreachable", "unreachable", "no answer")
            await site.until(lambda: "utara" in site.states())
            site.network.see(device("10.0.4.99", "urn:a", "Another name"))
            await site.until(lambda: getattr(site.roster.camera("utara"), "address", "") == "10.0.4.99")

            assert set(site.states()) == {"aus", "utara"}
            assert [found.camera for found in site.roster.devices()] == ["utara"]


async def test_refused_camera_shows_why_and_the_others_record(site: Site) -> None:
    site.cameras.errors["selatan"] = OnvifError(Reason.AUTH, "password refused")
    site.network.see(device("10.0.4.21", "urn:a"), device("10.0.4.22", "urn:b", "Selatan"))
    await site.until(lambda: site.states().get("selatan") == CameraState.AUTH)
    await site.until(lambda: site.states().get("utara") == CameraState.RECORDING)

    camera = site.roster.camera("selatan")
    assert camera is not None
    assert (camera.reason, camera.retry_us is not None) == ("auth", True)


async def test_keeper_that_breaks_is_started_again_and_stops_no_other(site: Site) -> None:
    site.cameras.errors["selatan"] = RuntimeError("a mistake of ours")
    site.network.see(device("10.0.4.21", "urn:a"), device("10.0.4.22", "urn:b", "Selatan"))

    await site.until(lambda: [t.part for t in site.supervisor.troubles()] == ["camera:selatan"])
    site.cameras.errors.clear()
    await site.until(lambda: site.states().get("utara") == CameraState.RECORDING)
    await site.until(lambda: site.states().get("selatan") == CameraState.RECORDING)


async def test_recorder_is_told_of_all_streams_each_time(site: Site) -> None:
    seen: list[set[str]] = []
    want = site.cameras.want

    def note(specs: Sequence[StreamSpec]) -> None:
        seen.append({str(spec.key) for spec in specs})
        want(specs)

    site.cameras.want = note  # type: ignore[method-assign]  # listens in
    site.network.see(device("10.0.4.21", "urn:a"), device("10.0.4.22", "urn:b", "Selatan"))
    await site.until(lambda: bool(seen) and len(seen[-1]) == 4)

    assert all(before <= after for before, after in itertools.pairwise(seen))


async def test_flood_of_devices_is_bounded_and_a_camera_among_them_is_found(site: Site) -> None:
    fakes = [device(f"10.0.5.{number}", f"urn:{number}", f"Fake {number}") for number in range(1, 101)]
    for number in range(1, 101):
        site.cameras.errors[f"fake-{number}"] = OnvifError(Reason.AUTH, "password refused")
    most = 0

    def recorded() -> bool:
        nonlocal most
        most = max(most, len(site.states()))
        site.network.changed.set()
        return site.states().get("utara") == CameraState.RECORDING

    site.network.see(*fakes, device("10.0.6.1", "urn:a"))
    await site.until(recorded)

    # The disabled camera of the configuration is one of those shown, and none of those recorded.
    assert most <= MOST_CAMERAS + 1
    assert len(asyncio.all_tasks()) < MOST_CAMERAS + 20
    assert [row.id for row in await site.cameras.known.all()] == ["utara"]
    assert {found.problem for found in site.roster.devices() if found.camera is None} == {"limit"}
    refusals = [
        await site.cameras.known.refused(f"fake-{n}", site.cameras.time.wall()) for n in range(1, 101)
    ]
    assert max(len(times) for times in refusals) <= 3
