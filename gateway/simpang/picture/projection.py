"""From the junction's world (metres) to pixels: seen from above at a slant, with no vanishing point.

+x runs to the lower right, +y to the lower left, z up; so a vehicle needs one sprite per heading, and who
stands in front is told by x + y.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from PIL import ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Projection:
    """middle: pixel of the world's origin; px_per_m: pixels to a metre along the screen's x for world x."""

    middle: tuple[float, float]
    px_per_m: float

    def pixel(self, x: float, y: float, z: float = 0.0) -> tuple[float, float]:
        return (
            self.middle[0] + (x - y) * self.px_per_m,
            self.middle[1] + (x + y) * self.px_per_m / 2 - z * self.px_per_m * 1.1,
        )


@dataclass(frozen=True, slots=True)
class Pen:
    """Draws things of the world in perspective onto an RGB or RGBA picture."""

    draw: ImageDraw.ImageDraw
    projection: Projection

    def polygon(self, points: Iterable[Point], fill: Colour | tuple[int, int, int, int]) -> None:
        self.draw.polygon([self.projection.pixel(*point) for point in points], fill=fill)

    def ground(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        fill: Colour | tuple[int, int, int, int],
        z: float = 0.0,
    ) -> None:
        """A level rectangle."""
        self.polygon(((x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)), fill)

    def box(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        z0: float,
        z1: float,
        colour: Colour,
        top: Colour | None = None,
    ) -> None:
        """A cuboid with x0 < x1 and y0 < y1: its two visible walls, lit from the right, and its top."""
        self.polygon(((x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)), shade(colour, 0.66))
        self.polygon(((x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)), shade(colour, 0.84))
        self.ground(x0, y0, x1, y1, top or shade(colour, 1.08), z1)

    def ball(self, x: float, y: float, z: float, radius_m: float, colour: Colour) -> None:
        """A round thing: three discs, lit from the upper right."""
        px, py = self.projection.pixel(x, y, z)
        for size, shift, light in ((1.0, 0.0, 0.72), (0.8, 0.14, 0.92), (0.5, 0.3, 1.12)):
            radius = radius_m * self.projection.px_per_m * size
            move = radius_m * self.projection.px_per_m * shift
            self.draw.ellipse(
                (px + move - radius, py - move - radius, px + move + radius, py - move + radius),
                fill=shade(colour, light),
            )

    def line(self, points: Iterable[Point], fill: Colour, width_m: float) -> None:
        width = max(1, round(width_m * self.projection.px_per_m))
        self.draw.line([self.projection.pixel(*point) for point in points], fill=fill, width=width)


def shade(colour: Colour, light: float) -> Colour:
    """The colour under more or less light."""
    r, g, b = (min(255, round(part * light)) for part in colour)
    return r, g, b
