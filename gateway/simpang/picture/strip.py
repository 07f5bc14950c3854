"""The row of black and white cells along a demo picture's top edge: the time it was painted, for machines.

A page or a test reads the strip from any scaled copy of the picture and knows how old it is. 48 cells of
equal width carry the milliseconds since 1970 as a binary number, the highest bit at the left; white is 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

CELLS = 48


def cells(width: int) -> list[tuple[int, int]]:
    """First and last-but-one column of every cell, from the left."""
    edges = [round(i * width / CELLS) for i in range(CELLS + 1)]
    return list(itertools.pairwise(edges))


def strip_height(height: int) -> int:
    """Rows of the strip: a 45th of the picture, in whole 8-pixel blocks, so that codecs keep its edge."""
    return max(8, height // 45 // 8 * 8)


def strip_bits(ms: int) -> list[bool]:
    """The cells' values for a time in milliseconds since 1970."""
    return [bool(ms >> shift & 1) for shift in range(CELLS - 1, -1, -1)]


def read_strip(luma_at: Callable[[int, int], int], width: int, height: int) -> int:
    """Milliseconds since 1970 as the strip says. luma_at(x, y): brightness, 0 to 255, of one pixel."""
    row = height // 90
    ms = 0
    for first, end in cells(width):
        ms = ms << 1 | (luma_at((first + end) // 2, row) > 127)
    return ms
