"""The installed product and cameras nobody here wrote: found or listed, recorded, read back, proven whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from media_files import decode_errors, probe
from peer_gst import gst_camera
from peer_ipycam import IpyCam, ipycam
from product import Product, camera, micros, product, rfc3339, toml, until
from stage import stage

pytest_plugins = ("own_network",)
pytestmark = pytest.mark.usefixtures("own_network")

# Of each camera by its address: codec, audio codec.
LISTED = {"h264-aac": ("h264", "aac"), "h265": ("hevc", None), "h264-pcma": ("h264", "pcm_alaw")}
SECONDS = 6


@pytest.fixture(scope="module")
def peers(own_network: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, IpyCam]]:
    """A gateway that takes whatever accepts its password, and records four cameras for some seconds."""
    with product(tmp_path_factory.mktemp("e2e")) as gateway, stage() as there:
        # One address each: a device that answers from a listed camera's address is that camera.
        found = there.enter(ipycam(user="simpang", password="pintu", name="Alun"))
        aac = there.enter(gst_camera("h264", "aac", user="viewer", password="k3:@/?", host="127.0.2.1"))
        h265 = there.enter(gst_camera("h265", fps=15, gop=15, host="127.0.2.2"))
        pcma = there.enter(gst_camera("h264", "pcma", user="viewer", password="lihat", host="127.0.2.3"))
        with_userinfo = pcma.url.replace("rtsp://", "rtsp://viewer:lihat@")
        gateway.configure(
            toml(
                '[credentials]\nuser = "simpang"\npassword_file = "cameras"\n'
                + camera("h264-aac", aac.url, more='audio = true\nuser = "viewer"\npassword_file = "aac"')
                + camera("h265", h265.url)
                + camera("h264-pcma", with_userinfo, more="audio = true"),
                discovery='adopt = "all"\ninterfaces = ["lo"]\nevery_s = 5',
            ),
            {"cameras": "pintu", "aac": "k3:@/?"},
        )
        gateway.start()
        gateway.wait_recording(*LISTED, seconds=40)
        for one in (adopted(gateway), *LISTED):
            gateway.wait_footage(one, SECONDS)
        yield gateway, found


@pytest.fixture
def gateway(peers: tuple[Product, IpyCam]) -> Product:
    return peers[0]


def adopted(gateway: Product) -> str:
    """The id of the camera that nobody listed."""
    found: list[str] = []

    def there() -> bool:
        found[:] = [one for one in gateway.cameras() if one not in LISTED]
        return bool(found)

    until(there, 30, lambda: f"nothing was found:\n{gateway.log[-3000:]}")
    assert len(found) == 1, found
    return found[0]


def test_camera_that_nobody_listed_is_found_and_its_two_streams_are_recorded(
    peers: tuple[Product, IpyCam],
) -> None:
    gateway, found = peers

    known = gateway.cameras()[adopted(gateway)]

    assert known["state"] == "recording"
    assert known["address"] == found.address
    assert known["device"]["epr"].endswith(found.epr)
    sizes = {stream["name"]: (stream["width"], stream["height"]) for stream in known["streams"]}
    assert sizes == {"main": (640, 360), "sub": (320, 180)}
    assert all(stream["bytes"] >= 0 and stream["last_fragment"] for stream in known["streams"])


@pytest.mark.parametrize("one", [*LISTED, "found"])
def test_clip_over_http_is_whole_and_as_long_as_it_says(gateway: Product, one: str, tmp_path: Path) -> None:
    one = adopted(gateway) if one == "found" else one
    codec, sound = LISTED.get(one, ("h264", None))
    start_us, _ = gateway.wait_footage(one, SECONDS)
    query = {"start": rfc3339(start_us + 2_000_000), "end": rfc3339(start_us + 5_000_000)}
    file = tmp_path / "clip.mp4"

    answer = gateway.get(f"/api/v1/cameras/{one}/streams/main/clip.mp4", query)
    file.write_bytes(answer.body)

    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("video/mp4")
    assert decode_errors(file) == ""
    probed = probe(file)
    assert (probed.codec, probed.audio_codec) == (codec, sound)
    assert probed.frames == probed.packets
    length_us = micros(answer.headers["simpang-end"]) - micros(answer.headers["simpang-start"])
    assert micros(answer.headers["simpang-start"]) <= start_us + 2_000_000
    assert length_us >= 3_000_000 - 100_000
    assert abs((probed.pts[-1] - probed.pts[0]) / 90_000 - length_us / 1e6) < 0.3


def test_clip_by_command_line_is_whole(gateway: Product, tmp_path: Path) -> None:
    start_us, end_us = gateway.wait_footage("h264-aac", SECONDS)
    out = tmp_path / "clip.mp4"

    done = gateway.cli(
        "--json", "clip", "--camera", "h264-aac", "--start", rfc3339(start_us), "--end", rfc3339(end_us),
        "-o", str(out),
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert [written["file"] for written in json.loads(done.stdout)["files"]] == [str(out)]
    assert decode_errors(out) == ""
    # Every picture of a camera that sends 25 in a second, but for those of a fragment at either end.
    assert abs(probe(out).frames - (end_us - start_us) / 1e6 * 25) < 30


def test_list_says_what_is_kept_and_check_finds_no_fault_beside_the_running_gateway(gateway: Product) -> None:
    listed = gateway.cli("--json", "buffer", "list", "--start", "-10m")
    deep = gateway.check("--deep")

    assert listed.returncode == 0, listed.stderr
    streams = {(item["camera"], item["stream"]): item for item in json.loads(listed.stdout)["items"]}
    assert set(streams) == {
        *((one, "main") for one in LISTED), (adopted(gateway), "main"), (adopted(gateway), "sub")
    }  # fmt: skip
    for key, item in streams.items():
        assert len(item["spans"]) == 1, f"{key} was interrupted: {item}"
        assert item["spans"][0]["bytes"] > 10_000
    assert deep.returncode == 0, deep.stdout


def test_files_after_a_stop_are_whole_by_the_deep_check_and_by_ffprobe(gateway: Product) -> None:
    status, seconds = gateway.stop()

    assert (status, seconds < 5) == (0, True), f"{status} after {seconds:.1f} s"
    deep = gateway.check("--deep")
    assert deep.returncode == 0, deep.stdout
    last = [max(run.glob("*.mp4")) for run in (gateway.data / "media").glob("*/*/*")]
    assert len(last) == 5
    for file in last:
        assert decode_errors(file) == ""
