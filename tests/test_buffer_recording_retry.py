"""When a failing stream is tried again, what the gap is called, and how often a password is tried."""

from __future__ import annotations

import pytest

from simpang_buffer.model import GapReason
from simpang_buffer.recording.retry import HEALTHY_S, DiskRetry, delay_s, gap_reason
from simpang_buffer.recording.sign_in import SignIns
from simpang_buffer.rtsp.auth import Credentials
from simpang_buffer.rtsp.errors import AuthRefused, Limit, StreamError, Timeout, Unreachable, Unsupported

CREDENTIALS = Credentials("user", "wrong")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def refused_try(sign_ins: SignIns) -> bool:
    """Whether a password was sent, to be refused."""
    tried = False
    with pytest.raises(AuthRefused):
        async with sign_ins.trying(("10.0.0.1", 554), CREDENTIALS):
            tried = True
            raise AuthRefused("refused", tried=True)
    return tried


async def test_two_streams_of_a_camera_try_a_wrong_password_three_times_in_the_first_hour() -> None:
    clock = Clock()
    sign_ins = SignIns(monotonic=clock)
    tries = 0

    while clock.now < 3600:
        for _ in ("main", "sub"):
            tries += await refused_try(sign_ins)
        clock.now += 10

    assert tries == 3


async def test_after_the_first_hour_a_wrong_password_is_tried_once_an_hour() -> None:
    clock = Clock()
    sign_ins = SignIns(monotonic=clock)
    tries = []

    while clock.now < 12 * 3600:
        if await refused_try(sign_ins):
            tries.append(clock.now)
        clock.now += 60

    assert tries == [0.0, 600.0, 1800.0, *(5400.0 + 3600 * n for n in range(len(tries) - 3))]


async def test_a_new_password_is_tried_at_once() -> None:
    sign_ins = SignIns(monotonic=Clock())
    await refused_try(sign_ins)

    async with sign_ins.trying(("10.0.0.1", 554), Credentials("user", "right")):
        accepted = True

    assert accepted
    assert sign_ins.wait_s(("10.0.0.1", 554), Credentials("user", "right")) == 0


async def test_other_cameras_do_not_wait_for_a_refused_one() -> None:
    sign_ins = SignIns(monotonic=Clock())
    await refused_try(sign_ins)

    assert sign_ins.wait_s(("10.0.0.1", 554), CREDENTIALS) > 0
    assert sign_ins.wait_s(("10.0.0.2", 554), CREDENTIALS) == 0
    # As a router forwards it.
    assert sign_ins.wait_s(("10.0.0.1", 8554), CREDENTIALS) == 0


async def test_a_camera_that_is_away_does_not_count_as_a_refusal() -> None:
    sign_ins = SignIns(monotonic=Clock())

    with pytest.raises(Unreachable):
        async with sign_ins.trying(("10.0.0.1", 554), CREDENTIALS):
            raise Unreachable("no route")

    assert sign_ins.wait_s(("10.0.0.1", 554), CREDENTIALS) == 0


@pytest.mark.parametrize(
    ("error", "first", "last"),
    [
        (Unreachable("x"), 1, 30),
        (Timeout("x"), 1, 30),
        (Limit("x"), 10, 60),
        (Unsupported("x"), 30, 300),
        (RuntimeError("x"), 1, 30),
    ],
)
def test_back_off_grows_to_its_limit(error: Exception, first: float, last: float) -> None:
    delays = [delay_s(error, failures) for failures in range(1, 20)]

    assert (delays[0], delays[-1]) == (first, last)
    assert delays == sorted(delays)


@pytest.mark.parametrize(
    ("ended", "error", "since_s", "expected"),
    [
        # A camera that hung up and is away for a while reboots, until it is away for too long.
        (GapReason.UNREACHABLE, Unreachable("x"), 1, GapReason.UNREACHABLE),
        (GapReason.UNREACHABLE, Unreachable("x"), 20, GapReason.CAMERA_REBOOT),
        (GapReason.CAMERA_REBOOT, Unreachable("x"), 299, GapReason.CAMERA_REBOOT),
        (GapReason.CAMERA_REBOOT, Unreachable("x"), 301, GapReason.UNREACHABLE),
        # A pulled cable ends a run by silence, and that is no reboot.
        (GapReason.TIMEOUT, Unreachable("x"), 20, GapReason.TIMEOUT),
        # A password that was changed explains all that follows.
        (GapReason.TIMEOUT, AuthRefused("x"), 20, GapReason.AUTH),
        (None, Unreachable("x"), 20, None),
    ],
)
def test_gaps_are_called_by_what_explains_them(
    ended: GapReason | None, error: StreamError, since_s: float, expected: GapReason | None
) -> None:
    assert gap_reason(ended, error, since_s) is expected


def test_a_disk_that_failed_long_ago_is_tried_again_at_once() -> None:
    retry = DiskRetry()
    delays = []
    for now_s in (0.0, 10.0, 20.0, 30.0, 50.0, 100.0):
        retry.began(now_s)
        retry.failed(now_s + 1)
        delays.append(retry.not_before - now_s - 1)

    retry.began(1000.0)
    retry.failed(1000.0 + HEALTHY_S + 1)

    assert delays == [1, 2, 5, 10, 30, 30]
    assert retry.not_before == 1000.0 + HEALTHY_S + 2


def test_a_full_disk_is_tried_again_within_a_second_however_long_it_was_full() -> None:
    """Space comes back from one moment to the next, and recording is to go on within 2 s."""
    retry = DiskRetry()
    for now_s in range(0, 600, 2):
        retry.began(now_s)
        retry.failed(now_s + 1, full=True)
        assert retry.not_before <= now_s + 2
