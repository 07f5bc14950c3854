"""Painting straight into the planes of a video frame, which spares a colour conversion per picture.

Everything is drawn once in RGB, turned into luma and half-size chroma (BT.709, limited range), and from then
on only copied.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

# RGB to Y, Cb, Cr of ITU-R BT.709 with luma 16 to 235, as video encoders expect.
_BT709 = (
    0.1826, 0.6142, 0.0620, 16,
    -0.1006, -0.3386, 0.4392, 128,
    0.4392, -0.3989, -0.0403, 128,
)  # fmt: skip

BLACK_LUMA = 16
WHITE_LUMA = 235


@dataclass(frozen=True, slots=True)
class Planes:
    """One picture: full-size luma, half-size Cb and Cr."""

    luma: Image.Image
    cb: Image.Image
    cr: Image.Image

    def copy(self) -> Planes:
        return Planes(self.luma.copy(), self.cb.copy(), self.cr.copy())

    def paste(self, other: Planes) -> None:
        """Take over a whole picture of the same size."""
        self.luma.paste(other.luma)
        self.cb.paste(other.cb)
        self.cr.paste(other.cr)


@dataclass(frozen=True, slots=True)
class Stamp:
    """A small picture with transparency, ready to be pasted; anchor: the pixel of it that `at` names."""

    planes: Planes
    mask: Image.Image
    half_mask: Image.Image
    anchor: tuple[int, int]

    def onto(self, target: Planes, at: tuple[float, float]) -> None:
        x = round(at[0]) - self.anchor[0]
        y = round(at[1]) - self.anchor[1]
        if (
            x >= target.luma.width
            or y >= target.luma.height
            or x + self.mask.width < 0
            or y + self.mask.height < 0
        ):
            return
        target.luma.paste(self.planes.luma, (x, y), self.mask)
        half = (x // 2, y // 2)
        target.cb.paste(self.planes.cb, half, self.half_mask)
        target.cr.paste(self.planes.cr, half, self.half_mask)


def to_planes(picture: Image.Image) -> Planes:
    """An RGB picture with even sides as planes."""
    luma, cb, cr = picture.convert("RGB").convert("RGB", _BT709).split()
    return Planes(luma, cb.reduce(2), cr.reduce(2))


def to_stamp(picture: Image.Image, anchor: tuple[float, float]) -> Stamp:
    """An RGBA picture as a stamp; trimmed to what is visible, sides made even."""
    box = picture.getbbox()
    left, top, right, bottom = box if box is not None else (0, 0, 2, 2)
    left, top = left // 2 * 2, top // 2 * 2
    right, bottom = left + (right - left + 1) // 2 * 2, top + (bottom - top + 1) // 2 * 2
    picture = picture.crop((left, top, right, bottom))
    mask = picture.getchannel("A")
    # Where a sprite is transparent its colour is black, which must not darken the chroma of its rim.
    flat = Image.new("RGB", picture.size, (90, 90, 90))
    flat.paste(picture.convert("RGB"), (0, 0), mask.point(lambda value: 255 if value > 0 else 0))
    return Stamp(to_planes(flat), mask, mask.reduce(2), (round(anchor[0]) - left, round(anchor[1]) - top))
