"""One view of the junction: the camera's picture at one size, painted anew for every frame."""

from __future__ import annotations

import datetime

from PIL import Image, ImageDraw, ImageFont

from simpang.picture import scenery
from simpang.picture.canvas import BLACK_LUMA, WHITE_LUMA, Planes, Stamp
from simpang.picture.projection import Projection
from simpang.picture.strip import cells, strip_bits, strip_height
from simpang.picture.traffic import Traffic
from simpang.picture.vehicles import vehicle_stamp

_PLATE_LUMA = 36
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


class Scene:
    """Paints name, time and traffic. The planes it returns are its own and change with the next call."""

    def __init__(self, name: str, width: int, height: int, seed: int, zone: datetime.tzinfo | None) -> None:
        self._zone = zone
        self._projection = Projection((width / 2, height * 0.5), width / 88)
        self._ground = scenery.ground(width, height, self._projection, seed)
        self._standing = scenery.standing(self._projection, seed)
        self._signals = scenery.signals(self._projection)
        self._vehicles: dict[tuple[str, int, int], Stamp] = {}
        self._cells = cells(width)
        self._strip_height = strip_height(height)
        self._glyphs = _Glyphs(height)
        self._name = self._glyphs.label(name, width)
        margin = height // 36
        self._name_at = (margin // 2 * 2, (self._strip_height + margin) // 2 * 2)
        self._time_at = (margin // 2 * 2, (height - margin - self._glyphs.height) // 2 * 2)
        self._frame = self._ground.copy()

    def paint(self, traffic: Traffic, wall_us: int) -> Planes:
        """The junction as it stands, stamped with a time."""
        frame = self._frame
        frame.paste(self._ground)
        self._paint_world(frame, traffic)
        self._paint_plate(frame, self._name, self._name_at)
        self._paint_plate(frame, self._glyphs.time(self._clock(wall_us)), self._time_at)
        for (first, end), white in zip(self._cells, strip_bits(wall_us // 1000), strict=True):
            frame.luma.paste(WHITE_LUMA if white else BLACK_LUMA, (first, 0, end, self._strip_height))
        strip = (0, 0, frame.cb.width, self._strip_height // 2)
        frame.cb.paste(128, strip)
        frame.cr.paste(128, strip)
        return frame

    def _clock(self, wall_us: int) -> str:
        seconds, us = divmod(wall_us, 1_000_000)
        moment = datetime.datetime.fromtimestamp(seconds, self._zone or datetime.UTC)
        return f"{moment.strftime(_TIME_FORMAT)}.{us // 1000:03}"

    def _paint_world(self, frame: Planes, traffic: Traffic) -> None:
        things = [(thing.depth, thing.stamp, thing.at) for thing in self._standing]
        for heading, x, y in scenery.SIGNALS:
            things.append((x + y, self._signals[traffic.light(heading)], self._projection.pixel(x, y)))
        for queue in traffic.queues:
            for vehicle in queue.vehicles:
                x, y = queue.lane.at(vehicle.along_m - vehicle.kind.length_m / 2)
                key = (vehicle.kind.name, vehicle.colour, queue.lane.heading)
                stamp = self._vehicles.get(key)
                if stamp is None:
                    stamp = vehicle_stamp(
                        vehicle.kind, vehicle.colour, queue.lane.heading, self._projection.px_per_m
                    )
                    self._vehicles[key] = stamp
                things.append((x + y, stamp, self._projection.pixel(x, y)))
        for _, stamp, at in sorted(things, key=lambda thing: thing[0]):
            stamp.onto(frame, at)

    @staticmethod
    def _paint_plate(frame: Planes, text: Image.Image, at: tuple[int, int]) -> None:
        frame.luma.paste(text, at)
        half = (at[0] // 2, at[1] // 2, (at[0] + text.width) // 2, (at[1] + text.height) // 2)
        frame.cb.paste(128, half)
        frame.cr.paste(128, half)


class _Glyphs:
    """Light letters on a dark plate; the digits are drawn once, all equally wide, and then only copied."""

    def __init__(self, height: int) -> None:
        # A fifteenth of the picture's height: 12 pixels are left of it in a tile 320 pixels wide.
        self._size = height // 15
        # Pillow brings this font along, so a bare system paints the same picture.
        self._font = ImageFont.load_default(self._size)
        self.height = self._size * 3 // 2 // 2 * 2
        digits = "0123456789"
        self._cell = round(max(self._font.getlength(digit) for digit in digits)) + 1
        self._tiles = {text: self._tile(text, self._cell) for text in digits}
        for text in "-:. ":
            self._tiles[text] = self._tile(text, max(self._size // 3, round(self._font.getlength(text)) + 2))

    def label(self, text: str, widest: int) -> Image.Image:
        """A plate with any text, cut to what fits the picture."""
        while text and self._font.getlength(text) > widest * 0.9:
            text = text[:-1]
        return self._tile(text, round(self._font.getlength(text)) + self._size)

    def time(self, text: str) -> Image.Image:
        """A plate with digits and separators."""
        pad = self._size // 2
        width = (pad * 2 + sum(self._tiles[letter].width for letter in text)) // 2 * 2
        plate = Image.new("L", (width, self.height), _PLATE_LUMA)
        x = pad
        for letter in text:
            plate.paste(self._tiles[letter], (x, 0))
            x += self._tiles[letter].width
        return plate

    def _tile(self, text: str, width: int) -> Image.Image:
        tile = Image.new("L", ((width + 1) // 2 * 2, self.height), _PLATE_LUMA)
        stroke = self._size / 40
        ImageDraw.Draw(tile).text(
            (tile.width / 2, self.height / 2),
            text,
            fill=WHITE_LUMA,
            font=self._font,
            anchor="mm",
            stroke_width=stroke,
        )
        return tile
