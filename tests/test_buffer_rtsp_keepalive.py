from __future__ import annotations

import pytest

from simpang_buffer.rtsp.keepalive import Keepalive


@pytest.mark.parametrize(("timeout_s", "every_s"), [(60, 30), (10, 5), (1, 1), (86_400, 30)])
def test_half_the_timeout_within_bounds(timeout_s: int, every_s: float) -> None:
    assert Keepalive(frozenset(), timeout_s).every_s == every_s


def sent(keepalive: Keepalive, answers: list[int | None]) -> list[str]:
    methods = []
    for status in answers:
        keepalive.due()
        methods.append(keepalive.method)
        if status is not None:
            keepalive.answered(status)
    return methods


def test_what_the_camera_names_is_used_and_kept_while_it_works() -> None:
    assert sent(Keepalive(frozenset({"GET_PARAMETER"}), 60), [200, 200]) == ["GET_PARAMETER", "GET_PARAMETER"]
    assert sent(Keepalive(frozenset({"SET_PARAMETER"}), 60), [200, 200]) == ["OPTIONS", "OPTIONS"]


def test_refused_or_unanswered_one_gives_way() -> None:
    both = frozenset({"GET_PARAMETER"})

    assert sent(Keepalive(both, 60), [400, 200, 200]) == ["GET_PARAMETER", "OPTIONS", "OPTIONS"]
    assert sent(Keepalive(both, 60), [None, None, 200]) == ["GET_PARAMETER", "OPTIONS", "GET_PARAMETER"]
