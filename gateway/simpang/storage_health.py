"""Health items of the space that footage takes: minimum ages, promises, quotas, holds, events."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterator

from simpang.health import CRITICAL, WARNING, HealthItem, item
from simpang.storage import StorageCondition
from simpang.web.times import format_time
from simpang.words import Advice, Words
from simpang_buffer.index.forecast import DAY_US
from simpang_buffer.index.promises import WARN_US, Risk

# A few kilobytes short at the end of a look are nothing to tell anybody.
_LEAST_SHORT_BYTES = 64 << 20

_YOUNG = Advice(
    Words(
        "Footage of {stream} went when it was {days} days old, before its minimum age: nothing else was left "
        "to make room.",
        "Rekaman {stream} terhapus saat berumur {days} hari, sebelum umur minimumnya: tidak ada lagi yang "
        "bisa dihapus untuk memberi ruang.",
    ),
    Words(
        "Add space, lower the cameras' bit rates, release holds, or promise fewer days.",
        "Tambah ruang, turunkan bit rate kamera, lepas penahanan, atau janjikan lebih sedikit hari.",
    ),
)
_PROMISE = Advice(
    Words(
        "{party} is promised {promised} days of {stream}; at the present rate it will be {days} days "
        "from {when} on.",
        "{party} dijanjikan {promised} hari dari {stream}; dengan laju sekarang akan menjadi {days} hari "
        "mulai {when}.",
    ),
    Words(
        "Add space, lower bit rates, shorten what others are kept, or agree on fewer days. "
        "`simpang buffer forecast` shows what helps.",
        "Tambah ruang, turunkan bit rate, pendekkan penyimpanan yang lain, atau sepakati lebih sedikit hari. "
        "`simpang buffer forecast` menunjukkan apa yang menolong.",
    ),
)
_QUOTAS = Advice(
    Words(
        "The quotas add up to {asked}, but footage may take {most} in all ({names}).",
        "Jumlah kuota {asked}, padahal rekaman hanya boleh memakai {most} ({names}).",
    ),
    Words(
        "Lower some quotas, or raise max_bytes under [buffer]; until then space decides, not the quotas.",
        "Turunkan sebagian kuota, atau naikkan max_bytes di [buffer]; sampai itu ruang yang menentukan, "
        "bukan kuota.",
    ),
)
_QUOTA_EXCEEDED = Advice(
    Words(
        "{name}: {over} more than the quota are taken by footage that has not reached its minimum age, or is "
        "held.",
        "{name}: rekaman yang belum mencapai umur minimum atau ditahan memakai {over} di atas kuota.",
    ),
    Words("Raise the quota, or lower min_days.", "Naikkan kuota, atau turunkan min_days."),
)
_NOTHING_LEFT = Advice(
    Words(
        "{over} have to be made free, and no footage is left that may go: it is held, or others fill "
        "the disk.",
        "{over} harus dikosongkan, dan tidak ada rekaman yang boleh dihapus: semuanya ditahan, atau disk "
        "dipenuhi yang lain.",
    ),
    Words(
        "Release holds (`simpang buffer holds`), or move other files off the disk: recording stops when it "
        "is full.",
        "Lepas penahanan (`simpang buffer holds`), atau pindahkan berkas lain: perekaman berhenti bila disk "
        "penuh.",
    ),
)
_EVENTS = Advice(
    Words(
        "{camera} reports more events than anybody needs: {count} beyond the day's limit were not kept.",
        "{camera} melaporkan terlalu banyak peristiwa: {count} di atas batas harian tidak disimpan.",
    ),
    Words(
        "Lower the sensitivity of its motion detection, or mask what always moves.",
        "Turunkan kepekaan deteksi geraknya, atau tutup bagian yang selalu bergerak.",
    ),
)


def storage_items(known: StorageCondition, time_zone: str, now_us: int) -> Iterator[HealthItem]:
    """time_zone: the site's, for what people read."""
    for key, young in sorted(known.retention.young.items()):
        age_days = young.age_us / DAY_US
        advice = _YOUNG.filled(stream=key, days=f"{age_days:.1f}")
        evidence: dict[str, object] = {"stream": str(key), "age_days": round(age_days, 2)}
        yield item(
            "minimum-age-broken", CRITICAL, f"stream/{key}", advice, since_us=young.at_us, evidence=evidence
        )
    for risk in known.risks:
        if risk.at_us - now_us <= WARN_US:
            yield _at_risk(risk, time_zone, now_us)
    asked = sum(size for _, size in known.quotas)
    if known.max_bytes and asked > known.max_bytes:
        names = ", ".join(f"{name} {_size(size)}" for name, size in known.quotas)
        advice = _QUOTAS.filled(asked=_size(asked), most=_size(known.max_bytes), names=names)
        evidence = {"quota_bytes": asked, "max_bytes": known.max_bytes, "quotas": dict(known.quotas)}
        yield item("quotas-too-large", WARNING, "storage", advice, evidence=evidence)
    for short in known.retention.short:
        if short.bytes < _LEAST_SHORT_BYTES:
            continue
        evidence = {"short_bytes": short.bytes, "folder": short.folder}
        if short.quota is not None:
            advice = _QUOTA_EXCEEDED.filled(name=short.quota.name, over=_size(short.bytes))
            yield item("quota-exceeded", WARNING, short.quota.name, advice, evidence=evidence)
        else:
            advice = _NOTHING_LEFT.filled(over=_size(short.bytes))
            yield item(
                "nothing-to-evict", CRITICAL, f"folder/{short.folder or 'all'}", advice, evidence=evidence
            )
    for camera, count in sorted((known.refused_events or {}).items()):
        advice = _EVENTS.filled(camera=camera, count=count)
        yield item("event-flood", WARNING, f"camera/{camera}", advice, evidence={"refused": count})


def _at_risk(risk: Risk, time_zone: str, now_us: int) -> HealthItem:
    promise = risk.promise
    broken = risk.at_us <= now_us
    advice = Advice(
        *(
            Words(
                said.en.format(**_figures(risk, time_zone, "en")),
                said.id.format(**_figures(risk, time_zone, "id")),
            )
            for said in (_PROMISE.cause, _PROMISE.remedy)
        )
    )
    evidence: dict[str, object] = {
        "party": promise.party,
        "stream": str(risk.key),
        "promised_days": promise.days,
        "days": round(risk.days, 2),
        "from": format_time(risk.at_us),
    }
    severity = CRITICAL if broken else WARNING
    return item("promise-at-risk", severity, f"promise/{promise.party}/{risk.key}", advice, evidence=evidence)


_WEEKDAYS = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "id": ("Senin", "Selasa", "Rabu", "Kamis", "Jumat", "Sabtu", "Minggu"),
}


def _figures(risk: Risk, time_zone: str, language: str) -> dict[str, str]:
    moment = dt.datetime.fromtimestamp(risk.at_us / 1e6, zoneinfo.ZoneInfo(time_zone))
    return {
        "party": risk.promise.party,
        "promised": f"{risk.promise.days:g}",
        "stream": str(risk.key),
        "days": f"{risk.days:.1f}",
        "when": f"{_WEEKDAYS[language][moment.weekday()]} {moment:%H:%M}",
    }


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
