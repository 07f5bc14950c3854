"""The junction itself: what never moves, drawn once, and the things that vehicles pass behind."""

from __future__ import annotations

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

from simpang.picture.canvas import Planes, Stamp, to_planes, to_stamp
from simpang.picture.projection import Colour, Pen, Projection, shade
from simpang.picture.traffic import STOP_LINE_M

ROAD_M = 7.0
_KERB_M = 10.0
_FAR_M = 110.0
_OVERSAMPLING = 2

_ASPHALT: Colour = (84, 87, 93)
_MARKING: Colour = (226, 226, 216)
_PAVEMENT: Colour = (176, 170, 160)
_LEAVES: tuple[Colour, ...] = ((66, 122, 62), (82, 138, 66), (54, 108, 64))
_WALLS: tuple[Colour, ...] = ((222, 206, 178), (196, 214, 214), (226, 188, 160), (206, 200, 222))
_ROOFS: tuple[Colour, ...] = ((178, 92, 66), (120, 128, 140), (150, 74, 62), (92, 120, 132))


@dataclass(frozen=True, slots=True)
class Standing:
    """Something that vehicles may pass behind; depth: x + y of its foot."""

    stamp: Stamp
    at: tuple[float, float]
    depth: float


def ground(width: int, height: int, projection: Projection, seed: int) -> Planes:
    """Everything flat or behind all traffic, as one picture."""
    rng = random.Random(seed)  # noqa: S311 - decorates a picture, decides nothing
    big = _enlarged(projection)
    grass = rng.choice(((122, 158, 92), (134, 160, 88), (112, 152, 98)))
    picture = Image.new("RGB", (width * _OVERSAMPLING, height * _OVERSAMPLING), grass)
    pen = Pen(ImageDraw.Draw(picture), big)
    _lawn(pen, rng, grass)
    _roads(pen)
    for x, y in ((-1, -1), (1, -1), (-1, 1)):
        _block(pen, rng, x, y)
    _park(pen)
    return to_planes(picture.reduce(_OVERSAMPLING))


def standing(projection: Projection, seed: int) -> list[Standing]:
    """Trees, lamps and signal posts of the pavements, the farthest first."""
    rng = random.Random(seed + 1)  # noqa: S311 - decorates a picture, decides nothing
    things: list[Standing] = []
    for along in (-44, -34, -24, 24, 34, 44, 54):
        for side in (-1, 1):
            for x, y in ((along, side * 11.2), (side * 11.2, along)):
                if rng.random() < 0.62:
                    size = rng.uniform(0.8, 1.15)
                    leaves = rng.choice(_LEAVES)
                    things.append(
                        _stand(
                            projection, x, y, lambda pen, size=size, leaves=leaves: _tree(pen, size, leaves)
                        )
                    )
    for sign_x, sign_y in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        things.append(_stand(projection, sign_x * 9.2, sign_y * 9.2, _lamp))
    return sorted(things, key=lambda thing: thing.depth)


# Where the signal heads stand: on the left of those who arrive, at the stop line.
SIGNALS = tuple(
    (heading, x, y)
    for heading, x, y in (
        (0, -STOP_LINE_M, -8.4),
        (1, 8.4, -STOP_LINE_M),
        (2, STOP_LINE_M, 8.4),
        (3, -8.4, STOP_LINE_M),
    )
)


def signals(projection: Projection) -> dict[str, Stamp]:
    """The signal head showing each of its lights."""
    lit: dict[str, Colour] = {"red": (255, 62, 48), "amber": (255, 190, 50), "green": (80, 240, 130)}
    dark: dict[str, Colour] = {"red": (86, 34, 32), "amber": (86, 68, 30), "green": (28, 76, 46)}

    def head(pen: Pen, light: str) -> None:
        pen.box(-0.12, -0.12, 0.12, 0.12, 0, 3.0, (110, 114, 118))
        pen.box(-0.5, -0.5, 0.5, 0.5, 3.0, 5.9, (46, 48, 52))
        for name, z in (("red", 5.4), ("amber", 4.55), ("green", 3.7)):
            colour = lit[name] if name == light else dark[name]
            for x, y in ((0.52, 0.0), (0.0, 0.52)):
                px, py = pen.projection.pixel(x, y, z)
                radius = 0.4 * pen.projection.px_per_m
                pen.draw.ellipse((px - radius, py - radius, px + radius, py + radius), fill=colour)

    return {light: _stand(projection, 0, 0, lambda pen, light=light: head(pen, light)).stamp for light in lit}


def _enlarged(projection: Projection) -> Projection:
    x, y = projection.middle
    return Projection((x * _OVERSAMPLING, y * _OVERSAMPLING), projection.px_per_m * _OVERSAMPLING)


def _stand(projection: Projection, x: float, y: float, paint: object) -> Standing:
    side = int(14 * projection.px_per_m) * 2
    picture = Image.new("RGBA", (side * _OVERSAMPLING, side * _OVERSAMPLING), (0, 0, 0, 0))
    middle = side * _OVERSAMPLING / 2
    pen = Pen(ImageDraw.Draw(picture), Projection((middle, middle), projection.px_per_m * _OVERSAMPLING))
    assert callable(paint)
    paint(pen)
    small = picture.reduce(_OVERSAMPLING)
    return Standing(to_stamp(small, (side / 2, side / 2)), projection.pixel(x, y), x + y)


def _lawn(pen: Pen, rng: random.Random, grass: Colour) -> None:
    for _ in range(260):
        x, y, size = rng.uniform(-90, 90), rng.uniform(-90, 90), rng.uniform(0.5, 2.4)
        pen.ground(x, y, x + size, y + size * rng.uniform(0.5, 1), shade(grass, rng.uniform(0.88, 1.1)))


def _roads(pen: Pen) -> None:
    for inner, colour in (
        (_KERB_M + 2.5, _PAVEMENT),
        (_KERB_M - 2.2, shade(_PAVEMENT, 0.8)),
        (ROAD_M + 0.5, _ASPHALT),
    ):
        pen.ground(-_FAR_M, -inner, _FAR_M, inner, colour)
        pen.ground(-inner, -_FAR_M, inner, _FAR_M, colour)
    pen.ground(-ROAD_M, -ROAD_M, ROAD_M, ROAD_M, shade(_ASPHALT, 1.04))
    for turn in range(4):
        _arm(_Turned(pen, turn))


class _Turned:
    """A pen turned by quarters about the middle: each arm of the junction is drawn once."""

    def __init__(self, pen: Pen, quarters: int) -> None:
        self._pen = pen
        self._quarters = quarters

    def ground(self, x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
        for _ in range(self._quarters):
            x0, y0, x1, y1 = -y1, x0, -y0, x1
        self._pen.ground(x0, y0, x1, y1, fill)


def _arm(pen: _Turned) -> None:
    pen.ground(-_FAR_M, -0.28, -STOP_LINE_M, -0.08, (222, 184, 72))
    pen.ground(-_FAR_M, 0.08, -STOP_LINE_M, 0.28, (222, 184, 72))
    for side in (-1, 1):
        pen.ground(-_FAR_M, side * 7.0 - 0.1, -STOP_LINE_M, side * 7.0 + 0.1, _MARKING)
        dash = -STOP_LINE_M - 4.0
        while dash > -_FAR_M:
            pen.ground(dash, side * 3.5 - 0.09, dash + 2.4, side * 3.5 + 0.09, _MARKING)
            dash -= 5.0
    pen.ground(-STOP_LINE_M, -ROAD_M, -STOP_LINE_M + 0.5, 0, _MARKING)
    stripe = -ROAD_M + 0.4
    while stripe < ROAD_M - 0.4:
        pen.ground(-10.6, stripe, -8.0, stripe + 0.62, _MARKING)
        stripe += 1.22


def _block(pen: Pen, rng: random.Random, sign_x: int, sign_y: int) -> None:
    """The houses of one quarter, the farthest first; low enough not to hide the road behind them."""
    spots = [(cx, cy) for cx in (20, 34, 48) for cy in (20, 34, 48) if cx + cy < 84]
    houses = [(sign_x * cx, sign_y * cy) for cx, cy in spots if rng.random() < 0.86]
    for x, y in sorted(houses, key=sum):
        depth = min(abs(x), abs(y)) - 14
        height = rng.uniform(3.6, 4.6 + max(0.0, depth) * 0.4) if sign_x != sign_y else rng.uniform(4, 10)
        _house(pen, rng, x, y, rng.uniform(8, 10.5), rng.uniform(8, 10.5), height)


def _park(pen: Pen) -> None:
    """The quarter nearest to the camera: paths and flower beds, low, since all traffic passes behind it."""
    pen.ground(13.5, 20, _FAR_M, 22, shade(_PAVEMENT, 1.06))
    pen.ground(20, 13.5, 22, _FAR_M, shade(_PAVEMENT, 1.06))
    for x, y, colour in (
        (16.8, 16.8, (214, 96, 108)),
        (16.8, 27, (236, 186, 84)),
        (27, 16.8, (236, 186, 84)),
    ):
        pen.box(x - 2.2, y - 2.2, x + 2.2, y + 2.2, 0, 0.35, (150, 140, 124), top=(92, 126, 70))
        for i in range(25):
            pen.ball(x - 1.6 + i % 5 * 0.8, y - 1.6 + i // 5 * 0.8, 0.55, 0.28, colour)


def _house(pen: Pen, rng: random.Random, x: float, y: float, dx: float, dy: float, height: float) -> None:
    wall, roof = rng.choice(_WALLS), rng.choice(_ROOFS)
    x0, x1, y0, y1 = x - dx / 2, x + dx / 2, y - dy / 2, y + dy / 2
    pen.ground(x0 - 2.2, y0 + 0.6, x1 - 0.4, y1 + 2.2, shade((122, 158, 92), 0.72))
    pen.box(x0, y0, x1, y1, 0, height, wall)
    pane: Colour = (96, 122, 146)
    floor = 0.9
    while floor + 1.4 < height:
        for i in range(3):
            a = 0.14 + i * 0.28
            u0, u1 = x0 + dx * a, x0 + dx * (a + 0.16)
            pen.polygon(
                ((u0, y1, floor), (u1, y1, floor), (u1, y1, floor + 1.3), (u0, y1, floor + 1.3)),
                shade(pane, 0.8),
            )
            v0, v1 = y0 + dy * a, y0 + dy * (a + 0.16)
            pen.polygon(
                ((x1, v0, floor), (x1, v1, floor), (x1, v1, floor + 1.3), (x1, v0, floor + 1.3)), pane
            )
        floor += 2.5
    eave = 0.6
    if height < 6:  # a hipped roof
        peak = ((x0 + x1) / 2, (y0 + y1) / 2, height + 2.2)
        corners = (
            (x0 - eave, y0 - eave),
            (x1 + eave, y0 - eave),
            (x1 + eave, y1 + eave),
            (x0 - eave, y1 + eave),
        )
        ring = [(cx, cy, height) for cx, cy in corners]
        for i, light in ((0, 1.0), (3, 0.9), (2, 0.78), (1, 1.08)):
            pen.polygon((ring[i], ring[(i + 1) % 4], peak), shade(roof, light))
    else:
        pen.box(
            x0 - 0.3,
            y0 - 0.3,
            x1 + 0.3,
            y1 + 0.3,
            height,
            height + 0.6,
            shade(wall, 0.9),
            top=shade(roof, 1.1),
        )
        pen.box(x - 1.4, y - 1.4, x + 1.0, y + 1.0, height + 0.6, height + 2.0, (190, 192, 194))


def _tree(pen: Pen, size: float, leaves: Colour) -> None:
    px, py = pen.projection.pixel(-0.6, 0.6)
    reach = 1.7 * size * pen.projection.px_per_m
    pen.draw.ellipse((px - reach, py - reach / 2, px + reach, py + reach / 2), fill=(28, 40, 24, 90))
    pen.box(-0.2, -0.2, 0.2, 0.2, 0, 2.0 * size, (112, 82, 58))
    for x, y, z, radius in ((-0.7, 0.7, 2.6, 1.15), (0.7, -0.6, 2.7, 1.1), (0, 0, 3.5, 1.4)):
        pen.ball(x * size, y * size, z * size, radius * size, leaves)


def _lamp(pen: Pen) -> None:
    pen.box(-0.1, -0.1, 0.1, 0.1, 0, 7.5, (124, 128, 132))
    pen.box(-0.5, -0.5, 0.5, 0.5, 7.5, 7.75, (240, 238, 220))
