"""Sets logging up, once, after every import: both ONVIF libraries call logging.basicConfig when imported."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
import traceback
from typing import Literal, TextIO

from simpang.logs.redaction import Redaction

Format = Literal["auto", "text", "json"]

# Chatty below warning, and of no use to an installer.
_QUIET = ("aiohttp.access", "zeep", "httpx", "httpcore", "onvif", "asyncio", "aiosqlite", "wsdl")
# A traceback for each request that is not HTTP: whoever scans the port would fill the disk. What our own
# handlers fail at is logged where they are supervised.
_SILENT = ("aiohttp.server",)

_COLOURS = {"DEBUG": "2", "INFO": "0", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}


def configure(
    redaction: Redaction, *, form: Format = "auto", level: str = "INFO", out: TextIO | None = None
) -> None:
    """Everything goes to `out` (stderr). auto: readable; with colours where a person watches."""
    stream = out or sys.stderr
    handler = logging.StreamHandler(stream)
    if form == "json":
        handler.setFormatter(JsonFormatter(redaction))
    else:
        handler.setFormatter(TextFormatter(redaction, colours=form == "auto" and stream.isatty()))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)


class TextFormatter(logging.Formatter):
    """`07:12:03 WARNING roster: camera utara: ...`, the traceback below. Local time, as a person reads it."""

    def __init__(self, redaction: Redaction, *, colours: bool) -> None:
        super().__init__()
        self._redaction = redaction
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        moment = dt.datetime.fromtimestamp(record.created).astimezone()
        # A name that a camera gave itself must not begin a line of its own or repaint the terminal.
        message = _one_line(record.getMessage())
        line = f"{moment:%H:%M:%S} {record.levelname:<7} {_part(record.name)}: {message}"
        if self._colours:
            line = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{line}\x1b[0m"
        trace = _traceback(record)
        return self._redaction.clean(f"{line}\n{trace}" if trace else line)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, part, message, and error where there was one."""

    def __init__(self, redaction: Redaction) -> None:
        super().__init__()
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        # Cleaned before it is written as JSON, whose escapes would hide a secret from the blotter.
        entry = {
            "time": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "part": _part(record.name),
            "message": self._redaction.clean(record.getMessage()),
        }
        if trace := _traceback(record):
            entry["error"] = self._redaction.clean(trace)
        return json.dumps(entry, ensure_ascii=False)


def _part(logger_name: str) -> str:
    """`simpang.roster.roster` is the part `roster`; a library keeps its own name."""
    for ours in ("simpang.", "simpang_buffer.", "simpang_onvif."):
        if logger_name.startswith(ours):
            return logger_name.removeprefix(ours).split(".")[0]
    return logger_name


def _one_line(message: str) -> str:
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in message)


def _traceback(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    lines = "".join(traceback.format_exception(*record.exc_info)).rstrip().splitlines()
    return "\n".join(map(_one_line, lines))
