"""Whether the gateway's clock is trusted: what the kernel, an installer, a leap and a restart make of it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from simpang.cli.main import main
from simpang.clock import DAY_US, Clock, Reading, Remembered, TrustedClock
from simpang.clock_keeper import ClockKeeper, ClockRefused
from simpang.web.roles import Role
from simpang.web.times import format_time
from simpang_buffer.index.clock_moves import move_run
from simpang_buffer.index.index import Index, open_index
from simpang_buffer.model import AnchorSource, RunHeader, Segment, StreamKey
from simpang_buffer.recording.clock_word import ClockWord
from web_site import camera, now_us, open_site, record

NOW_US = 1_795_000_000_000_000
MINUTE_US = 60_000_000
HOUR_US = 3_600_000_000
YEAR_US = 365 * DAY_US
KEY = StreamKey("gate", "main")


@dataclass
class Machine:
    """The clocks of a gateway, and what thinks of them."""

    wall_us: int = NOW_US
    boot_us: int = 100 * MINUTE_US
    synchronised: bool = False

    def reading(self) -> Reading:
        return Reading(self.wall_us, self.boot_us, self.synchronised, 0.001 if self.synchronised else None)

    def go_on(self, us: int) -> Reading:
        self.wall_us += us
        self.boot_us += us
        return self.reading()

    def step(self, us: int) -> Reading:
        self.wall_us += us
        return self.go_on(1_000_000)


def judged(clock: Clock) -> tuple[bool, str, bool]:
    return clock.trusted, clock.source, clock.ages_believed


def test_the_kernel_s_word_is_enough() -> None:
    machine, clock = Machine(), TrustedClock("boot", Remembered())

    before = clock.observe(machine.reading())
    machine.synchronised = True
    after = clock.observe(machine.go_on(1_000_000))

    assert judged(before) == (False, "none", False)
    assert judged(after) == (True, "ntp", True)
    assert (before.offset_s, after.offset_s) == (None, 0.001)


def test_an_installer_s_word_holds_until_something_sets_the_clock() -> None:
    machine, clock = Machine(), TrustedClock("boot", Remembered())
    clock.observe(machine.reading())

    said = clock.confirm(machine.reading())
    # Slewing by 500 ppm for a day is 43 s, and no step.
    slewed = [clock.observe(replace(machine.go_on(MINUTE_US), wall_us=machine.wall_us + n * 30_000))
              for n in range(1440)][-1]  # fmt: skip
    machine.wall_us += 1439 * 30_000
    stepped = clock.observe(machine.step(600_000))

    assert judged(said) == judged(slewed) == (True, "installer", True)
    assert judged(stepped) == (False, "none", False)


def test_after_a_step_ages_wait_some_minutes() -> None:
    machine, clock = Machine(synchronised=True), TrustedClock("boot", Remembered())
    clock.observe(machine.reading())

    stepped = clock.observe(machine.step(2 * HOUR_US))
    soon = clock.observe(machine.go_on(4 * MINUTE_US))
    later = clock.observe(machine.go_on(2 * MINUTE_US))

    assert [judged(one) for one in (stepped, soon, later)] == [
        (True, "ntp", False), (True, "ntp", False), (True, "ntp", True),
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["back", "confirmed", "a day", "another leap"])
def test_a_trusted_clock_that_leaps_is_trusted_no_more(end: str) -> None:
    """A time server in 2099."""
    machine, clock = Machine(synchronised=True), TrustedClock("boot", Remembered())
    clock.observe(machine.reading())

    leapt = clock.observe(machine.step(73 * YEAR_US))
    still = [clock.observe(machine.go_on(HOUR_US)) for _ in range(23)]
    match end:
        case "back":
            after = clock.observe(machine.step(-73 * YEAR_US))
        case "confirmed":
            after = clock.confirm(machine.reading())
        case "a day":
            after = clock.observe(machine.go_on(HOUR_US))
        case _:
            after = clock.observe(machine.step(YEAR_US))
            after = clock.observe(machine.go_on(2 * HOUR_US))

    assert (leapt.trusted, leapt.source) == (False, "ntp")
    assert leapt.jumped_s == pytest.approx(73 * 365 * 86_400, abs=2)
    assert not any(one.trusted or one.ages_believed for one in still)
    assert after.trusted == (end != "another leap")
    assert (after.jumped_s is None) == after.trusted


def test_a_first_setting_is_no_leap() -> None:
    """1970 at boot, NTP later; what is remembered is of this morning."""
    machine = Machine(wall_us=MINUTE_US)
    clock = TrustedClock("boot", Remembered("before", seen_us=NOW_US - HOUR_US))
    clock.observe(machine.reading())
    machine.synchronised = True

    found = clock.observe(machine.step(NOW_US))

    assert (found.trusted, found.jumped_s) == (True, None)


def test_after_a_long_time_off_times_are_believed_and_ages_wait_a_day() -> None:
    machine = Machine(synchronised=True)
    clock = TrustedClock("boot", Remembered("before", seen_us=NOW_US - 40 * DAY_US))

    first = clock.observe(machine.reading())
    later = [clock.observe(machine.go_on(HOUR_US)) for _ in range(24)]

    assert judged(first) == (True, "ntp", False)
    assert first.jumped_s == 40 * 86_400
    assert [one.ages_believed for one in later] == [False] * 23 + [True]
    assert later[-1].jumped_s is None


def test_a_wrong_server_at_boot_is_forgotten_once_the_clock_is_near_what_it_was() -> None:
    machine = Machine(wall_us=NOW_US + 73 * YEAR_US, synchronised=True)
    clock = TrustedClock("boot", Remembered("before", seen_us=NOW_US - HOUR_US))

    first = clock.observe(machine.reading())
    after = clock.observe(machine.step(-73 * YEAR_US))

    assert judged(first) == (True, "ntp", False)
    assert (after.trusted, after.jumped_s) == (True, None)


@pytest.mark.parametrize(
    ("boot_id", "stepped_us", "trusted"),
    [("boot", 0, True), ("boot", 43_000_000, True), ("boot", 60_000_000, False), ("another", 0, False)],
)
def test_the_word_outlives_the_daemon_but_neither_the_boot_nor_a_step(
    boot_id: str, stepped_us: int, trusted: bool
) -> None:
    """In a day NTP may slew by 43 s."""
    machine, clock = Machine(), TrustedClock("boot", Remembered())
    clock.observe(machine.reading())
    clock.confirm(machine.reading())
    machine.go_on(DAY_US)
    machine.wall_us += stepped_us

    found = TrustedClock(boot_id, clock.remembered()).observe(machine.reading())

    assert found.trusted == trusted


def test_a_leap_is_known_after_a_restart_of_the_daemon() -> None:
    machine, clock = Machine(synchronised=True), TrustedClock("boot", Remembered())
    clock.observe(machine.reading())
    machine.step(73 * YEAR_US)

    found = TrustedClock("boot", clock.remembered()).observe(machine.reading())

    assert (found.trusted, found.jumped_s is None) == (False, False)


class Told:
    """In the recorders' place."""

    def __init__(self) -> None:
        self.words: list[ClockWord] = []
        self.open: set[int] = set()

    def tell_clock(self, word: ClockWord) -> None:
        self.words.append(word)

    def is_open(self, key: StreamKey, run: int) -> bool:
        return run in self.open


def keeper(index: Index, told: Told, machine: Machine, boot_id: str = "boot") -> ClockKeeper:
    def set_us(us: int) -> None:
        machine.wall_us = us

    return ClockKeeper(index, told, boot_id, read=machine.reading, set_us=set_us)


async def a_run(index: Index, run: int, *, anchor_us: int, source: AnchorSource, boot_us: int = 0) -> None:
    header = RunHeader(
        "site", "gate", "main", run, 0, "avc1", anchor_us, source, None, None, 0, "boot", boot_us
    )
    await index.add_run(header, 64, 48)
    await index.add_segment(
        Segment(KEY, run, 0, anchor_us, anchor_us + MINUTE_US, 1000, 1, 1, 0, 1, "avc1", 64, 48, b"h" * 32,
                b"s" * 16)
    )  # fmt: skip


async def test_recorders_hear_of_each_change_and_of_slewing(tmp_path: Path) -> None:
    machine, told = Machine(), Told()
    async with open_index(tmp_path / "index.db") as index:
        one = keeper(index, told, machine)
        await one.prepare()
        for _ in range(30):
            machine.go_on(1_000_000)
            await one.look()
        quiet = len(told.words)
        machine.wall_us += 120_000
        await one.look()
        machine.synchronised = True
        machine.go_on(1_000_000)
        await one.look()

    assert quiet == 1
    assert [word.trusted for word in told.words] == [False, False, True]
    assert told.words[-1].covers(machine.wall_us - machine.boot_us)
    assert not told.words[-1].covers(machine.wall_us - machine.boot_us + 600_000)


async def test_runs_are_dated_anew_before_any_age_counts(tmp_path: Path) -> None:
    machine, told = Machine(wall_us=100 * MINUTE_US), Told()
    async with open_index(tmp_path / "index.db") as index:
        await a_run(index, 1, anchor_us=50 * MINUTE_US, source=AnchorSource.BOOT, boot_us=50 * MINUTE_US)
        told.open.add(1)
        one = keeper(index, told, machine)
        await one.prepare()
        machine.synchronised, machine.wall_us = True, NOW_US
        machine.go_on(10 * MINUTE_US)
        await one.look()
        waiting = one.clock(), await index.newest(KEY)
        told.open.clear()
        machine.go_on(10 * MINUTE_US)
        await one.look()
        done = one.clock(), await index.newest(KEY)

    assert (waiting[0].trusted, waiting[0].ages_believed) == (True, False)
    assert waiting[1] is not None
    assert waiting[1].start_us == 50 * MINUTE_US
    assert done[0].ages_believed
    assert done[1] is not None
    # The clock went on by 10 minutes before it was next looked at, 100 after boot.
    assert done[1].start_us == NOW_US - 50 * MINUTE_US


async def test_the_clock_can_be_set_and_is_trusted_then(tmp_path: Path) -> None:
    machine, told = Machine(wall_us=MINUTE_US), Told()
    async with open_index(tmp_path / "index.db") as index:
        one = keeper(index, told, machine)
        await one.prepare()
        found = await one.set(NOW_US)
        again = keeper(index, told, machine)
        await again.prepare()

    assert machine.wall_us == NOW_US
    assert judged(found)[:2] == judged(again.clock())[:2] == (True, "installer")
    assert told.words[-1].trusted


async def test_a_clock_earlier_than_the_footage_is_not_trusted_without_a_word(tmp_path: Path) -> None:
    machine, told = Machine(), Told()
    async with open_index(tmp_path / "index.db") as index:
        await a_run(index, 1, anchor_us=NOW_US + HOUR_US, source=AnchorSource.ARRIVAL)
        # What an untrusted clock dated is no reason.
        await a_run(index, 2, anchor_us=NOW_US + YEAR_US, source=AnchorSource.BOOT)
        one = keeper(index, told, machine)
        await one.prepare()
        with pytest.raises(ClockRefused, match=r"earlier than the newest footage.*--although-earlier"):
            await one.trust()
        with pytest.raises(ClockRefused, match="earlier"):
            await one.set(NOW_US + MINUTE_US)
        at_us, refused = machine.wall_us, one.clock()
        allowed = await one.trust(although_earlier=True)

    assert (at_us, refused.trusted, allowed.trusted) == (NOW_US, False, True)


async def test_a_clock_that_ntp_keeps_or_that_may_not_be_set_says_so(tmp_path: Path) -> None:
    machine, told = Machine(synchronised=True), Told()

    def denied(us: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    async with open_index(tmp_path / "index.db") as index:
        one = ClockKeeper(index, told, "boot", read=machine.reading, set_us=denied)
        await one.prepare()
        with pytest.raises(ClockRefused, match="time server"):
            await one.set(NOW_US)
        machine.synchronised = False
        machine.go_on(1_000_000)
        await one.look()
        with pytest.raises(ClockRefused, match="CAP_SYS_TIME"):
            await one.set(NOW_US + DAY_US)

    assert not one.clock().trusted


async def test_what_is_remembered_may_be_damaged(tmp_path: Path) -> None:
    machine, told = Machine(), Told()
    async with open_index(tmp_path / "index.db") as index:
        for said in ("", "{", "[]", '{"boot_id": 5, "word_less_us": "x"}', '{"word_less_us": true}'):
            await index.set_meta("clock", said)
            one = keeper(index, told, machine)
            await one.prepare()
            assert not one.clock().trusted


async def test_an_installer_confirms_and_sets_it_over_the_api(tmp_path: Path) -> None:
    machine, told = Machine(), Told()
    async with open_site(tmp_path) as site:
        one = keeper(site.gateway.index, told, machine)
        await one.prepare()
        object.__setattr__(site.gateway, "clock_keeper", one)
        object.__setattr__(site.gateway, "clock", one.clock)

        async def post(body: dict[str, Any], role: Role = Role.INSTALLER) -> tuple[int, dict[str, Any]]:
            path = "/api/v1/site/clock"
            async with site.client(role) as client, client.post(path, json=body) as response:
                return response.status, json.loads(await response.text())

        refused = [
            (await post(body))[0]
            for body in ({}, {"now": "x"}, {"trust": True, "now": "2026-01-01T00:00:00Z"})
        ]
        viewer, _ = await post({"trust": True}, Role.TECHNICIAN)
        confirmed = await post({"trust": True})
        machine.synchronised = True
        machine.go_on(1_000_000)
        await one.look()
        kept = await post({"now": "2026-11-24T02:00:00Z"})
        async with site.client(Role.VIEWER) as client, client.get("/api/v1/site") as response:
            shown = (await response.json())["clock"]

    assert (refused, viewer) == ([400, 400, 400], 403)
    assert confirmed[0] == 200
    assert (confirmed[1]["trusted"], confirmed[1]["source"]) == (True, "installer")
    assert (kept[0], kept[1]["code"]) == (409, "conflict")
    assert "time server" in kept[1]["detail"]
    assert (shown["trusted"], shown["source"], shown["offset_s"]) == (True, "ntp", 0.001)


async def test_coverage_says_how_each_run_is_dated(tmp_path: Path) -> None:
    key = StreamKey("utara", "main")
    start_us = now_us() - 60_000_000
    async with open_site(tmp_path) as site, site.client() as client:
        site.roster.told = [camera()]
        index = site.gateway.index
        await record(index, key, start_us, frames=60)
        async with index.db.transaction() as tx:
            await tx.run("update run set anchor_source = 'boot', camera_offset_us = 250000, drift_ppm = 21.5")
        query = {"start": format_time(start_us - 10_000_000), "end": format_time(now_us())}

        async def seen() -> dict[str, Any]:
            async with client.get("/api/v1/cameras/utara/streams/main/coverage", params=query) as response:
                found: dict[str, Any] = await response.json()
            return found

        before = await seen()
        await move_run(index, key, 1, start_us - 500_000)
        after = await seen()

    assert [span["trusted"] for span in before["spans"]] == [False]
    assert before["runs"] == [
        {"run": 1, "anchor": format_time(start_us), "anchor_source": "boot", "trusted": False, "moved_s": 0.0,
         "camera_offset_s": 0.25, "drift_ppm": 21.5}
    ]  # fmt: skip
    assert [span["trusted"] for span in after["spans"]] == [True]
    assert after["spans"][0]["start"] == format_time(start_us - 500_000)
    assert (after["runs"][0]["trusted"], after["runs"][0]["moved_s"]) == (True, -0.5)
    assert after["runs"][0]["camera_offset_s"] == 0.75


async def test_the_command_line_shows_confirms_and_sets_the_clock(tmp_path: Path) -> None:
    machine, told = Machine(wall_us=NOW_US), Told()
    async with open_site(tmp_path) as site:
        one = keeper(site.gateway.index, told, machine)
        await one.prepare()
        object.__setattr__(site.gateway, "clock_keeper", one)
        object.__setattr__(site.gateway, "clock", one.clock)

        def run(*arguments: str) -> tuple[int, str]:
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                code = main(["--socket", str(tmp_path / "api.sock"), "clock", *arguments])
            return code, out.getvalue()

        before = await asyncio.to_thread(run, "show")
        trusted = await asyncio.to_thread(run, "trust")
        later = await asyncio.to_thread(run, "set", format_time(NOW_US + HOUR_US))
        shown = await asyncio.to_thread(run, "show", "--json")
        await a_run(site.gateway.index, 1, anchor_us=NOW_US + DAY_US, source=AnchorSource.RTCP)
        refused = await asyncio.to_thread(run, "set", format_time(NOW_US))

    assert before[0] == 0
    assert "kept by nobody" in before[1]
    assert "not trusted" in before[1]
    assert (trusted[0], "confirmed by an installer" in trusted[1]) == (0, True)
    assert (later[0], machine.wall_us) == (0, NOW_US + HOUR_US)
    assert json.loads(shown[1])["trusted"] is True
    assert (refused[0], "earlier than the newest footage" in refused[1]) == (4, True)
