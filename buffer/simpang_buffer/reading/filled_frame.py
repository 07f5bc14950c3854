"""AAC frames of one size: what an encoder made, filled up (14496-3 section 4.4.2.7, fill_element). Pure."""

from __future__ import annotations

from simpang_buffer.reading.sound_share import FRAME_BYTES

# A frame of one channel in which nothing is heard.
SILENCE = bytes.fromhex("00c800802380")
# Element ids of 3 bits: FIL, and END, which closes a raw_data_block.
_FILL = 0b110
_END = 0b111
# count of 4 bits is 15, then esc_count of 8 bits adds up to 254 more, less one.
_MOST_FILL_BYTES = 15 + 255 - 1
_FILL_BYTE = 0xA5


def filled(frame: bytes) -> bytes:
    """The frame as FRAME_BYTES bytes. Raises ValueError for what is no frame, or does not fit."""
    if not frame or len(frame) > FRAME_BYTES:
        raise ValueError(f"an AAC frame of {len(frame)} bytes")
    # Behind the END there are only the zeros that make whole bytes.
    number = int.from_bytes(frame, "big")
    if not number:
        raise ValueError("an AAC frame without an end")
    trailing = (number & -number).bit_length() - 1
    number >>= trailing
    if number & 0b111 != _END:
        raise ValueError("an AAC frame without an end")
    number >>= 3
    bits = len(frame) * 8 - trailing - 3
    free = FRAME_BYTES * 8 - bits - 3
    while free >= 7:
        # The element's head is 7 bits, or 15 with the escape.
        if free < 15 + 15 * 8:
            count = (free - 7) // 8
            if count >= 15:
                count = 14
            number, bits = _fill(number, bits, count)
            free -= 7 + 8 * count
        else:
            count = min((free - 15) // 8, _MOST_FILL_BYTES)
            number, bits = _fill(number, bits, count)
            free -= 15 + 8 * count
    number = number << 3 | _END
    return (number << free).to_bytes(FRAME_BYTES, "big")


def _fill(number: int, bits: int, count: int) -> tuple[int, int]:
    number = number << 3 | _FILL
    if count < 15:
        number, bits = number << 4 | count, bits + 7
    else:
        number, bits = number << 12 | 15 << 8 | (count - 14), bits + 15
    # extension_type EXT_FILL and a zero nibble, then the fill bytes.
    payload = bytes((0,)) + bytes((_FILL_BYTE,)) * (count - 1) if count else b""
    return number << 8 * count | int.from_bytes(payload, "big"), bits + 8 * count
