"""Which configuration a daemon starts with: the file's, or the last good one when the file is faulty."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from simpang.config.faults import ConfigFaults, Fault
from simpang.config.load import DEFAULT_FILES, buffer_path, parse, read
from simpang.config.model import Buffer, Config

LAST_GOOD = "last-good.toml"
# In a media folder: the data folder of a gateway whose own is missing (stand_in.py).
STAND_IN = ".simpang-data"


@dataclass(frozen=True, slots=True)
class Boot:
    """faults: what is wrong in `file`, if `config` is not from it but the last good one."""

    config: Config
    text: str
    file: Path
    data: Path
    faults: tuple[Fault, ...]


def default_file() -> Path:
    """Used when none is named: ./simpang.toml if it exists, else /etc/simpang/simpang.toml."""
    return next((file for file in DEFAULT_FILES if file.exists()), DEFAULT_FILES[-1])


def boot(file: Path, data: Path | None) -> Boot:
    """The configuration to run. `data` overrides [buffer].path. Raises ConfigFaults if none was ever good.

    A faulty file never stops recording: the last good one, kept in the data folder, runs instead.
    """
    text = ""
    try:
        text = read(file)
        config = parse(text, file)
    except ConfigFaults as error:
        folder = data or buffer_path(text) or Buffer().path
        kept = folder / LAST_GOOD
        try:
            last_text = read(kept)
            last = parse(last_text, kept)
        except ConfigFaults:
            raise error from None
        return Boot(last, last_text, file, (data or last.buffer.path).absolute(), tuple(error.faults))
    return Boot(config, text, file, (data or config.buffer.path).absolute(), ())


def keep_last_good(boot: Boot) -> None:
    """Keeps a configuration that has started well, for the day its file is faulty. Raises OSError.

    The new text stands beside the old one before it takes its name: a power cut leaves one of the two.
    """
    if boot.faults:
        return
    kept = boot.data / LAST_GOOD
    with contextlib.suppress(ConfigFaults):
        if kept.exists() and read(kept) == boot.text:
            return
    fresh = kept.with_suffix(".toml.new")
    # An RTSP address in it may carry a password.
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(boot.text)
        opened.flush()
        os.fsync(opened.fileno())
    fresh.replace(kept)
