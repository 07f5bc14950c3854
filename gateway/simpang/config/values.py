"""Values as people write them: `40 GB`, `90%`, `4 Mbit/s`, `mon-fri 22:00-05:00`, `0.0.0.0:8443`.

Each parser takes what TOML gave and returns a frozen value, or raises ValueFault, whose two halves are what
is wrong and what to try.
"""

from __future__ import annotations

import ipaddress
import re
import zoneinfo
from dataclasses import dataclass

ID_PATTERN = re.compile(r"[a-z0-9-]{1,32}")

_SIZE_UNITS = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_RATE_UNITS = {"bit/s": 1, "kbit/s": 10**3, "Mbit/s": 10**6, "Gbit/s": 10**9}
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(\S*)\s*")
_WINDOW = re.compile(r"\s*([a-z,-]+)\s+(\d{2}):(\d{2})-(\d{2}):(\d{2})\s*")
_MINUTES_PER_DAY = 24 * 60


class ValueFault(ValueError):
    """A value that cannot be used: what is wrong with it, and what to write instead."""

    def __init__(self, what: str, try_this: str) -> None:
        super().__init__(f"{what}; {try_this}")
        self.what = what
        self.try_this = try_this


@dataclass(frozen=True, slots=True)
class Size:
    """A number of bytes, or a share of a whole known only on the spot. Exactly one is set."""

    size_bytes: int | None = None
    percent: float | None = None

    def of(self, whole_bytes: int) -> int:
        """In bytes, where a share is of `whole_bytes`."""
        if self.size_bytes is not None:
            return self.size_bytes
        assert self.percent is not None
        return int(whole_bytes * self.percent / 100)

    def __str__(self) -> str:
        return f"{self.percent:g}%" if self.percent is not None else f"{self.size_bytes} B"


@dataclass(frozen=True, slots=True)
class Listen:
    """An address and port to listen on. host is an IP address, never a name."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Window:
    """Weekly hours in local time. weekdays: 0 = Monday, of the moment the window opens.

    From start_minute (of the day) up to end_minute, which is on the next day when it is not after the start.
    """

    weekdays: frozenset[int]
    start_minute: int
    end_minute: int

    def __str__(self) -> str:
        days = ",".join(_DAYS[day] for day in sorted(self.weekdays))
        start, end = divmod(self.start_minute, 60), divmod(self.end_minute, 60)
        return f"{days} {start[0]:02}:{start[1]:02}-{end[0]:02}:{end[1]:02}"


def parse_size(value: object) -> Size:
    """`40 GB`, `512 MiB`, `90%`, or a whole number of bytes."""
    if isinstance(value, Size):
        return value
    hint = 'write "40 GB" or "90%"'
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueFault(f"{value} is below zero", hint)
        return Size(size_bytes=value)
    if not isinstance(value, str):
        raise ValueFault(f"{value!r} is not a size", hint)
    number, unit = _number(value, "a size", hint)
    if unit == "%":
        if not 0 < number <= 100:
            raise ValueFault(f"{value!r} is not between 0% and 100%", hint)
        return Size(percent=number)
    return Size(size_bytes=int(number * _unit(unit, _SIZE_UNITS, value, "size", hint)))


def parse_bytes(value: object) -> int:
    """As parse_size, but a share will not do."""
    size = parse_size(value)
    if size.size_bytes is None:
        raise ValueFault(f"{value!r} is a share, a number of bytes is needed", 'write "40 GB"')
    return size.size_bytes


def parse_rate(value: object) -> int:
    """`4 Mbit/s` in bits per second."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    hint = 'write "4 Mbit/s"'
    if not isinstance(value, str):
        raise ValueFault(f"{value!r} is not a rate", hint)
    number, unit = _number(value, "a rate", hint)
    rate_bps = int(number * _unit(unit, _RATE_UNITS, value, "rate", hint))
    if rate_bps <= 0:
        raise ValueFault(f"{value!r} would never send anything", hint)
    return rate_bps


def parse_window(value: object) -> Window:
    """`mon-sun 22:00-05:00`, `sat,sun 00:00-24:00`."""
    if isinstance(value, Window):
        return value
    hint = 'write "mon-sun 22:00-05:00"'
    match = _WINDOW.fullmatch(value.lower()) if isinstance(value, str) else None
    if match is None:
        raise ValueFault(f"{value!r} is not a window", hint)
    start = int(match[2]) * 60 + int(match[3])
    end = int(match[4]) * 60 + int(match[5])
    if int(match[3]) > 59 or int(match[5]) > 59 or start >= _MINUTES_PER_DAY or end > _MINUTES_PER_DAY:
        raise ValueFault(f"{value!r} names an hour that no day has", hint)
    return Window(_weekdays(match[1], hint), start, end)


def parse_listen(value: object) -> Listen:
    """`127.0.0.1:8080` or `[::1]:8080`; port 0 lets the system choose."""
    if isinstance(value, Listen):
        return value
    hint = 'write "127.0.0.1:8080"'
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not colon or not port.isascii() or not port.isdigit():
        raise ValueFault(f"{value!r} is not ADDRESS:PORT", hint)
    if int(port) > 65535:
        raise ValueFault(f"port {port} does not exist", "use a port from 1 to 65535")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError as error:
        raise ValueFault(f"{host!r} is not an IP address", hint) from error
    return Listen(str(address), int(port))


def parse_fingerprint(given: object) -> str:
    """SHA-256 of a certificate as tools print it: hexadecimal, with or without colons. Lower-case."""
    text = given.replace(":", "").lower() if isinstance(given, str) else ""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueFault(
            "is not the SHA-256 of a certificate",
            "write 64 hexadecimal digits, as `openssl x509 -fingerprint -sha256` prints them",
        )
    return text


def parse_id(value: object) -> str:
    """`[a-z0-9-]{1,32}`."""
    if not isinstance(value, str) or not ID_PATTERN.fullmatch(value):
        near = make_id(value) if isinstance(value, str) else "digulis"
        raise ValueFault(f"{value!r} is not an id (a-z, 0-9 and -, 1 to 32 of them)", f'write "{near}"')
    return value


def parse_time_zone(value: object) -> str:
    """An IANA name that this machine knows."""
    hint = 'write a name such as "Asia/Pontianak" or "Asia/Jakarta"'
    if not isinstance(value, str):
        raise ValueFault(f"{value!r} is not a time zone", hint)
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = zoneinfo.available_timezones()
        if not known:
            raise ValueFault(
                "this machine has no time-zone database", "install it (apt install tzdata)"
            ) from error
        near = nearest(value, known)
        raise ValueFault(
            f"{value!r} is not a time zone", f'did you mean "{near}"?' if near else hint
        ) from error
    return value


def make_id(name: str) -> str:
    """An id that resembles `name`: lower case, other characters to `-`; "camera" where nothing is left."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain[:32].strip("-") or "camera"


def nearest(word: str, known: set[str] | frozenset[str]) -> str | None:
    """The known word that a person who wrote `word` most likely meant, or None."""
    # Local: difflib is only needed once something is wrong.
    import difflib

    by_fold = {candidate.casefold(): candidate for candidate in sorted(known)}
    found = difflib.get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[found[0]] if found else None


def _number(value: str, what: str, hint: str) -> tuple[float, str]:
    match = _NUMBER.fullmatch(value)
    if match is None or len(match[1]) > 18:
        raise ValueFault(f"{value!r} is not {what}", hint)
    return float(match[1]), match[2]


def _unit(unit: str, known: dict[str, int], value: str, what: str, hint: str) -> int:
    for name, factor in known.items():
        if name.casefold() == unit.casefold():
            return factor
    problem = f"{value!r} has no unit" if not unit else f"{value!r}: {unit!r} is not a unit of {what}"
    raise ValueFault(problem, hint)


def _weekdays(text: str, hint: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last and last not in _DAYS) or part.endswith("-"):
            raise ValueFault(f"{part!r} is not a day or a range of days", hint)
        start, end = _DAYS.index(first), _DAYS.index(last or first)
        days.update((start + n) % 7 for n in range((end - start) % 7 + 1))
    return frozenset(days)
