"""Media profiles: reading them from either media service, and choosing what to record. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from simpang_onvif import xml
from simpang_onvif.device import Profile
from simpang_onvif.errors import OnvifError, Reason
from simpang_onvif.text import clean

# Two profiles for each channel of the largest NVR, twice over.
_MAX_PROFILES = 256
# ONVIF's ReferenceToken has at most 64; Media2 of some NVRs gives longer ones.
_MAX_TOKEN_CHARS = 256

# What the recorder stores, in the order of preference: MJPEG takes ten times the space.
RECORDABLE = (("H264", "H265"), ("JPEG",))
# A sub stream is for previews and slow links: the usual "CIF to D1" middle.
_SUB_PIXELS = 640 * 360

_NAMES = {"H.264": "H264", "AVC": "H264", "H.265": "H265", "HEVC": "H265", "MJPEG": "JPEG", "MPEG4": "MPEG4"}


def read_media1(reply: xml.Element) -> tuple[Profile, ...]:
    """Profiles with video of a Media1 GetProfilesResponse (Media 5.2.2)."""
    return _read(reply, "media1", ("VideoEncoderConfiguration",), ("VideoSourceConfiguration",))


def read_media2(reply: xml.Element) -> tuple[Profile, ...]:
    """Profiles with video of a Media2 GetProfilesResponse (Media2 5.2.3)."""
    return _read(reply, "media2", ("Configurations", "VideoEncoder"), ("Configurations", "VideoSource"))


def choose(profiles: Sequence[Profile]) -> tuple[Profile, Profile | None]:
    """The profiles to record as main and sub.

    Of the first video source that has anything recordable: main is the one with the most pixels (then the
    most frames a second, then the camera's own order); sub is, of those with fewer pixels than main, the one
    nearest to 640 x 360, if any. MJPEG is for cameras that have nothing else. Raises OnvifError(unsupported)
    where no profile is H.264, H.265 or MJPEG.
    """
    kinds = ([profile for profile in profiles if profile.encoding in kind] for kind in RECORDABLE)
    recordable = next((kind for kind in kinds if kind), [])
    if not recordable:
        found = ", ".join(sorted({profile.encoding or "unknown" for profile in profiles})) or "none"
        raise OnvifError(
            Reason.UNSUPPORTED,
            f"no profile with H.264, H.265 or MJPEG (found: {found})",
            "set a profile to H.264 or H.265 in the camera's own page",
        )
    ours = [profile for profile in recordable if profile.source == recordable[0].source]
    main = max(ours, key=lambda profile: (_pixels(profile), profile.fps))
    smaller = [profile for profile in ours if 0 < _pixels(profile) < _pixels(main)]
    sub = min(smaller, key=lambda profile: abs(_pixels(profile) - _SUB_PIXELS), default=None)
    return main, sub


def _read(
    reply: xml.Element, service: str, encoder_path: tuple[str, ...], source_path: tuple[str, ...]
) -> tuple[Profile, ...]:
    # A profile that cannot be read is dropped alone; the others stand.
    profiles = (
        _profile(element, service, xml.find(element, *encoder_path), xml.find(element, *source_path))
        for element in xml.children(reply, "Profiles")[:_MAX_PROFILES]
    )
    return tuple(_without_repeats(profile for profile in profiles if profile is not None))


def _profile(
    element: xml.Element, service: str, encoder: xml.Element | None, source: xml.Element | None
) -> Profile | None:
    token = xml.attribute(element, "token")
    if encoder is None or len(token) > _MAX_TOKEN_CHARS or not token.isprintable():
        return None
    encoding = clean(xml.text(encoder, "Encoding")).upper()
    rate = xml.find(encoder, "RateControl")
    # Media1 keeps it in an element per codec (Media 5.5), Media2 in an attribute.
    gop = (
        xml.attribute(encoder, "GovLength")
        or xml.text(encoder, "H264", "GovLength")
        or xml.text(encoder, "MPEG4", "GovLength")
    )
    return Profile(
        token=token,
        service=service,
        name=clean(xml.text(element, "Name")),
        source=clean(xml.text(source, "SourceToken")),
        encoding=_NAMES.get(encoding, encoding),
        width=int(xml.number(xml.text(encoder, "Resolution", "Width"), 65_535)),
        height=int(xml.number(xml.text(encoder, "Resolution", "Height"), 65_535)),
        fps=xml.number(xml.text(rate, "FrameRateLimit"), 1_000),
        bps=int(xml.number(xml.text(rate, "BitrateLimit"), 10_000_000) * 1000),  # stated in kbit/s
        gop=int(xml.number(gop, 100_000)),
    )


def _without_repeats(profiles: Iterable[Profile]) -> Iterable[Profile]:
    seen: set[str] = set()
    for profile in profiles:
        if profile.token not in seen:
            seen.add(profile.token)
            yield profile


def _pixels(profile: Profile) -> int:
    return profile.width * profile.height
