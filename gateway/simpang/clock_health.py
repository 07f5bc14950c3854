"""Health items of this machine's clock: nobody vouches for it, or it has leapt."""

from __future__ import annotations

from collections.abc import Iterator

from simpang.clock import Clock
from simpang.health import WARNING, HealthItem, item
from simpang.web.times import format_time
from simpang.words import Advice, Words

_UNTRUSTED = Advice(
    Words(
        "This gateway's clock says {now}, and nobody vouches for it.",
        "Jam gateway ini menunjukkan {now}, dan tidak ada yang menjaminnya.",
    ),
    Words(
        "Recording goes on; footage is dated anew once the clock is right, and nothing is deleted by age "
        "until then. Give the gateway a time server (apt install systemd-timesyncd or chrony) and a network "
        "to reach it, or compare the clock and say `simpang clock trust`, or `simpang clock set TIME`.",
        "Perekaman tetap berjalan; waktu rekaman dibetulkan begitu jam benar, dan sampai saat itu tidak ada "
        "yang dihapus karena umur. Beri gateway server waktu (apt install systemd-timesyncd atau chrony) dan "
        "jaringan untuk mencapainya, atau cocokkan jamnya lalu jalankan `simpang clock trust`, atau "
        "`simpang clock set WAKTU`.",
    ),
)
_LEAPT = Advice(
    Words(
        "This gateway's clock leapt by {days} days and says {now}.",
        "Jam gateway ini melompat {days} hari dan menunjukkan {now}.",
    ),
    Words(
        "Nothing is deleted by age until the clock has been stable for a day, or somebody confirms it. If it "
        "is right, say `simpang clock trust`; if not, see to the time server, or `simpang clock set TIME`.",
        "Tidak ada yang dihapus karena umur sampai jam stabil selama sehari, atau ada yang membenarkannya. "
        "Jika jamnya benar, jalankan `simpang clock trust`; jika tidak, periksa server waktu, atau "
        "`simpang clock set WAKTU`.",
    ),
)


def clock_items(clock: Clock, now_us: int) -> Iterator[HealthItem]:
    """One at most: what leapt is untrusted for that, or trusted all the same."""
    now = format_time(now_us)
    evidence: dict[str, object] = {"now": now, "source": clock.source, "trusted": clock.trusted}
    if clock.jumped_s is not None:
        days = f"{clock.jumped_s / 86_400:+.1f}"
        evidence["jumped_s"] = round(clock.jumped_s)
        yield item("clock-leapt", WARNING, "clock", _LEAPT.filled(days=days, now=now), evidence=evidence)
    elif not clock.trusted:
        yield item("clock-untrusted", WARNING, "clock", _UNTRUSTED.filled(now=now), evidence=evidence)
