"""Health items of the recorders' sandbox: what this kernel could not take from them, and what got out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from simpang.health import CRITICAL, WARNING, HealthItem, item
from simpang.words import Advice, Words
from simpang_buffer.recording.sandbox.confinement import Confinement

_OPEN = Advice(
    Words(
        "A recorder's sandbox does not hold: {actions}. A hostile camera could use that.",
        "Kotak pasir perekam tidak menahan: {actions}. Kamera jahat bisa memanfaatkannya.",
    ),
    Words(
        "Recording goes on. Install the latest image; if this stays, send a support bundle.",
        "Perekaman tetap berjalan. Pasang image terbaru; jika tetap begini, kirim paket dukungan.",
    ),
)
_WEAK = Advice(
    Words(
        "This kernel cannot confine the recorders fully: {lacks}.",
        "Kernel ini tidak dapat mengurung perekam sepenuhnya: {lacks}.",
    ),
    Words(
        "Recording goes on. A kernel of 6.1 or later with Landlock and seccomp confines them; "
        "our image has one.",
        "Perekaman tetap berjalan. Kernel 6.1 atau lebih baru dengan Landlock dan seccomp mengurungnya; "
        "image kami memilikinya.",
    ),
)


def confinement_items(found: Iterable[Confinement]) -> Iterator[HealthItem]:
    """One item of each kind for all recorders, since they run on one kernel."""
    all_found = list(found)
    escaped = sorted({action for one in all_found for action in one.escaped})
    lacks = sorted({lack for one in all_found for lack in one.lacks})
    if escaped and not lacks:
        # Where the kernel lacks a means it is known that more gets out, and why.
        advice = _OPEN.filled(actions=", ".join(escaped))
        yield item("sandbox-open", CRITICAL, "recorders", advice, evidence={"escaped": escaped})
    if lacks:
        advice = _WEAK.filled(lacks="; ".join(lacks))
        yield item(
            "sandbox-weak", WARNING, "recorders", advice, evidence={"lacks": lacks, "escaped": escaped}
        )
