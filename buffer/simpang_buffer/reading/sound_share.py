"""How much sound of a constant rate stands behind each fragment, from times alone. Pure.

What a camera sends as G.711 no browser plays in MP4. It gets AAC, encoded while it is sent; and so that a
clip's length and every place in it are known before a single second of it is encoded, each AAC frame has the
same size (`FRAME_BYTES`, which no frame can exceed; the rest of it is fill) and each fragment the number of
frames that its time takes.
"""

from __future__ import annotations

from dataclasses import dataclass

# Samples in a frame of AAC-LC (14496-3 section 4.5.1.1).
FRAME_SAMPLES = 1024
# 6,144 bits a channel, beyond which a frame is not valid (14496-3 section 4.5.3.1): 48 kbit/s at 8 kHz.
FRAME_BYTES = 768
# moof with one track run of samples of one size and duration, and the header of its mdat.
HEAD_BYTES = 100 + 8
# A camera's sound comes later than its pictures, or is stamped so: what belongs to a moment is in this and
# in the fragments of the next second.
LATE_US = 1_000_000


@dataclass(frozen=True, slots=True)
class SoundShare:
    """start_us: when frame 0 starts; end_us: of the part; rate: samples a second.

    whole: the part is over, so behind its last fragment stands all that is left; else it may grow, and that
    comes later.
    """

    start_us: int
    end_us: int
    rate: int
    whole: bool = True

    def frames_before(self, time_us: int | None) -> int:
        """How many frames stand before the fragment that starts at time_us; None: at the end."""
        if time_us is None:
            late_us = 0 if self.whole else LATE_US
            return max(self.end_us - late_us - self.start_us, 0) * self.rate // 1_000_000 // FRAME_SAMPLES
        return max(time_us - LATE_US - self.start_us, 0) * self.rate // 1_000_000 // FRAME_SAMPLES

    def share(self, start_us: int, next_us: int | None, fragments: int) -> int:
        """Bytes behind so many fragments in a row. next_us: when the next one starts; None at the end."""
        frames = self.frames_before(next_us) - self.frames_before(start_us)
        return fragments * HEAD_BYTES + frames * FRAME_BYTES
