"""Health items of the index: what became of it, how far it is rebuilt, and whether it has a backup."""

from __future__ import annotations

from collections.abc import Iterator

from simpang.health import CRITICAL, WARNING, HealthItem, item
from simpang.web.times import format_time
from simpang.words import Advice, Words
from simpang_buffer.index.keeper import Condition

# A backup is made daily; one that is a good week old is worth a word.
_OLD_BACKUP_US = 8 * 86_400_000_000

_FAILING = Advice(
    Words(
        "The index of the footage cannot be read or written: {detail}.",
        "Indeks rekaman tidak dapat dibaca atau ditulis: {detail}.",
    ),
    Words(
        "Recording goes on as long as the media disk takes files. See to the disk of {path}: space, mount, "
        "cable, health. The index mends itself as soon as the disk can be written.",
        "Perekaman tetap berjalan selama disk media menerima berkas. Periksa disk {path}: ruang, mount, "
        "kabel, kesehatan. Indeks pulih sendiri begitu disk bisa ditulis.",
    ),
)
_REBUILDING = {
    "missing": Advice(
        Words(
            "The index of the footage was missing; it is being rebuilt from the media files ({progress}).",
            "Indeks rekaman hilang; sedang dibangun ulang dari berkas media ({progress}).",
        ),
        Words(
            "Nothing is to be done. Older footage is found again as the rebuild comes to it, newest first.",
            "Tidak perlu tindakan. Rekaman lama ditemukan lagi seiring pembangunan, mulai dari yang terbaru.",
        ),
    ),
    "damaged": Advice(
        Words(
            "The index of the footage was damaged; it is being rebuilt from the media files ({progress}). "
            "The old one is kept as {aside}.",
            "Indeks rekaman rusak; sedang dibangun ulang dari berkas media ({progress}). "
            "Yang lama disimpan sebagai {aside}.",
        ),
        Words(
            "No footage is lost. Look at the disk's health: databases seldom break by themselves.",
            "Tidak ada rekaman yang hilang. Periksa kesehatan disk: basis data jarang rusak sendiri.",
        ),
    ),
    "foreign": Advice(
        Words(
            "The index that was here is of another gateway or disk; a new one is being rebuilt from the "
            "media files ({progress}). The other is kept as {aside}.",
            "Indeks yang ada milik gateway atau disk lain; yang baru sedang dibangun dari berkas media "
            "({progress}). Yang lain disimpan sebagai {aside}.",
        ),
        Words(
            "If disks were exchanged by mistake, stop simpang and change them back.",
            "Jika disk tertukar, hentikan simpang dan tukar kembali.",
        ),
    ),
    "by-hand": Advice(
        Words(
            "The index of the footage is being rebuilt from the media files, as was asked ({progress}).",
            "Indeks rekaman sedang dibangun ulang dari berkas media, sesuai permintaan ({progress}).",
        ),
        Words("Nothing is to be done.", "Tidak perlu tindakan."),
    ),
}
_UNREAD = Advice(
    Words(
        "{count} media files could not be taken into the index.",
        "{count} berkas media tidak dapat dimasukkan ke indeks.",
    ),
    Words(
        "`simpang buffer check` names them; look at the disk's health.",
        "`simpang buffer check` menyebutkannya; periksa kesehatan disk.",
    ),
)
_NO_BACKUP = Advice(
    Words("The index is not backed up: {reason}.", "Indeks tidak dicadangkan: {reason}."),
    Words(
        "Recording does not need it: it only shortens a rebuild. Free some space on the disk of the data "
        "folder.",
        "Perekaman tidak membutuhkannya: cadangan hanya mempersingkat pembangunan ulang. Kosongkan ruang di "
        "disk folder data.",
    ),
)


def index_items(found: Condition, path: str, now_us: int) -> Iterator[HealthItem]:
    """path: of the index."""
    if found.state == "failing":
        advice = _FAILING.filled(detail=found.detail, path=path)
        evidence: dict[str, object] = {"detail": found.detail}
        yield item("index-failing", CRITICAL, "index", advice, since_us=found.since_us, evidence=evidence)
    elif found.due is not None:
        progress = "?" if found.total is None else f"{found.done}/{found.total}"
        advice = _REBUILDING[found.due.cause].filled(progress=progress, aside=found.due.aside or "-")
        evidence = {
            "cause": found.due.cause,
            "detail": found.due.detail,
            "aside": found.due.aside,
            "from_backup": found.due.from_backup,
            "done": found.done,
            "total": found.total,
        }
        yield item(
            "index-rebuilding", WARNING, "index", advice, since_us=found.due.since_us, evidence=evidence
        )
    if found.problems:
        advice = _UNREAD.filled(count=found.problems)
        yield item("files-not-indexed", WARNING, "index", advice, evidence={"files": found.problems})
    is_old = found.backup_us is None or now_us - found.backup_us > _OLD_BACKUP_US
    if found.backup_skipped is not None and is_old:
        advice = _NO_BACKUP.filled(reason=found.backup_skipped)
        evidence = {
            "reason": found.backup_skipped,
            "last": None if found.backup_us is None else format_time(found.backup_us),
        }
        yield item("index-not-backed-up", WARNING, "index", advice, evidence=evidence)
