"""Reads bit syntax as H.264, H.265 and AAC have it: bit by bit, never past the end."""

from __future__ import annotations

# The longest real parameter set (all scaling lists sent) is about 1.5 kB. A longer one is read up to here, so
# that one bit never costs a shift of 64 kB.
_MAX_BYTES = 4096


class Unreadable(ValueError):
    """The bits end early, or say what the specification does not allow."""


class BitReader:
    """Every read that passes the end raises Unreadable."""

    def __init__(self, rbsp: bytes) -> None:
        """rbsp: without emulation bytes; `of_nal` takes them out."""
        rbsp = rbsp[:_MAX_BYTES]
        self._value = int.from_bytes(rbsp, "big")
        self._left = 8 * len(rbsp)

    @classmethod
    def of_nal(cls, payload: bytes) -> BitReader:
        """Over a NAL unit's payload, what follows its header."""
        return cls(unescape(payload[:_MAX_BYTES]))

    def u(self, bits: int) -> int:
        """Unsigned, fixed length."""
        self._left -= bits
        if self._left < 0:
            raise Unreadable("parameter set ends early")
        return self._value >> self._left & ((1 << bits) - 1)

    def flag(self) -> bool:
        return self.u(1) == 1

    def ue(self) -> int:
        """Unsigned Exp-Golomb (H.264 section 9.1, H.265 section 9.2), at most 32 bits."""
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 32:
                raise Unreadable("Exp-Golomb code is too long")
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """Signed Exp-Golomb."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)


def unescape(payload: bytes) -> bytes:
    """Takes emulation prevention bytes out: 00 00 03 stands for 00 00 (H.264 section 7.4.1.1)."""
    return payload.replace(b"\0\0\3", b"\0\0")
