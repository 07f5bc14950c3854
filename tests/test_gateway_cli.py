from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from recordings import Take, record
from simpang.cli.exits import CliError
from simpang.cli.main import main, parser
from simpang.cli.output import plain, rate, size
from simpang.cli.probe import try_each
from simpang.cli.when import parse_range, parse_when
from simpang_buffer.index.folder_sight import new_marker, write_marker
from simpang_buffer.index.index import open_index
from simpang_buffer.model import StreamKey
from simpang_onvif.device import CheckedUri

NOW_US = 1_795_000_000_000_000

# Section 1 of the contract, as far as this release goes.
VERBS = (
    "run", "demo", "demo-camera", "config check", "config show", "discover", "probe", "camera list",
    "camera show", "status", "buffer list", "buffer check", "buffer rebuild", "clip", "snapshot", "job list",
    "job add",
    "job show", "job cancel", "central list", "central test", "link", "clock show", "clock trust",
    "clock set",
)  # fmt: skip


def run(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as usage:
            code = int(usage.code or 0)
    return code, out.getvalue(), err.getvalue()


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    def below(name: str, one: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
        yield name, one
        for action in one._actions:
            if isinstance(action, argparse._SubParsersAction):
                for verb, inner in action.choices.items():
                    yield from below(f"{name} {verb}".strip(), inner)

    yield from below("", parser())


def test_every_verb_of_the_contract_is_there() -> None:
    assert set(VERBS) <= {name for name, _ in parsers()}


def test_every_verb_and_option_is_explained() -> None:
    for name, one in parsers():
        assert one.description, name
        for action in one._actions:
            if not isinstance(action, argparse._SubParsersAction):
                assert action.help, (name, action.dest)
            else:
                helped = {choice.dest: choice.help for choice in action._choices_actions}
                assert set(helped) == set(action.choices)
                assert all(helped.values())


def test_help_fits_a_terminal_and_needs_no_gateway() -> None:
    for name in ("", *VERBS):
        code, out, err = run(*name.split(), "--help")
        assert (code, err) == (0, "")
        assert max(map(len, out.splitlines())) <= 110, name


def test_usage_is_exit_2() -> None:
    for line in ("", "fly", "clip", "clip --camera a", "job add --camera a", "probe", "run --log-level loud",
                 "probe 10.0.4.21 --user a", "discover --seconds 0.1", "buffer list --end now"):  # fmt: skip
        assert run(*line.split())[0] == 2, line


def test_relative_times_are_no_options() -> None:
    for start, end in (("-10m", "now"), ("-1.5h", "-1h"), ("-2d", "2026-11-24T02:00:00Z")):
        given = ["clip", "--camera", "a", "--start", start, "--end", end, "-o", "x"]
        code, _, err = run("--socket", "/nonexistent/api.sock", *given)
        assert (code, "no gateway runs here" in err) == (3, True), err


def test_common_options_may_stand_before_and_after_the_verb(tmp_path: Path) -> None:
    for line in (("--config", "x", "config", "check"), ("config", "check", "--config", "x")):
        code, _, err = run(*line)
        assert (code, err.startswith("x:1: does not exist")) == (2, True), err


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("now", NOW_US),
        ("-10m", NOW_US - 600_000_000),
        ("-0.5s", NOW_US - 500_000),
        ("-2d", NOW_US - 2 * 86_400_000_000),
        ("2026-11-18T11:06:40Z", NOW_US),
        ("2026-11-18T18:06:40.000000+07:00", NOW_US),
    ],
)
def test_time_is_read(text: str, time_us: int) -> None:
    assert parse_when(text, "--start", NOW_US) == time_us


@pytest.mark.parametrize("text", ["", "noon", "10m", "-10x", "2026-11-18T11:06:40", "2026-13-01T00:00:00Z"])
def test_time_that_is_none_names_its_option(text: str) -> None:
    with pytest.raises(CliError, match="--start") as caught:
        parse_when(text, "--start", NOW_US)
    assert caught.value.code == 2


def test_empty_range_is_refused() -> None:
    with pytest.raises(CliError, match="not later"):
        parse_range("-1m", "-1m", NOW_US)


def test_figures_read_well_and_names_cannot_move_the_cursor() -> None:
    assert [size(n) for n in (0, 999, 1000, 1_400_000_000, 3 * 10**12)] == [
        "0 B", "999 B", "1.0 kB", "1.4 GB", "3.0 TB",
    ]  # fmt: skip
    assert [rate(n) for n in (None, 0, 64_000, 3_500_000)] == ["-", "-", "64 kbit/s", "3.5 Mbit/s"]
    assert plain("a\x1b[2J\nb\u202e") == "a?[2J?b?"
    assert plain(None) == "-"


def test_config_check_names_every_fault_and_exits_2(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(
        '[site]\nid = "A"\ntime_zone = "Mars"\n'
        '[buffer]\nmax_byte = 1\nflush_s = "2"\n[discovery]\nadopt = "al"\n'
    )

    code, out, err = run("config", "check", str(file))
    as_json = run("config", "check", str(file), "--json")

    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == 5
    assert all(line.startswith(f"{file}:") and "; " in line for line in lines)
    assert as_json[0] == 2
    assert len(json.loads(as_json[1])["faults"]) == 5


def test_config_check_looks_at_secrets_unless_told_not_to(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(
        '[site]\nid = "a"\ntime_zone = "Asia/Jakarta"\n[credentials]\nuser = "u"\npassword_file = "cameras"\n'
    )

    refused = run("config", "check", str(file), "--data", str(tmp_path / "data"))
    passed = run("config", "check", str(file), "--no-secrets")

    assert refused[0] == 2
    assert f"{file}:6: credentials.password_file: there is no secret 'cameras'" in refused[2]
    assert str(tmp_path / "data" / "secrets" / "cameras") in refused[2]
    assert str(tmp_path / "secrets" / "cameras") in refused[2]
    assert passed[0] == 0


def test_config_show_says_where_each_setting_comes_from_and_no_password(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(
        '[site]\nid = "a"\ntime_zone = "Asia/Jakarta"\n[buffer]\nmin_free = "3 GB"\n'
        '[[camera]]\nname = "Utara"\nurl = "rtsp://u:geheim@10.0.4.21/x"\n'
    )

    code, out, _ = run("--config", str(file), "config", "show", "--origin")
    shown = json.loads(run("--config", str(file), "config", "show", "--json")[1])

    assert code == 0
    assert f'site.id = "a"{" " * 43} # {file}:2' in out
    # By the disk that /var/lib is on, whatever it is here.
    (flush,) = [line for line in out.splitlines() if line.startswith("buffer.flush_s = ")]
    assert "# default: " in flush
    assert any(
        line.startswith("buffer.segment_s") and line.endswith("# default") for line in out.splitlines()
    )
    assert 'camera[1].url = "rtsp://10.0.4.21/x"' in out
    assert "geheim" not in out
    assert shown["buffer"]["min_free"] == "3000000000 B"
    assert shown["camera"][0]["url"] == "rtsp://10.0.4.21/x"


def test_buffer_check_without_a_gateway(tmp_path: Path) -> None:
    assert run("buffer", "check", "--data", str(tmp_path))[0] == 5
    asyncio.run(_make_index(tmp_path))

    for arguments in ((), ("--deep",), ("--repair",)):
        assert run("buffer", "check", "--data", str(tmp_path), *arguments)[0] == 0
    (tmp_path / "media" / "a" / "main" / "000001").mkdir(parents=True)
    (tmp_path / "media" / "a" / "main" / "000001" / "000000.mp4").write_bytes(b"junk")

    code, out, _ = run("buffer", "check", "--data", str(tmp_path), "--json")
    assert code == 1
    assert [finding["code"] for finding in json.loads(out)["findings"]] == ["unknown"]
    assert run("buffer", "check", "--data", str(tmp_path), "--repair")[0] == 0
    assert run("buffer", "check", "--data", str(tmp_path))[0] == 0


def test_buffer_check_of_a_damaged_index_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "index.db").write_bytes(b"no database" * 1000)

    code, _, err = run("buffer", "check", "--data", str(tmp_path))

    assert (code, "move the file aside" in err) == (1, True)


def test_buffer_check_reads_as_deep_as_it_is_told(tmp_path: Path) -> None:
    asyncio.run(_make_index(tmp_path))
    run_files = record(tmp_path / "media", Take(seconds=4, segment_s=2))
    assert run("buffer", "rebuild", "--data", str(tmp_path), "--site", "site")[0] == 0
    file, fragment = run_files.files[0], run_files.files[0].fragments[1]
    found = {}
    content = file.path.read_bytes()
    places = {
        "media": fragment.offset + fragment.size_bytes - 5,
        "box": fragment.offset + 5,
        "time": content.index(b"tfdt", fragment.offset) + 15,
        "seal": fragment.offset + fragment.size_bytes + 31,
    }
    for what, at in places.items():
        file.path.write_bytes(content[:at] + b"#" + content[at + 1 :])
        for depth in (("--depth", "rows"), ("--depth", "boxes"), ("--deep",)):
            code, out, _ = run("buffer", "check", "--data", str(tmp_path), "--json", *depth)
            found[what, depth[-1]] = (code, [finding["code"] for finding in json.loads(out)["findings"]])
        file.path.write_bytes(content)

    assert found == {
        ("media", "rows"): (0, []),
        ("media", "boxes"): (0, []),
        ("media", "--deep"): (1, ["sealed"]),
        ("box", "rows"): (0, []),
        ("box", "boxes"): (1, ["boxes"]),
        ("box", "--deep"): (1, ["sealed"]),
        ("time", "rows"): (0, []),
        ("time", "boxes"): (1, ["boxes"]),
        ("time", "--deep"): (1, ["sealed"]),
        # When it was taken stands beside the hash, and once more in the table.
        ("seal", "rows"): (0, []),
        ("seal", "boxes"): (1, ["boxes"]),
        ("seal", "--deep"): (1, ["boxes"]),
    }


def test_buffer_check_names_some_of_many_and_counts_the_rest(tmp_path: Path) -> None:
    asyncio.run(_make_index(tmp_path))
    folder = tmp_path / "media" / "a" / "main" / "000001"
    folder.mkdir(parents=True)
    for number in range(30):
        (folder / f"{number:06}.mp4").write_bytes(b"mdat")

    code, out, _ = run("buffer", "check", "--data", str(tmp_path))

    assert code == 1
    assert (out.count("no row of the index"), "unknown: and 10 more" in out, "30 faults" in out) == (
        20,
        True,
        True,
    )


def test_buffer_rebuild_without_a_gateway_makes_the_index_anew(tmp_path: Path) -> None:
    assert run("buffer", "rebuild", "--data", str(tmp_path), "--site", "here")[0] == 5
    (tmp_path / "media").mkdir()
    record(tmp_path / "media", Take(seconds=4, segment_s=2, site="here"))
    record(tmp_path / "media", Take(seconds=2, key=StreamKey("yard", "main"), site="pasar"))
    (tmp_path / "index.db").write_bytes(b"no database" * 1000)

    code, out, _ = run("buffer", "rebuild", "--data", str(tmp_path), "--site", "here")

    assert (code, "3 files read, 0 could not be" in out, "yard/main: recorded by site pasar" in out) == (
        0,
        True,
        True,
    )
    assert run("buffer", "check", "--data", str(tmp_path), "--depth", "boxes")[0] == 0
    assert [path.name for path in tmp_path.glob("index.db.damaged-*")] != []
    assert not (tmp_path / "index.rebuild").exists()
    code, _, err = run("--config", str(tmp_path / "none.toml"), "buffer", "rebuild", "--data", str(tmp_path))
    assert (code, "--site ID" in err) == (2, True)


def test_buffer_check_and_rebuild_look_into_every_folder_that_is_there(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    data.mkdir()
    asyncio.run(_make_index(data))
    marker = new_marker("site")
    for folder in (other, data / "elsewhere"):
        folder.mkdir()
        record(folder, Take(seconds=2))
    write_marker(other, marker)
    asyncio.run(_add_folder(data, marker.id, other))

    code, out, _ = run("buffer", "check", "--data", str(data), "--json")
    assert [(one["code"], one["folder"]) for one in json.loads(out)["findings"]] == [("unknown", 2)]
    assert run("buffer", "rebuild", "--data", str(data), "--site", "site")[0] == 0
    assert run("buffer", "check", "--data", str(data), "--deep")[0] == 0
    other.rename(tmp_path / "pulled")
    code, out, _ = run("buffer", "check", "--data", str(data), "--json")
    assert (code, json.loads(out)["findings"]) == (0, [])


async def _add_folder(data: Path, marker: str, path: Path) -> None:
    async with open_index(data / "index.db") as index, index.db.transaction() as tx:
        await tx.run("insert into folder (id, marker, path) values (2, ?, ?)", (marker, str(path)))


async def _make_index(data: Path) -> None:
    async with open_index(data / "index.db") as index:
        await index.set_meta("stopped", "clean")
    (data / "media").mkdir()


@contextlib.asynccontextmanager
async def answering(path: Path, status: int, body: object) -> AsyncIterator[None]:
    """A gateway that answers everything but /healthz like this."""

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/healthz":
            return web.json_response({"status": "ok"})
        if isinstance(body, bytes):
            return web.Response(status=status, body=body)
        return web.json_response(body, status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(path)).start()
        yield
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (404, "nothing-recorded", 5),
        (404, "not-found", 5),
        (400, "malformed", 2),
        (401, "signed-out", 4),
        (403, "forbidden", 4),
        (409, "conflict", 4),
        (503, "busy", 75),
        (503, "unavailable", 75),
        (500, "internal", 1),
    ],
)
async def test_problems_become_exit_codes(tmp_path: Path, status: int, code: str, exit_code: int) -> None:
    problem = {"code": code, "detail": "why", "errors": [{"path": "start", "message": "too long"}]}

    async with answering(tmp_path / "s", status, problem):
        done = await asyncio.to_thread(run, "--socket", str(tmp_path / "s"), "job", "show", "x")

    assert done == (exit_code, "", "simpang: why\n  start: too long\n")


async def test_answer_that_is_no_json_is_an_error_in_words(tmp_path: Path) -> None:
    for status, exit_code in ((200, 3), (502, 1)):
        path = tmp_path / f"s{status}"
        async with answering(path, status, b"<html>"):
            code, _, err = await asyncio.to_thread(run, "--socket", str(path), "camera", "list")
        assert code == exit_code
        assert err.startswith("simpang: ")


async def test_dead_socket_is_exit_3(tmp_path: Path) -> None:
    async with answering(tmp_path / "s", 200, {}):
        (tmp_path / "s").rename(tmp_path / "dead")

    code, _, err = await asyncio.to_thread(run, "--socket", str(tmp_path / "dead"), "status")

    assert (code, "does not answer" in err) == (3, True)


def test_verbs_start_quickly_for_what_they_do() -> None:
    """Nothing heavy is imported for a help text or a usage error."""
    import subprocess
    import sys

    code = "import sys, simpang.cli.main as m; m.parser(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert {"aiohttp", "zeep", "pydantic", "av", "PIL", "lxml", "cryptography"} & set(loaded.split()) == set()


def test_no_password_is_taken_as_an_argument() -> None:
    """Passwords are never taken as arguments, where every user of the machine could see them."""
    for name, one in parsers():
        for action in one._actions:
            options = " ".join(action.option_strings)
            if "password" in options or "secret" in options:
                assert action.nargs == 0, (name, options)


async def test_password_that_one_stream_refused_is_not_tried_on_the_next() -> None:
    asked: list[str] = []

    async def play(uri: CheckedUri) -> dict[str, object]:
        asked.append(uri.path_and_query)
        return {"reason": "auth", "detail": "refused", "tracks": []}

    uris = [(name, CheckedUri("rtsp", "10.0.4.21", 554, f"/{name}")) for name in ("main", "sub")]
    tried = await try_each(uris, play)

    assert asked == ["/main"]
    assert [stream["reason"] for stream in tried] == ["auth", "auth"]


CENTRAL = """
[site]
id = "digulis"
time_zone = "Asia/Pontianak"
[[camera]]
id = "a"
url = "rtsp://10.0.4.21/user=admin&password=geheim&channel=1"
[[central]]
id = "pontive"
party = "pemkot"
ca_file = "missing.pem"
[central.store]
endpoint = "https://127.0.0.1:1"
bucket = "cctv"
access_key_file = "a"
secret_key_file = "b"
"""


def test_central_test_names_the_file_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "simpang.toml").write_text(CENTRAL)

    code, out, err = run("--config", str(tmp_path / "simpang.toml"), "--json", "central", "test", "pontive")

    (step,) = json.loads(out)["steps"]
    assert (code, step["step"], step["good"], err) == (1, "ca_file", False, "")
    assert str(tmp_path / "missing.pem") in step["words"]


def test_config_show_tells_no_password_that_stands_in_an_address(tmp_path: Path) -> None:
    (tmp_path / "simpang.toml").write_text(CENTRAL)

    code, out, _ = run("--config", str(tmp_path / "simpang.toml"), "config", "show")

    assert code == 0
    assert "geheim" not in out
    assert "channel=1" in out


def test_times_before_any_clock_are_refused_in_words() -> None:
    with pytest.raises(CliError, match="before the year 1970"):
        parse_when("-999999999d", "--start", NOW_US)


async def test_clip_into_a_file_that_is_no_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async with answering(tmp_path / "s", 200, b"clip"):
        code, _, err = await asyncio.to_thread(
            run, "--socket", str(tmp_path / "s"), "clip", "--camera", "a", "--start", "-1m", "--end", "now",
            "-o", str(tmp_path / "file" / "x.mp4"),
        )  # fmt: skip

    assert code == 1
    assert "cannot be written: Not a directory" in err
