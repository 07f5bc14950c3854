from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from run_gateway import (
    PASSWORD,
    Daemon,
    cli,
    daemon,
    free_port,
    gst_camera,
    run_once,
    silent_listener,
    until,
    write_site,
)
from simpang.app import previous_end
from simpang.assembly import recorder_processes
from simpang_buffer.index.index import open_index
from simpang_buffer.model import GapReason


def states(gateway: Daemon) -> dict[str, Any]:
    return {camera["id"]: camera for camera in gateway.ask("camera", "list")["items"]}


def served(gateway: Daemon) -> bool:
    assert gateway.process.poll() is None, gateway.log
    return "Page:" in gateway.out


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Four cameras: one that works, one with the wrong password, one silent in RTSP, one silent in ONVIF."""
    folder, port = tmp_path_factory.mktemp("gateway"), free_port()
    with gst_camera() as camera, silent_listener() as silent:
        userinfo = f"simpang:{quote(PASSWORD)}"
        cameras = f"""
[[camera]]
id = "utara"
url = "rtsp://{userinfo}@127.0.0.1:{camera}/stream"
[[camera]]
id = "salah"
url = "rtsp://simpang:wrong-one@127.0.0.1:{camera}/stream"
[[camera]]
id = "diam"
url = "rtsp://{userinfo}@127.0.0.1:{silent}/stream"
[[camera]]
id = "bisu"
address = "127.0.0.1:{silent}"
"""
        write_site(folder, cameras, port)
        with daemon(folder, port) as gateway:
            until(lambda: served(gateway))
            until(lambda: states(gateway)["utara"]["state"] == "recording")
            yield gateway


def test_link_on_standard_output_signs_in_once_and_is_in_no_log(gateway: Daemon) -> None:
    (link,) = re.findall(r"^Page: (http\S+)$", gateway.out, re.MULTILINE)
    token = link.split("token=")[1]

    first, second = gateway.http(f"/?token={token}"), gateway.http(f"/?token={token}")

    assert first[0] in (302, 303)
    assert second[0] not in (302, 303) or "token" in second[1]
    assert token not in gateway.log
    assert f"http://127.0.0.1:{gateway.port}" in gateway.log


def test_fresh_link_is_another_one(gateway: Daemon) -> None:
    first, second = gateway.cli("link"), gateway.cli("link", "--role", "viewer")

    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout.startswith(f"http://127.0.0.1:{gateway.port}/?token=")
    assert first.stdout != second.stdout
    assert first.stdout.strip().split("=")[1] not in gateway.log


def test_each_camera_says_how_it_is_and_none_disturbs_another(gateway: Daemon) -> None:
    for id_, state, reason in (
        ("salah", "auth", "auth"),
        ("diam", "unreachable", "timeout"),
        ("bisu", "unreachable", "timeout"),
    ):
        camera = until(lambda id_=id_: _with_reason(gateway, id_), 25)  # type: ignore[misc]  # bound now
        assert (camera["state"], camera["reason"]) == (state, reason), camera
        assert camera["remedy"]
    assert states(gateway)["utara"]["state"] == "recording"
    assert gateway.http("/readyz")[0] == 503
    items = gateway.ask("status")["health"]["items"]
    assert {"camera/salah", "camera/diam", "camera/bisu"} <= {item["subject"] for item in items}


def _with_reason(gateway: Daemon, id_: str) -> Any:
    camera = states(gateway)[id_]
    return camera if camera["reason"] is not None else None


def test_clip_is_what_was_recorded(gateway: Daemon, tmp_path: Path) -> None:
    done = until(lambda: _clip(gateway, tmp_path / "utara.mp4"))

    assert done["files"][0]["file"] == str(tmp_path / "utara.mp4")
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=codec_name,nb_read_frames",
         "-of", "json", str(tmp_path / "utara.mp4")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert probe.stderr == ""
    (stream,) = json.loads(probe.stdout)["streams"]
    assert stream["codec_name"] == "h264"
    assert int(stream["nb_read_frames"]) > 20
    assert list(tmp_path.iterdir()) == [tmp_path / "utara.mp4"]


def _clip(gateway: Daemon, file: Path) -> Any:
    """The clip, once it has some seconds."""
    start = states(gateway)["utara"]["streams"][0]["recording_since"]
    if time.time() - _seconds(start) < 5:
        return None
    return gateway.ask("clip", "--camera", "utara", "--start", start, "--end", "now", "-o", str(file))


def test_nothing_recorded_is_its_own_exit_code_and_leaves_no_file(gateway: Daemon, tmp_path: Path) -> None:
    for camera, start, end in (("utara", "-3d", "-2d"), ("nobody", "-1m", "now")):
        done = gateway.cli(
            "clip", "--camera", camera, "--start", start, "--end", end, "-o", str(tmp_path / "no.mp4")
        )
        assert done.returncode == 5
        assert done.stderr.startswith("simpang: ")
    assert list(tmp_path.iterdir()) == []


def test_verbs_of_every_day_work_in_words_and_in_json(gateway: Daemon) -> None:
    until(lambda: gateway.ask("buffer", "list", "--start", "-5m", "--camera", "utara")["items"][0]["spans"])

    for verb in (
        ("status",),
        ("--lang", "id", "status"),
        ("camera", "list"),
        ("camera", "show", "utara"),
        ("buffer", "list"),
        ("buffer", "list", "--camera", "utara", "--start", "-5m"),
        ("buffer", "check", "--data", str(gateway.data)),
        ("buffer", "check", "--deep", "--data", str(gateway.data)),
        ("job", "list"),
        ("job", "list", "--state", "done"),
        ("central", "list"),
        ("config", "check"),
        ("config", "show", "--origin"),
    ):
        words, data = gateway.cli(*verb), gateway.cli(*verb, "--json")
        assert (words.returncode, data.returncode) == (0, 0), (verb, words.stderr, data.stderr)
        assert words.stdout.strip(), verb
        assert json.loads(data.stdout) is not None
        assert "Traceback" not in words.stderr
        assert PASSWORD not in words.stdout + data.stdout
        assert quote(PASSWORD) not in words.stdout + data.stdout


def test_refusals_say_why_and_what(gateway: Daemon) -> None:
    for code, verb, words in (
        (2, ("job", "add", "--camera", "utara", "--start", "-9s", "--end", "now", "--to", "x"), "no centre"),
        (5, ("job", "show", "0"), "no such job"),
        (5, ("job", "cancel", "0"), "no such job"),
        (5, ("camera", "show", "nobody"), "no camera"),
        (5, ("central", "test", "x"), "no central"),
        (4, ("buffer", "check", "--repair", "--data", str(gateway.data)), "stop that one"),
        (2, ("clip", "--camera", "utara", "--start", "now", "--end", "-1m", "-o", "x"), "not later"),
        (2, ("clip", "--camera", "utara", "--start", "noon", "--end", "now", "-o", "x"), "--start 'noon'"),
    ):
        done = gateway.cli(*verb)
        assert done.returncode == code, (verb, done.stderr)
        assert words in done.stderr, (verb, done.stderr)


def test_second_gateway_on_the_same_folder_is_refused_by_name(gateway: Daemon) -> None:
    begun = time.monotonic()

    done = run_once(gateway.folder, "--data", str(gateway.data))

    assert done.returncode == 1
    assert f"process id {gateway.process.pid}" in done.stderr
    assert time.monotonic() - begun < 4


def test_port_in_use_is_named_with_what_to_do(gateway: Daemon, tmp_path: Path) -> None:
    write_site(tmp_path, "", gateway.port)

    done = run_once(tmp_path, "--data", str(tmp_path / "data"))

    assert done.returncode == 1
    assert f"127.0.0.1:{gateway.port}" in done.stderr
    assert "another program uses it" in done.stderr
    assert "Traceback" not in done.stderr


def test_port_in_use_does_not_stop_a_service_from_recording(gateway: Daemon, tmp_path: Path) -> None:
    write_site(tmp_path, "", gateway.port)
    with daemon(tmp_path, gateway.port, variables={"INVOCATION_ID": "x"}) as service:
        until(lambda: "web failed" in service.log)

        assert service.process.poll() is None
        assert "Page:" not in service.out
        service.stop()


def test_no_secret_reaches_log_output_or_process_list(gateway: Daemon) -> None:
    recorders = subprocess.run(
        ["pgrep", "-P", str(gateway.process.pid), "-a"], capture_output=True, text=True, check=True
    ).stdout

    assert "simpang_buffer.recording.process" in recorders
    for text in (gateway.log, gateway.out, recorders):
        for form in (PASSWORD, quote(PASSWORD), repr(PASSWORD.encode())[2:-1], "wrong-one"):
            assert form not in text


def test_files_are_for_the_gateway_alone(gateway: Daemon) -> None:
    for name, most in (("lock", 0o600), ("api.sock", 0o600), ("secrets", 0o700), ("last-good.toml", 0o600)):
        mode = stat.S_IMODE((gateway.data / name).stat().st_mode)
        assert mode & ~most == 0, (name, oct(mode))


def test_stop_is_quick_even_with_silent_cameras(gateway: Daemon) -> None:
    assert gateway.stop() < 5

    check = cli("buffer", "check", "--data", str(gateway.data), folder=gateway.folder)
    assert (check.returncode, "no faults" in check.stdout) == (0, True)
    assert gateway.cli("status").returncode == 3
    assert "Traceback" not in gateway.log


def test_killed_gateway_records_again_within_five_seconds(tmp_path: Path) -> None:
    port = free_port()
    with gst_camera() as camera:
        url = f"rtsp://simpang:{quote(PASSWORD)}@127.0.0.1:{camera}/stream"
        write_site(tmp_path, f'[[camera]]\nid = "utara"\nurl = "{url}"\nrecord = ["main"]\n', port)
        with daemon(tmp_path, port) as first:
            until(lambda: served(first))
            until(lambda: states(first)["utara"]["streams"][0]["last_fragment"])
            first.process.send_signal(signal.SIGKILL)
            first.process.wait(timeout=5)
        killed = time.time()
        with daemon(tmp_path, port) as second:
            until(lambda: served(second))
            stream = until(lambda: _written(second))
            coverage = second.ask("buffer", "list", "--start", "-2m", "--camera", "utara")["items"]
            check = second.cli("buffer", "check", "--deep", "--data", str(second.data))
            second.stop()

    assert stream
    main = next(one for one in coverage if one["stream"] == "main")
    assert {gap["reason"] for gap in main["gaps"][1:]} <= {"restart"}
    assert check.returncode == 0, check.stdout
    assert time.time() - killed < 25
    (gap,) = [gap for gap in main["gaps"] if gap["reason"] == "restart"]
    assert _seconds(gap["end"]) - _seconds(gap["start"]) < 5 + 2


def test_damaged_index_costs_no_recording_and_is_rebuilt_beside_it(tmp_path: Path) -> None:
    """Damaged before the start, and once more while it is open."""
    port = free_port()
    with gst_camera() as camera:
        url = f"rtsp://simpang:{quote(PASSWORD)}@127.0.0.1:{camera}/stream"
        write_site(tmp_path, f'[[camera]]\nid = "utara"\nurl = "{url}"\nrecord = ["main"]\n', port)
        with daemon(tmp_path, port) as first:
            until(lambda: served(first))
            until(lambda: states(first)["utara"]["streams"][0]["last_fragment"])
            first.stop()
        index = first.data / "index.db"
        before = sorted(first.data.rglob("*.mp4"))
        index.write_bytes(b"\0" * index.stat().st_size)

        with daemon(tmp_path, port) as second:
            until(lambda: served(second))
            until(lambda: _written(second))
            rebuilt = second.cli("buffer", "rebuild", "--data", str(second.data), "--wait")
            checked = second.cli("buffer", "check", "--deep", "--data", str(second.data))
            began = states(second)["utara"]["streams"][0]["recording_since"]
            # Under its open descriptors, log and all: what is read next is no database.
            for part in (index, index.with_name("index.db-wal")):
                with part.open("r+b") as file:
                    file.write(b"\xff" * part.stat().st_size)
            until(
                lambda: (
                    len(list(second.data.glob("index.db.damaged-*"))) >= 2 and second.ask("buffer", "list")
                )
            )
            again = second.cli("buffer", "rebuild", "--data", str(second.data), "--wait")
            still = states(second)["utara"]["streams"][0]
            check = second.cli("buffer", "check", "--deep", "--data", str(second.data))
            coverage = second.ask("buffer", "list", "--start", "-2m", "--camera", "utara")["items"]
            second.stop()

    assert len(before) == 1
    assert before[0].exists()
    assert (rebuilt.returncode, checked.returncode) == (0, 0), (rebuilt.stderr, checked.stdout)
    assert (again.returncode, check.returncode) == (0, 0), (again.stderr, check.stdout)
    assert "the index is being rebuilt" in second.log
    assert "the index is replaced" in second.log
    # One run goes on through it all.
    assert still["recording_since"] == began
    spans = next(one for one in coverage if one["stream"] == "main")["spans"]
    assert [span["run"] for span in spans] == [1, 2]


def _written(gateway: Daemon) -> Any:
    return states(gateway)["utara"]["streams"][0]["last_fragment"]


def _seconds(text: str) -> float:
    import datetime as dt

    return dt.datetime.fromisoformat(text).timestamp()


def test_faulty_file_runs_the_last_good_one_and_says_so_everywhere(tmp_path: Path) -> None:
    port = free_port()
    file = write_site(tmp_path, "", port)
    with daemon(tmp_path, port) as gateway:
        until(lambda: served(gateway))
        gateway.stop()
    file.write_text(file.read_text().replace("time_zone", "timezone"))

    refused = cli("config", "check", folder=tmp_path)
    with daemon(tmp_path, port, "--log-format", "json") as gateway:
        until(lambda: served(gateway))
        health = gateway.ask("status")["health"]
        words = gateway.cli("status").stdout
        gateway.stop()

    assert refused.returncode == 2
    assert 'simpang.toml:4: site.timezone: unknown key; did you mean "time_zone"?' in refused.stderr
    item = next(item for item in health["items"] if item["code"] == "config-faulty")
    assert any("timezone" in fault for fault in item["evidence"]["faults"])
    assert "last good" in words
    logged = [json.loads(line) for line in gateway.log.splitlines()]
    assert any("timezone" in entry["message"] for entry in logged)


def test_first_start_with_faults_lists_them_all(tmp_path: Path) -> None:
    (tmp_path / "simpang.toml").write_text('[site]\nid = "A"\n[buffer]\nflush = 3\n')

    done = run_once(tmp_path, "--data", str(tmp_path / "data"))

    assert done.returncode == 2
    assert len(re.findall(r"^simpang\.toml:\d+: ", done.stderr, re.MULTILINE)) == 3


def test_folder_that_cannot_be_used_is_named_with_what_to_do(tmp_path: Path) -> None:
    write_site(tmp_path, "", free_port())
    (tmp_path / "file").write_text("")

    done = run_once(tmp_path, "--data", str(tmp_path / "file" / "data"))

    assert done.returncode == 1
    assert str(tmp_path / "file" / "data") in done.stderr
    assert "--data" in done.stderr
    assert "Traceback" not in done.stderr


def test_damaged_key_and_certificate_do_not_stop_a_service(tmp_path: Path) -> None:
    port = free_port()
    write_site(tmp_path, "", port)
    (tmp_path / "data" / "secrets").mkdir(parents=True)
    (tmp_path / "data" / "secrets" / "gateway-key.pem").write_text("garbage")
    with daemon(tmp_path, port, variables={"INVOCATION_ID": "x"}) as gateway:
        until(lambda: (gateway.data / "api.sock").is_socket())
        key = gateway.ask("status")["site"]["gateway_key"]
        gateway.stop()

    assert key
    assert "is damaged" in gateway.log
    assert len(list((tmp_path / "data" / "secrets").glob("gateway-key.damaged-*"))) == 1


async def test_gap_of_a_power_cut_is_told_from_a_restart(tmp_path: Path) -> None:
    async with open_index(tmp_path / "index.db") as index:
        assert await previous_end(index, "boot-1") is GapReason.RESTART
        assert await previous_end(index, "boot-1") is GapReason.RESTART
        assert await previous_end(index, "boot-2") is GapReason.POWER
        await index.set_meta("stopped", "clean")
        assert await previous_end(index, "boot-3") is GapReason.RESTART


def test_larger_sites_get_more_recorders_but_never_more_than_cores() -> None:
    assert [recorder_processes(cameras, 4) for cameras in (0, 1, 16, 17, 32, 64)] == [1, 1, 1, 2, 2, 4]
    assert recorder_processes(64, 1) == 1
