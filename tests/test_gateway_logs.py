from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpang.logs.redaction import BLOT, SHORTEST, Redaction
from simpang.logs.setup import Format, configure

SECRET = "p@ss w/örd'\"%&<>"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, given back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(form: Format, message: str, *arguments: object, error: Exception | None = None) -> str:
    out, redaction = io.StringIO(), Redaction()
    redaction.add(SECRET, user="simpang")
    configure(redaction, form=form, out=out)
    logging.getLogger("simpang.roster.keeper").warning(message, *arguments, exc_info=error)
    return out.getvalue()


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        quote_plus(SECRET),
        repr(SECRET),
        repr(SECRET.encode()),
        json.dumps(SECRET),
        "p@ss w/örd'\"%&amp;&lt;&gt;",
        base64.b64encode(f"simpang:{SECRET}".encode()).decode(),
        base64.b64encode(SECRET.encode()).decode(),
        SECRET.encode().hex(),
        f"rtsp://simpang:{quote(SECRET)}@10.0.4.21/x",
    ],
)
@pytest.mark.parametrize("log", ["text", "json"])
def test_no_form_of_a_secret_reaches_the_log(root: logging.Logger, form: str, log: Format) -> None:
    for text in (
        logged(log, "tried %s and failed", form),
        logged(log, f"tried {form!r}"),
        logged(log, "failed", error=ValueError(f"wrong: {form}")),
    ):
        assert form not in text
        assert SECRET not in text
        assert BLOT in text


def test_userinfo_that_nobody_told_us_of_is_hidden_too() -> None:
    cleaned = Redaction().clean("camera names rtsp://root:unknown@10.0.4.21/x and rtsp://10.0.4.22/y")

    assert cleaned == f"camera names rtsp://{BLOT}@10.0.4.21/x and rtsp://10.0.4.22/y"


@given(st.text(min_size=SHORTEST, max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_any_secret_is_gone_from_any_text(secret: str, before: str, after: str) -> None:
    redaction = Redaction()
    redaction.add(secret)

    cleaned = redaction.clean(before + secret + after)

    assert secret not in cleaned.replace(BLOT, "\x00") or secret in BLOT


def test_name_from_a_device_cannot_begin_a_line_or_repaint_the_terminal(root: logging.Logger) -> None:
    text = logged("text", "camera %s", "x\n00:00:00 ERROR app: all is lost\x1b[2J\u202e")

    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_json_line_has_time_level_part_message_and_error(root: logging.Logger) -> None:
    entry = json.loads(logged("json", "no %s", "answer", error=OSError("broken")))

    assert entry["time"].endswith("Z")
    assert (entry["level"], entry["part"], entry["message"]) == ("warning", "roster", "no answer")
    assert entry["error"].endswith("OSError: broken")


def test_configuring_replaces_what_libraries_set_up_on_import(root: logging.Logger) -> None:
    root.addHandler(logging.StreamHandler(io.StringIO()))
    out = io.StringIO()

    configure(Redaction(), form="text", out=out)

    assert len(root.handlers) == 1
    logging.getLogger("aiohttp.access").info("GET /")
    assert out.getvalue() == ""


@pytest.mark.usefixtures("root")
def test_error_that_quotes_a_device_cannot_repaint_the_terminal() -> None:
    assert "\x1b" not in logged("text", "it failed", error=ValueError("\x1b[2J\x1b[1;1Hall is well"))


@pytest.mark.usefixtures("root")
def test_whoever_scans_the_port_fills_no_log() -> None:
    configure(Redaction(), out=io.StringIO())

    assert not logging.getLogger("aiohttp.server").isEnabledFor(logging.ERROR)
