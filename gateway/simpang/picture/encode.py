"""Encoders for the painted pictures: H.264 or H.265, no frames held back, a key frame every two seconds."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
from av.video.frame import PictureType

from simpang.picture.canvas import Planes

TICKS_PER_SECOND = 90_000
KEY_FRAME_S = 2

# The fastest presets: the demo's two cameras together have to leave most of a core to the gateway. x265
# starts a thread pool of its own unless told not to.
_OPTIONS = {
    "h264": {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "scenecut=0:repeat-headers=1"},
    "h265": {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "x265-params": "scenecut=0:open-gop=0:repeat-headers=1:pools=none:frame-threads=1:log-level=error",
    },
}
# Sharp enough to read the time in a tile; one step less costs x265 a tenth more time.
_CRF = {"h264": "27", "h265": "31"}
_CODECS = {"h264": "libx264", "h265": "libx265"}


class VideoEncoder:
    """One stream's encoder. fps: pictures a second; bit_rate: its ceiling, bits a second."""

    def __init__(self, codec: str, width: int, height: int, fps: int, bit_rate: int) -> None:
        context = av.CodecContext.create(_CODECS[codec], "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width = width
        context.height = height
        context.pix_fmt = "yuv420p"
        context.time_base = Fraction(1, TICKS_PER_SECOND)
        context.framerate = Fraction(fps)
        context.gop_size = fps * KEY_FRAME_S
        context.thread_count = 1
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709, as the canvas paints
        context.color_range = 1
        context.options = {
            **_OPTIONS[codec],
            "crf": _CRF[codec],
            "maxrate": str(bit_rate),
            "bufsize": str(bit_rate),
        }
        self._context = context
        self._frame = av.VideoFrame(width, height, "yuv420p")

    def encode(self, planes: Planes, pts: int, *, key: bool) -> Iterator[tuple[int, bool, bytes]]:
        """The finished pictures: (pts, whether a key frame, NAL units with start codes)."""
        for target, source in zip(self._frame.planes, (planes.luma, planes.cb, planes.cr), strict=True):
            target.update(_rows(source.tobytes(), source.width, target.line_size))
        self._frame.pts = pts
        self._frame.pict_type = PictureType.I if key else PictureType.NONE
        for packet in self._context.encode(self._frame):
            yield packet.pts or 0, packet.is_keyframe, bytes(packet)


def _rows(data: bytes, width: int, line_size: int) -> bytes:
    """Rows as far apart as the frame wants them."""
    if width == line_size:
        return data
    padding = bytes(line_size - width)
    return b"".join(data[at : at + width] + padding for at in range(0, len(data), width))
