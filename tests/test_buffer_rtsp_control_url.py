from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpang_buffer.rtsp.control_url import aggregate_urls, base_url, track_urls
from simpang_buffer.rtsp.errors import RefusedByPolicy

ASKED = "rtsp://10.0.4.21:554/stream?c=1"


@pytest.mark.parametrize(
    ("stated", "base"),
    [
        (None, ASKED),
        ("", ASKED),
        ("rtsp://10.0.4.21:554/stream/", "rtsp://10.0.4.21:554/stream/"),
        ("rtsp://192.168.1.9/other/", "rtsp://10.0.4.21:554/other/"),  # the address on its other side
        ("10.0.4.21/stream/", "rtsp://10.0.4.21:554/stream/"),  # Anjvision
        ("/live/", "rtsp://10.0.4.21:554/live/"),
        ("sub/", "rtsp://10.0.4.21:554/sub/"),
        ("http://10.0.4.21/", ASKED),
        ("rtsp://[::1/", ASKED),
        ("rtsp://a b/", ASKED),
        ("rtsp://u:p@10.0.4.21/x", "rtsp://10.0.4.21:554/x"),
    ],
)
def test_content_base_is_repaired_by_the_url_asked_for(stated: str | None, base: str) -> None:
    assert base_url(ASKED, stated) == base


@pytest.mark.parametrize(
    ("base", "control", "first", "others"),
    [
        ("rtsp://c/s/", "trackID=1", "rtsp://c/s/trackID=1", []),
        ("rtsp://c/s", "trackID=1", "rtsp://c/s/trackID=1", ["rtsp://c/trackID=1"]),
        ("rtsp://c/s/", "/trackID=1", "rtsp://c/s/trackID=1", ["rtsp://c/trackID=1"]),
        ("rtsp://c/s?q=2", "track1", "rtsp://c/s?q=2/track1", ["rtsp://c/s/track1?q=2"]),  # Axis Companion
        ("rtsp://c/s/", "*", "rtsp://c/s/", []),
        ("rtsp://c/s/", "", "rtsp://c/s/", []),
        ("rtsp://c/s/", "RTSP://192.168.1.9/t", "RTSP://192.168.1.9/t", ["rtsp://10.0.4.21:554/t"]),
    ],
)
def test_track_is_named_in_the_usual_form_first(
    base: str, control: str, first: str, others: list[str]
) -> None:
    urls = track_urls(ASKED, base, control)

    assert urls[0] == first
    assert set(others) <= set(urls[1:])


@pytest.mark.parametrize(
    "control", ["file:///etc/passwd", "FILE:/etc/passwd", "http://10.0.4.21/x", "gopher://x"]
)
def test_track_outside_rtsp_is_refused(control: str) -> None:
    with pytest.raises(RefusedByPolicy):
        track_urls(ASKED, ASKED, control)


@pytest.mark.parametrize("control", ["*", "", "rtsp://10.0.4.21/other", "nonsense"])
def test_the_url_asked_for_is_the_last_resort_for_the_whole(control: str) -> None:
    urls = aggregate_urls(ASKED, "rtsp://10.0.4.21:554/stream/", control)

    assert urls[-1] == ASKED
    assert len(urls) >= 2


@given(st.one_of(st.text(max_size=60), st.text("rtsp:/[]@?#. ab\r\n", max_size=40)))
def test_hostile_text_raises_nothing_but_refusal_and_makes_writable_urls(text: str) -> None:
    base = base_url(ASKED, text)
    urls = [base, *aggregate_urls(ASKED, base, text)]
    with contextlib.suppress(RefusedByPolicy):
        urls += track_urls(ASKED, base, text)

    assert len(urls) >= 2
    assert all(url.isprintable() and " " not in url for url in urls)
