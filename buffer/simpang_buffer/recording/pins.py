"""The certificates by which cameras with rtsps:// addresses are known, in one recorder process."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from simpang_buffer.model import StreamKey


class Pins:
    """By camera and port, as a camera's streams share its certificate. first: told of each certificate that
    was believed for being the first, so that the daemon keeps it for the processes after this one."""

    def __init__(self, first: Callable[[StreamKey, int, str], None]) -> None:
        self._first = first
        self._pins: dict[tuple[str, int], str] = {}

    def learn(self, camera: str, pins: Mapping[str, str]) -> None:
        """What the daemon keeps: SHA-256 by port. What was seen here since is not forgotten."""
        for port, pin in pins.items():
            self._pins.setdefault((camera, int(port)), pin)

    def forget(self, camera: str) -> None:
        """A person says that its next certificate is the right one."""
        self._pins = {place: pin for place, pin in self._pins.items() if place[0] != camera}

    def pin_of(self, key: StreamKey, port: int, found: str) -> str:
        """The certificate that it has to be, given the one that this stream's connection shows."""
        place = (key.camera, port)
        if place not in self._pins:
            self._pins[place] = found
            self._first(key, port, found)
        return self._pins[place]
