"""Decode times of audio frames: samples counted, and led back to the stamps where sound is missing."""

from __future__ import annotations

# Below this a stamp only wavers around its samples; above it, sound is missing.
_TOLERANCE_S = 0.1
# A stamp that puts sound so far ahead of its arrival is wrong; what its own count puts there is too much.
_SURPLUS_S = 1.0


class SoundTime:
    """Ticks are of the format's timescale, from the run's start; stamps of the RTP clock, which may differ.

    Stamps that stand still, go back or leap are replaced by the count of samples (QUIRKS 9.4, 10.5): pictures
    decide when a run ends, sound never does.
    """

    def __init__(self, clock_rate: int, timescale: int) -> None:
        self._clock_rate = clock_rate
        self.timescale = timescale
        self._base_stamp = 0
        self._base_ticks = 0
        self._next = 0
        self._arrival_us: int | None = None
        self._aligned_arrival_us = 0
        self._aligned_ticks = 0
        self._catching_up = False
        self.dropped = 0

    def align(self, stamp: int, ticks: int, arrival_us: int) -> None:
        """From now on `stamp` stands at `ticks`. What would stand before sound already dated is dropped."""
        self._catching_up = self._arrival_us is not None
        self._base_stamp, self._base_ticks = stamp, ticks
        self._aligned_arrival_us, self._aligned_ticks = arrival_us, ticks

    def ticks(self, stamp: int) -> int:
        """Where the stamps alone put a frame."""
        step = ((stamp - self._base_stamp + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
        return self._base_ticks + step * self.timescale // self._clock_rate

    def place(self, stamp: int, samples: int, arrival_us: int, reached: int = 0) -> int | None:
        """The frame's decode time, or None when it must be dropped: before the run, or too much of it.

        reached: where the pictures are by now; what a camera has kept until we came is sent all at once.
        """
        ticks = self.ticks(stamp)
        since_us = arrival_us - self._aligned_arrival_us
        arrived = max(self._aligned_ticks + since_us * self.timescale // 1_000_000, reached)
        most = int(_SURPLUS_S * self.timescale)
        if self._arrival_us is None:
            if ticks < 0:
                self.dropped += 1
                return None
            self._next = ticks
        else:
            off = ticks - self._next
            if self._catching_up and off < -samples // 2:
                self.dropped += 1
                return None
            self._catching_up = False
            if ticks - arrived > most or off < -_TOLERANCE_S * self.timescale:
                ticks = self._next  # the count goes on, and the stamps are led on from here
            elif off > _TOLERANCE_S * self.timescale:
                self._next = ticks
        if self._next - arrived > most:
            self.dropped += 1
            return None
        placed = self._next
        self._next += samples
        self._arrival_us = arrival_us
        # Moved along, so that 32 bits never wrap between the base and a stamp.
        self._base_stamp, self._base_ticks = stamp, ticks
        return placed
