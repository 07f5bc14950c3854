"""What vehicles look like: one stamp for each kind, colour and heading, drawn once."""

from __future__ import annotations

from PIL import Image, ImageDraw

from simpang.picture.canvas import Stamp, to_stamp
from simpang.picture.projection import Colour, Pen, Projection, shade
from simpang.picture.traffic import ANGKOT, BUS, CAR, MOTORBIKE, Kind

# Drawn this many times larger and shrunk, for smooth edges.
_OVERSAMPLING = 4

_GLASS: Colour = (52, 66, 82)
_TYRE: Colour = (28, 28, 30)
_PAINTS: dict[str, tuple[Colour, ...]] = {
    "motorbike": ((196, 48, 44), (40, 42, 48), (44, 92, 180), (232, 196, 60)),
    "car": ((236, 238, 240), (60, 64, 72), (178, 184, 190), (172, 40, 46), (44, 82, 148), (206, 190, 160)),
    "angkot": ((64, 150, 86), (236, 168, 44)),
    "truck": ((226, 190, 64), (84, 128, 176)),
    "bus": ((52, 118, 190), (222, 92, 54)),
}


def vehicle_stamp(kind: Kind, colour: int, heading: int, px_per_m: float) -> Stamp:
    """The stamp of a vehicle; its anchor is the ground under its middle."""
    reach_px = (kind.length_m + kind.height_m + 2) * px_per_m
    side = int(reach_px) * 2 * _OVERSAMPLING
    picture = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    pen = Pen(ImageDraw.Draw(picture), Projection((side / 2, side / 2), px_per_m * _OVERSAMPLING))
    paint = _PAINTS[kind.name][colour % len(_PAINTS[kind.name])]

    half_length, half_width = kind.length_m / 2, kind.width_m / 2
    body = _Body(pen, heading)
    body.shadow(half_length, half_width)
    if kind is MOTORBIKE:
        body.box(-half_length, half_length, 0.22, 0.15, 0.75, _TYRE)
        body.box(-0.45, 0.6, 0.28, 0.5, 0.95, paint)
        body.box(-0.35, 0.2, 0.34, 0.9, 1.5, (70, 84, 110))
        x, y = body.turn(0.05, 0)
        pen.ball(x, y, 1.75, 0.3, (238, 238, 232))
    elif kind in (CAR, ANGKOT):
        hood = 1.25 if kind is CAR else 0.55
        body.box(-half_length, half_length, half_width, 0.25, 0.95, paint)
        body.box(
            -half_length + 0.3, half_length - hood, half_width - 0.12, 0.95, kind.height_m, _GLASS, top=paint
        )
        if heading < 2:  # comes towards us
            body.box(half_length - 0.05, half_length, half_width - 0.2, 0.55, 0.75, (250, 246, 214))
        else:
            body.box(-half_length, -half_length + 0.05, half_width - 0.2, 0.6, 0.8, (214, 44, 40))
    elif kind is BUS:
        body.box(-half_length, half_length, half_width, 0.35, 1.4, paint)
        body.box(-half_length, half_length, half_width, 1.4, 2.4, _GLASS)
        body.box(-half_length, half_length, half_width, 2.4, kind.height_m, paint, top=(236, 238, 240))
        body.box(-1.2, 1.2, 0.8, kind.height_m, kind.height_m + 0.2, (210, 214, 218))
    else:
        bed = (-half_length, half_length - 2.1)
        cab = (half_length - 1.95, half_length)
        # The nearer box is drawn last.
        boxes = [(bed, 2.8, (206, 206, 200)), (cab, 2.3, paint)]
        for (rear, front), top_z, box_colour in boxes if heading < 2 else reversed(boxes):
            body.box(rear, front, half_width, 0.4, top_z, box_colour)
        body.box(cab[0] + 1.2, cab[1] + 0.01, half_width - 0.15, 1.5, 2.05, _GLASS, top=shade(paint, 1.05))

    small = picture.reduce(_OVERSAMPLING)
    return to_stamp(small, (small.width / 2, small.height / 2))


class _Body:
    """Boxes given along the vehicle (forwards) and across it, turned to its heading."""

    def __init__(self, pen: Pen, heading: int) -> None:
        self._pen = pen
        self._heading = heading

    def turn(self, forward: float, across: float) -> tuple[float, float]:
        return (
            (forward, -across),
            (across, forward),
            (-forward, across),
            (-across, -forward),
        )[self._heading]

    def box(
        self,
        rear: float,
        front: float,
        half_width: float,
        z0: float,
        z1: float,
        colour: Colour,
        top: Colour | None = None,
    ) -> None:
        x0, y0 = self.turn(rear, -half_width)
        x1, y1 = self.turn(front, half_width)
        self._pen.box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1), z0, z1, colour, top)

    def shadow(self, half_length: float, half_width: float) -> None:
        x0, y0 = self.turn(-half_length, -half_width)
        x1, y1 = self.turn(half_length, half_width)
        self._pen.ground(
            min(x0, x1) - 0.7, min(y0, y1) + 0.2, max(x0, x1) - 0.1, max(y0, y1) + 0.7, (20, 22, 26, 110)
        )
