"""Digest (RFC 7616, with RFC 2617 and 2069 forms) and Basic sign-in: ClientAuth answers, ServerAuth asks.

Cameras lock an account after five to seven refusals, for every client at that address. So a refusal ends the
attempt: one password is sent per challenge, and only a nonce that the camera itself calls stale is answered
again.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from simpang_buffer.rtsp.errors import AuthRefused
from simpang_buffer.rtsp.message import Headers

# name of the algorithm -> name of the hash, the strongest first
_HASHES = {"SHA-256": "sha256", "MD5": "md5"}
# A camera that calls every nonce stale would have us sign for ever.
_MAX_STALE = 1
# How long a nonce of ours is good; after it the client is told "stale" and signs again by itself.
_NONCE_S = 300
# A parameter or a scheme. The look-behind and the possessive runs keep the scan linear whatever is sent.
_PIECE = re.compile(
    r"(?<![A-Za-z0-9_-])([A-Za-z][A-Za-z0-9_-]*+)"
    r'(?:[ \t]*+=[ \t]*+(?:"((?:[^"\\]|\\.)*+)"|([^\s,"]*+))|(?=[ \t,]|$))'
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user of a camera. The password is never part of a text."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to sign in that a server offers. scheme and the names of parameters are lower-case."""

    scheme: str
    parameters: Mapping[str, str]

    @property
    def algorithm(self) -> str:
        """Upper-case, without "-sess"; MD5 where none is named."""
        return self.parameters.get("algorithm", "MD5").upper().removesuffix("-SESS")


@dataclass(slots=True)
class SignInMemory:
    """What one attempt to sign in has to know of those before it, and leaves for those after it.

    sending: called just before a password is used for the first time on a connection. both: Basic may be
    tried at once where Digest is refused. basic: so it was, and Basic was accepted (DS-2CD1148 offers both
    and knows one), so that the next one begins with it. refused: how often it was refused, however it ended.
    """

    sending: Callable[[], None] = lambda: None
    both: bool = True
    basic: bool = False
    refused: int = 0


class ClientAuth:
    """Signs the requests of one connection. Credentials of None: every challenge is refused.

    signed: whether a password has been used at all. Where Digest is refused and the installer allowed Basic,
    which the camera offers too, that is tried at once: two refusals at most.
    """

    def __init__(
        self, credentials: Credentials | None, allow_basic: bool = False, memory: SignInMemory | None = None
    ) -> None:
        self._credentials = credentials
        self._allow_basic = allow_basic
        self._memory = memory or SignInMemory()
        self._chosen: Challenge | None = None
        self._count = 0
        self._stale = 0
        self._spent = False
        # Whether the camera has taken a request that was signed for the challenge in force. Until it has, a
        # further challenge is a refusal; after that it is only a nonce whose time is over.
        self._proven = False
        self._refused_digest = False
        self.signed = False

    def challenge(self, headers: Headers) -> None:
        """Take a 401's challenges. Raises AuthRefused if it refuses our sign-in, or offers none of ours."""
        if self._credentials is None:
            raise AuthRefused("the camera asks for a password and none is set for it")
        offered = parse_challenges(headers.get_all("www-authenticate"))
        chosen = strongest(offered, allow_basic=self._allow_basic, basic_first=self._memory.basic)
        if self._spent or (self._chosen is not None and not self._proven):
            stale = chosen is not None and chosen.parameters.get("stale", "").lower() == "true"
            basic = self._basic_instead(offered)
            if basic is not None and not stale:
                self._refused_digest, self._chosen = True, basic
                self._memory.refused += 1
                return
            if self._spent or not stale or self._stale >= _MAX_STALE:
                # Nothing more is signed, not even a TEARDOWN: cameras count.
                self._spent = True
                tries = 2 if self._refused_digest else 1
                raise AuthRefused("the camera refused the user or password", tried=True, tries=tries)
            self._stale += 1
        if chosen is None:
            schemes = ", ".join(sorted({c.scheme.capitalize()[:16] for c in offered})[:4]) or "nothing"
            raise AuthRefused(
                f"the camera offers {schemes} sign-in: not known here, or not safe for the password"
            )
        self._chosen = chosen
        self._count = 0
        self._proven = False

    def accepted(self) -> None:
        """The camera took the last request."""
        self._proven = True
        self._stale = 0
        if self._chosen is not None:
            self._memory.basic = self._chosen.scheme == "basic" and (
                self._refused_digest or self._memory.basic
            )

    def authorization(self, method: str, url: str) -> str | None:
        """The Authorization field for a request, None before any challenge. Text as ISO 8859-1 carries it."""
        if self._chosen is None or self._credentials is None or self._spent:
            return None
        if not self.signed:
            self._memory.sending()
        self.signed = True
        if self._chosen.scheme == "basic":
            pair = f"{self._credentials.user}:{self._credentials.password}"
            return "Basic " + base64.b64encode(pair.encode()).decode()
        self._count += 1
        return _answer(self._chosen, self._credentials, method, url, self._count)

    def _basic_instead(self, offered: list[Challenge]) -> Challenge | None:
        if not (self._allow_basic and self._memory.both) or self._spent or self._refused_digest:
            return None
        if self._chosen is None or self._chosen.scheme != "digest":
            return None
        return next((challenge for challenge in offered if challenge.scheme == "basic"), None)


class Verdict(enum.Enum):
    """What a server makes of an Authorization field."""

    ACCEPTED = enum.auto()
    STALE = enum.auto()  # right password, old nonce: challenge again with stale=true
    REFUSED = enum.auto()


class ServerAuth:
    """Asks for digest sign-in and judges the answers. Holds no state per client.

    A nonce is a time stamp sealed with a key of this process and the client's address, so it cannot be made
    up, nor used from elsewhere, nor after five minutes.
    """

    def __init__(
        self,
        users: Mapping[str, str],
        realm: str = "simpang",
        *,
        algorithms: Sequence[str] = ("SHA-256", "MD5"),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._users = dict(users)
        self._realm = realm
        self._algorithms = tuple(algorithms)
        self._now = now
        self._key = secrets.token_bytes(32)

    def challenges(self, peer: str, *, stale: bool = False) -> list[str]:
        """The WWW-Authenticate fields of a 401 to this client address, the strongest first."""
        nonce = self._nonce(int(self._now()), peer)
        tail = ", stale=true" if stale else ""
        return [
            f'Digest realm="{_quoted(self._realm)}", nonce="{nonce}", algorithm={name}, qop="auth"{tail}'
            for name in self._algorithms
        ]

    def check(self, method: str, url: str, authorization: str | None, peer: str) -> Verdict:
        """Judge the Authorization field of a request that came from this client address."""
        answers = parse_challenges((authorization or "",))
        if not answers or answers[0].scheme != "digest" or answers[0].algorithm not in self._algorithms:
            return Verdict.REFUSED
        answer = answers[0].parameters
        user = answer.get("username", "").encode("latin-1", "replace").decode("utf-8", "replace")
        password = self._users.get(user)
        stamp = self._stamp(answer.get("nonce", ""), peer)
        # An unknown user costs the same hashing as a known one.
        credentials = Credentials(user, self._key.hex() if password is None else password)
        right = verify_digest(answer, credentials, method, url)
        if password is None or not right or stamp is None:
            return Verdict.REFUSED
        return Verdict.ACCEPTED if 0 <= self._now() - stamp <= _NONCE_S + 1 else Verdict.STALE

    def _nonce(self, stamp: int, peer: str) -> str:
        seal = hmac.new(self._key, f"{stamp}/{peer}".encode(), "sha256").hexdigest()
        return f"{stamp:x}.{seal[:32]}"

    def _stamp(self, nonce: str, peer: str) -> int | None:
        stated = nonce.partition(".")[0]
        if not re.fullmatch(r"[0-9a-f]{1,16}", stated):
            return None
        stamp = int(stated, 16)
        same = hmac.compare_digest(nonce.encode(), self._nonce(stamp, peer).encode())
        return stamp if same else None


def verify_digest(answer: Mapping[str, str], credentials: Credentials, method: str, url: str) -> bool:
    """Whether the parameters of a Digest Authorization field prove the password, for this method and URL.

    The uri may be the URL's path alone, as some clients send it.
    """
    algorithm = answer.get("algorithm", "MD5")
    if algorithm.upper().removesuffix("-SESS") not in _HASHES or answer.get("qop", "auth") != "auth":
        return False
    path = re.sub(r"^[a-z]+://[^/]*", "", url)
    if answer.get("uri") not in (url, path):
        return False
    wanted = digest_response(answer, credentials, method, algorithm=algorithm)
    return hmac.compare_digest(wanted.encode(), answer.get("response", "").lower().encode())


def parse_challenges(values: tuple[str, ...]) -> list[Challenge]:
    """Read WWW-Authenticate fields, one or several challenges each (RFC 9110 section 11.6.1), leniently."""
    challenges: list[Challenge] = []
    for value in values:
        parameters: dict[str, str] = {}
        for piece in _PIECE.finditer(value):
            name = piece[1].lower()
            if piece[2] is not None:
                parameters.setdefault(name, re.sub(r"\\(.)", r"\1", piece[2]))
            elif piece[3] is not None:
                parameters.setdefault(name, piece[3])
            else:
                parameters = {}
                challenges.append(Challenge(name, parameters))
    return challenges


def strongest(offered: list[Challenge], *, allow_basic: bool, basic_first: bool = False) -> Challenge | None:
    """The best challenge that we answer: SHA-256, then MD5, then Basic if it is allowed."""
    basic = next((c for c in offered if c.scheme == "basic"), None) if allow_basic else None
    if basic_first and basic is not None:
        return basic
    for algorithm in _HASHES:
        for challenge in offered:
            if challenge.scheme == "digest" and challenge.algorithm == algorithm and _answerable(challenge):
                return challenge
    return basic


def digest_response(
    parameters: Mapping[str, str], credentials: Credentials, method: str, *, algorithm: str
) -> str:
    """The `response` of RFC 7616 section 3.4.1 over an Authorization field's own parameters.

    parameters: realm, nonce and uri, with qop also cnonce and nc; text as ISO 8859-1 carries it.
    """
    name = _HASHES[algorithm.upper().removesuffix("-SESS")]

    def hashed(*parts: bytes) -> bytes:
        return hashlib.new(name, b":".join(parts), usedforsecurity=False).hexdigest().encode()

    def sent(key: str) -> bytes:
        return parameters.get(key, "").encode("latin-1", "replace")

    secret = hashed(credentials.user.encode(), sent("realm"), credentials.password.encode())
    if algorithm.upper().endswith("-SESS"):
        secret = hashed(secret, sent("nonce"), sent("cnonce"))
    request = hashed(method.encode(), sent("uri"))
    if parameters.get("qop"):
        return hashed(secret, sent("nonce"), sent("nc"), sent("cnonce"), sent("qop"), request).decode()
    return hashed(secret, sent("nonce"), request).decode()


def _answerable(challenge: Challenge) -> bool:
    # RFC 2069 servers name no qop; "auth-int" alone would need the body hashed, which no camera asks for.
    qop = challenge.parameters.get("qop")
    return bool(challenge.parameters.get("nonce")) and (not qop or "auth" in _words(qop))


def _answer(challenge: Challenge, credentials: Credentials, method: str, url: str, count: int) -> str:
    asked = challenge.parameters
    algorithm = asked.get("algorithm", "MD5")
    answer = {"realm": asked.get("realm", ""), "nonce": asked["nonce"], "uri": url}
    if asked.get("qop") or algorithm.upper().endswith("-SESS"):
        answer["cnonce"] = secrets.token_hex(8)
    if asked.get("qop"):
        answer |= {"qop": "auth", "nc": f"{count:08x}"}
    response = digest_response(answer, credentials, method, algorithm=algorithm)
    fields = [f'username="{_quoted(credentials.user.encode().decode("latin-1"))}"']
    fields += [f'{key}="{_quoted(answer[key])}"' for key in ("realm", "nonce", "uri")]
    fields.append(f'response="{response}"')
    if "algorithm" in asked:
        fields.append(f"algorithm={algorithm}")
    if "cnonce" in answer:
        fields.append(f'cnonce="{answer["cnonce"]}"')
    if "qop" in answer:
        fields += ["qop=auth", f"nc={answer['nc']}"]
    if "opaque" in asked:
        fields.append(f'opaque="{_quoted(asked["opaque"])}"')
    return "Digest " + ", ".join(fields)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _words(text: str) -> set[str]:
    return {word.strip().lower() for word in text.split(",")}
