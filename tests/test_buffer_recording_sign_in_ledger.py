"""What a refused password has cost is known over deaths of recorders; time is ours."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from simpang_buffer.recording.sign_in import SignIns
from simpang_buffer.recording.sign_in_ledger import SignInLedger
from simpang_buffer.rtsp.auth import ClientAuth, Credentials
from simpang_buffer.rtsp.errors import AuthRefused, Unreachable
from simpang_buffer.rtsp.message import Headers

ADDRESS = ("10.0.4.21", 554)
WHO = Credentials("op", "wrong")
BASIC = ("WWW-Authenticate", 'Basic realm="x"')


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def attempt(
    signs: SignIns, ledger: SignInLedger, ends: type[Exception] | None, *, dies: bool = False, tries: int = 1
) -> bool:
    """One sign-in of a process, told to the daemon; whether a password was used. dies: before it knows."""
    used = False

    def note(step: str, refused: int) -> None:
        nonlocal used
        used = used or step == "sending"
        if not (dies and step != "sending"):
            ledger.note(ADDRESS, WHO, step, refused, signs.begins_with_basic(ADDRESS, WHO))

    with contextlib.suppress(AuthRefused, Unreachable):
        async with signs.trying(ADDRESS, WHO, note) as memory:
            assert memory is not None
            memory.sending()
            if ends is AuthRefused:
                raise AuthRefused("the camera refused the user or password", tried=True, tries=tries)
            if ends is not None:
                raise ends("gone")
    return used


@pytest.mark.parametrize("pattern", list(itertools.product("rk", repeat=3)), ids="".join)
async def test_at_most_three_tries_in_an_hour_whatever_dies_when(pattern: tuple[str, ...]) -> None:
    """r: refused, and then the process dies. k: it is killed in the middle of the sign-in."""
    clock = Clock()
    ledger = SignInLedger(monotonic=clock)
    tried: list[float] = []
    ways = itertools.cycle(pattern)
    while clock.now < 3600:
        signs = SignIns(monotonic=clock)
        signs.carry_on(ADDRESS, WHO, ledger.handed_over(ADDRESS, WHO))
        way = next(ways)
        if await attempt(signs, ledger, AuthRefused, dies=way == "k"):
            tried.append(clock.now)
        ledger.died(ADDRESS, WHO)
        clock.now += 60

    assert 1 <= len(tried) <= 3


async def test_a_recorder_killed_while_it_signs_in_to_a_good_camera_costs_no_wait() -> None:
    clock = Clock()
    ledger = SignInLedger(monotonic=clock)
    first = SignIns(monotonic=clock)
    await attempt(first, ledger, None, dies=True)
    ledger.died(ADDRESS, WHO)

    second = SignIns(monotonic=clock)
    second.carry_on(ADDRESS, WHO, ledger.handed_over(ADDRESS, WHO))
    assert second.wait_s(ADDRESS, WHO) == 0
    assert await attempt(second, ledger, None)

    assert ledger.handed_over(ADDRESS, WHO) == {"refused": 0, "wait_s": 0.0, "basic": False}


async def test_a_camera_that_vanishes_in_the_middle_proves_nothing() -> None:
    clock = Clock()
    ledger = SignInLedger(monotonic=clock)
    signs = SignIns(monotonic=clock)
    for _ in range(5):
        assert await attempt(signs, ledger, Unreachable)
    ledger.died(ADDRESS, WHO)

    assert ledger.handed_over(ADDRESS, WHO)["refused"] == 0


async def test_a_refusal_counts_though_the_camera_breaks_off_behind_it() -> None:
    """Digest is refused, and at Basic the camera hangs up: again and again that locks the account."""
    clock = Clock()
    signs, ledger = SignIns(monotonic=clock), SignInLedger(monotonic=clock)
    steps: list[tuple[str, int]] = []
    with contextlib.suppress(Unreachable):
        async with signs.trying(ADDRESS, WHO, lambda step, tries: steps.append((step, tries))) as memory:
            auth = ClientAuth(WHO, True, memory)
            offered = Headers([("WWW-Authenticate", 'Digest realm="x", nonce="1"'), BASIC])
            auth.challenge(offered)
            auth.authorization("DESCRIBE", "rtsp://x/")
            auth.challenge(offered)
            raise Unreachable("the camera closed the connection")
    for step in steps:
        ledger.note(ADDRESS, WHO, *step, False)

    assert steps == [("sending", 0), ("refused", 1)]
    assert signs.wait_s(ADDRESS, WHO) == 600
    assert ledger.handed_over(ADDRESS, WHO)["wait_s"] == 600


@pytest.mark.parametrize("order", ["mm-", "m-m", "-mm"])
async def test_a_password_that_changes_under_two_sessions_is_tried_three_times(order: str) -> None:
    """m: a stream's session is refused in its midst; -: a stream signs in anew, where it may."""
    clock = Clock()
    signs, ledger = SignIns(monotonic=clock), SignInLedger(monotonic=clock)
    await attempt(signs, ledger, None)
    refusals = 0
    for minute in range(60):
        clock.now = minute * 60.0
        for what in order if minute == 0 else "-":
            if what == "m":
                error = AuthRefused("the camera refused the user or password", tried=True)
                signs.withdrawn(ADDRESS, WHO, error, lambda step, tries: None)
                refusals += 1
            else:
                refusals += await attempt(signs, ledger, AuthRefused)

    assert refusals == 3


async def test_a_camera_that_forgets_a_session_is_signed_in_to_at_once() -> None:
    clock = Clock()
    signs, ledger = SignIns(monotonic=clock), SignInLedger(monotonic=clock)
    await attempt(signs, ledger, None)
    for _ in range(2):
        signs.withdrawn(ADDRESS, WHO, AuthRefused("forgotten", tried=True), lambda step, tries: None)

    assert signs.wait_s(ADDRESS, WHO) == 0
    assert await attempt(signs, ledger, None)
    assert signs.wait_s(ADDRESS, WHO) == 0


async def test_two_ways_tried_at_once_count_twice_and_only_the_first_time() -> None:
    """3.6 within 3.3: Digest and Basic in one attempt are two tries, so later attempts make one."""
    clock = Clock()
    signs = SignIns(monotonic=clock)
    ledger = SignInLedger(monotonic=clock)
    await attempt(signs, ledger, AuthRefused, tries=2)

    assert signs.wait_s(ADDRESS, WHO) == 1200
    clock.now = 1201
    async with signs.trying(ADDRESS, WHO) as memory:
        assert memory is not None and not memory.both


def test_a_step_that_there_is_not_is_a_fault_and_old_accounts_are_forgotten() -> None:
    ledger = SignInLedger()
    with pytest.raises(ValueError, match="never"):
        ledger.note(ADDRESS, WHO, "guessed", 0, False)
    for number in range(1000):
        ledger.note(ADDRESS, Credentials("op", str(number)), "refused", 1, False)

    assert ledger.handed_over(ADDRESS, Credentials("op", "1"))["refused"] == 0
    assert ledger.handed_over(ADDRESS, Credentials("op", "999"))["refused"] == 1
