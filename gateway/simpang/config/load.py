"""Reads simpang.toml and reports every fault in it at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from simpang.config.faults import ConfigFaults, Fault, fault, shown, words
from simpang.config.kept import contradictions
from simpang.config.lines import Location, key_lines, line_of
from simpang.config.model import Buffer, Camera, Config
from simpang.config.values import nearest

# A site file has some dozens of lines; more than this is some other file.
MAX_BYTES = 256 * 1024

# Where the configuration is looked for when --config does not say.
DEFAULT_FILES = (Path("simpang.toml"), Path("/etc/simpang/simpang.toml"))

_AT_LINE = re.compile(r"\s*\(at line (\d+), column \d+\)|\s*\(at end of document\)")


def load(file: Path) -> Config:
    """The configuration in `file`. Raises ConfigFaults."""
    return parse(read(file), file)


def read(file: Path) -> str:
    """The text of `file`. Raises ConfigFaults where it cannot be read."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigFaults([_whole(file, "does not exist", "name the file with --config FILE")]) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigFaults([_whole(file, f"cannot be read: {reason}", "check its owner and mode")]) from None
    if len(data) > MAX_BYTES:
        raise ConfigFaults([_whole(file, "is larger than 256 kB", "this is not a site file")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigFaults([fault(file, line, (), "is not UTF-8 text", "save the file as UTF-8")]) from None


def parse(text: str, file: Path) -> Config:
    """The configuration in `text`; `file` is only named in faults. Raises ConfigFaults."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigFaults([_syntax(text, file, str(error))]) from None
    lines = key_lines(text)
    found: list[tuple[Location, str, str]] = list(_cross_checks(raw))
    config = None
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            location: Location = details["loc"]
            found.append((location, *words(details)))
    if config is not None:
        found += contradictions(config)
    if found or config is None:
        faults = {fault(file, line_of(lines, location), location, *said) for location, *said in found}
        raise ConfigFaults(sorted(faults, key=lambda one: (one.line, one.key)))
    return config


def buffer_path(text: str) -> Path | None:
    """What even a faulty text says about where the data lies, if it says it at all."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
    buffer = raw.get("buffer")
    path = buffer.get("path") if isinstance(buffer, dict) else None
    return Path(path) if isinstance(path, str) and path else None


def _whole(file: Path, what: str, try_this: str) -> Fault:
    return fault(file, 1, (), what, try_this)


def _syntax(text: str, file: Path, message: str) -> Fault:
    at = _AT_LINE.search(message)
    line = int(at[1]) if at and at[1] else text.count("\n") + 1
    said = _AT_LINE.sub("", message)
    return fault(file, line, (), f"is not TOML: {said}", "check quotes, brackets and = on this line")


def _cross_checks(raw: dict[str, Any]) -> Iterator[tuple[Location, str, str]]:
    """Faults that no single key shows. Works on the raw tables, so that other faults do not hide these."""
    cameras = _tables(raw.get("camera"))
    for index, camera in cameras:
        here: Location = ("camera", index)
        if "address" in camera and "url" in camera:
            yield (*here, "url"), "a camera has either address or url", "remove one of the two"
        elif not _names_an_address(camera):
            yield here, "has neither address nor url", 'add address = "10.0.4.21" or url = "rtsp://..."'
        if "sub_url" in camera and "url" not in camera:
            yield (*here, "sub_url"), "goes with url only", "with address the camera itself names its streams"
        for key in ("url", "sub_url"):
            if isinstance(camera.get(key), str) and (problem := _rtsp_problem(camera[key])):
                yield (*here, key), problem, 'write "rtsp://10.0.4.21:554/path"'
            elif camera.get("transport") == "udp" and str(camera.get(key, ""))[:6].lower() == "rtsps:":
                yield (*here, "transport"), "an rtsps:// address goes over tcp only", "remove this line"
        if isinstance(camera.get("address"), str) and (problem := _address_problem(camera["address"])):
            yield (*here, "address"), problem, 'write the host or "10.0.4.21:8000"'
        if ("user" in camera) != ("password_file" in camera):
            missing = "password_file" if "user" in camera else "user"
            present = "user" if "user" in camera else "password_file"
            yield (*here, present), f"needs {missing} too", f"add {missing}"
    buffer = raw.get("buffer")
    yield from _folder_checks(buffer if isinstance(buffer, dict) else {})
    for kind in ("camera", "central"):
        seen: dict[str, int] = {}
        for index, table in _tables(raw.get(kind)):
            given = table.get("id")
            if isinstance(given, str) and given in seen:
                yield (
                    (kind, index, "id"),
                    f"{given!r} is already {kind}[{seen[given] + 1}]",
                    "ids must differ",
                )
            elif isinstance(given, str):
                seen[given] = index


def _folder_checks(buffer: dict[str, Any]) -> Iterator[tuple[Location, str, str]]:
    """Folders within one another would count their footage twice."""
    seen = [Path(str(buffer.get("path", Buffer().path))) / "media"]
    for index, folder in _tables(buffer.get("folder")):
        if not isinstance(folder.get("path"), str):
            continue
        path = Path(folder["path"])
        near = next((one for one in seen if one.is_relative_to(path) or path.is_relative_to(one)), None)
        if near is not None:
            what = f"{path} and {near} lie within one another"
            yield ("buffer", "folder", index, "path"), what, "give each folder a place of its own"
        seen.append(path)


def _tables(value: Any) -> list[tuple[int, dict[str, Any]]]:
    entries = value if isinstance(value, list) else []
    return [(index, table) for index, table in enumerate(entries) if isinstance(table, dict)]


def _names_an_address(camera: dict[str, Any]) -> bool:
    """Whether a key means to give one; a misspelt key is reported as such, and once is enough."""
    meant = {"address", "url"}
    return any(key in meant or (key not in Camera.model_fields and nearest(key, meant)) for key in camera)


def _rtsp_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not an address"
    if parts.scheme.lower() not in ("rtsp", "rtsps"):
        return "is not an rtsp:// address"
    if not parts.hostname or port == 0:
        return "names no host"
    if any(character <= " " or character == "\x7f" for character in url):
        return "holds a blank or control character"
    return None


def _address_problem(address: str) -> str | None:
    if "/" in address or "@" in address or any(character <= " " for character in address):
        return f"{shown(address)} is not a host or host:port"
    try:
        parts = urlsplit(f"//{address}")
        port = parts.port
    except ValueError:
        return f"{address!r} is not a host or host:port"
    return None if parts.hostname and port != 0 else f"{address!r} is not a host or host:port"
