"""Secrets by name: files of mode 0600 in a `secrets` folder, or systemd credentials.

Looked for in this order: `$CREDENTIALS_DIRECTORY/NAME` (systemd's LoadCredential), `DATA/secrets/NAME`,
`secrets/NAME` beside the configuration file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from simpang.config.faults import Fault, fault
from simpang.config.lines import Location, key_lines, line_of
from simpang.config.model import Config

# A password or key takes a line; a certificate some kilobytes.
MAX_BYTES = 64 * 1024


class SecretFault(Exception):
    """A secret that cannot be used: what is wrong with its file, and what to do."""

    def __init__(self, what: str, try_this: str) -> None:
        super().__init__(f"{what}; {try_this}")
        self.what = what
        self.try_this = try_this


class Secrets:
    """Reads secrets. Each one read is told to `on_read` (the log's redaction) before it is returned."""

    def __init__(
        self, folders: Sequence[Path], *, credentials: Path | None, on_read: Callable[[str], None]
    ) -> None:
        self._folders = folders
        self._credentials = credentials
        self._on_read = on_read

    def read(self, name: str) -> str:
        """The secret called `name`, without the line's end. Raises SecretFault."""
        path = self._find(name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as opened:
                self._check(path, os.fstat(opened.fileno()))
                data = opened.read(MAX_BYTES + 1)
        except OSError as error:
            raise SecretFault(f"{path} cannot be read: {error.strerror}", f"chown it to {_user()}") from None
        if len(data) > MAX_BYTES:
            raise SecretFault(f"{path} is larger than 64 kB", "a secret is one line")
        try:
            secret = data.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise SecretFault(f"{path} is not UTF-8 text", "write the password in it, one line") from None
        if not secret:
            raise SecretFault(f"{path} is empty", "write the password in it, one line")
        self._on_read(secret)
        return secret

    def _find(self, name: str) -> Path:
        places = [folder / name for folder in self._folders]
        if self._credentials is not None:
            places.insert(0, self._credentials / name)
        for place in places:
            if place.exists():
                return place
        looked = " or ".join(map(str, places))
        raise SecretFault(f"there is no secret {name!r}", f"write it to {looked}, then chmod 600")

    def _check(self, path: Path, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise SecretFault(f"{path} is not a file", "put the secret in a plain file")
        # systemd's folder is readable by the service alone, whatever the mode of the files in it.
        if self._credentials is not None and path.parent == self._credentials:
            return
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise SecretFault(f"{path} has mode {mode:04o}, others can read it", f"chmod 600 {path}")


def secret_folders(data: Path, config_file: Path) -> tuple[Path, ...]:
    """Where secrets lie: in the data folder, then beside the configuration file."""
    return tuple(dict.fromkeys((data / "secrets", config_file.absolute().parent / "secrets")))


def secret_faults(config: Config, text: str, file: Path, secrets: Secrets) -> list[Fault]:
    """A fault for every secret that the configuration names and that cannot be used."""
    lines = key_lines(text)
    faults = []
    for location, name in _named(config):
        try:
            secrets.read(name)
        except SecretFault as error:
            faults.append(fault(file, line_of(lines, location), location, error.what, error.try_this))
    return faults


def _named(config: Config) -> Iterator[tuple[Location, str]]:
    if config.credentials is not None:
        yield ("credentials", "password_file"), config.credentials.password_file
    for index, camera in enumerate(config.camera):
        if camera.password_file is not None:
            yield ("camera", index, "password_file"), camera.password_file
    for index, central in enumerate(config.central):
        if central.store is not None:
            yield ("central", index, "store", "access_key_file"), central.store.access_key_file
            yield ("central", index, "store", "secret_key_file"), central.store.secret_key_file


def _user() -> str:
    return f"uid {os.geteuid()}"
