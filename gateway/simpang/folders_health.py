"""Health items of the media folders: missing, another site's, failing, full, or none at all to write to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from simpang.health import CRITICAL, WARNING, HealthItem, item
from simpang.words import Advice, Words
from simpang_buffer.index.folder_choice import Folder, FolderState
from simpang_buffer.index.moving import Move

_NOWHERE = Advice(
    Words(
        "Nothing can be recorded: none of the media folders can be written to ({paths}).",
        "Tidak ada yang bisa direkam: tidak satu pun folder media bisa ditulis ({paths}).",
    ),
    Words(
        "Mount or replace a disk. Recording goes on within seconds of one being there.",
        "Pasang atau ganti disk. Perekaman berlanjut dalam hitungan detik setelah ada disk.",
    ),
)
_MISSING = Advice(
    Words(
        "The media folder {path} is missing: {words}. Its footage cannot be shown until it is back.",
        "Folder media {path} tidak ada: {words}. Rekamannya tidak bisa ditampilkan sampai folder itu "
        "kembali.",
    ),
    Words(
        "Recording goes on in the other folders. Check the disk's cable and power, and mount it again; if it "
        "is gone for good, take its folder out of simpang.toml.",
        "Perekaman berlanjut di folder lain. Periksa kabel dan listrik disk, lalu pasang kembali; jika "
        "hilang selamanya, hapus foldernya dari simpang.toml.",
    ),
)
_FOREIGN = Advice(
    Words(
        "The media folder {path} is not this site's: {words}.",
        "Folder media {path} bukan milik lokasi ini: {words}.",
    ),
    Words(
        "Nothing is written or deleted there. Put the right disk in; to take this one's footage in, delete "
        "its simpang-folder file.",
        "Tidak ada yang ditulis atau dihapus di sana. Pasang disk yang benar; untuk mengambil rekamannya, "
        "hapus berkas simpang-folder di disk itu.",
    ),
)
_FAILING = Advice(
    Words(
        "The disk of the media folder {path} fails: {words}.",
        "Disk folder media {path} bermasalah: {words}.",
    ),
    Words(
        "Recording uses it only where no other is left. Look at the disk's health, move its footage away "
        "(`simpang buffer move`) and replace it.",
        "Perekaman memakainya hanya jika tidak ada yang lain. Periksa kesehatan disk, pindahkan rekamannya "
        "(`simpang buffer move`), lalu gantilah.",
    ),
)
_FULL = Advice(
    Words(
        "Nothing can be written to the media folder {path}: {words}.",
        "Folder media {path} tidak bisa ditulis: {words}.",
    ),
    Words(
        "Move other files off that disk, release holds, or lower its max_bytes.",
        "Pindahkan berkas lain dari disk itu, lepas penahanan, atau turunkan max_bytes-nya.",
    ),
)
_STAND_IN = Advice(
    Words(
        "The disk that holds the buffer was not mounted at {mount} when the gateway started. It records to "
        "another disk, with a copy of its data in {data}.",
        "Disk penyimpanan rekaman tidak terpasang di {mount} saat gateway dinyalakan. Perekaman memakai disk "
        "lain, dengan salinan data di {data}.",
    ),
    Words(
        "Mount the disk and restart the gateway; what was recorded meanwhile is taken in then. Holds and "
        "settings made until then stay behind: write them down.",
        "Pasang disk itu lalu nyalakan ulang gateway; rekaman selama ini akan diambil. Penahanan dan setelan "
        "yang dibuat sementara tidak ikut terbawa: catatlah.",
    ),
)
_MOVE_WAITS = Advice(
    Words("Moving footage waits: {words}.", "Pemindahan rekaman menunggu: {words}."),
    Words(
        "It goes on by itself. `simpang buffer move --stop` ends it.",
        "Akan berlanjut sendiri. `simpang buffer move --stop` mengakhirinya.",
    ),
)
_ADVICE = {
    FolderState.MISSING: ("folder-missing", CRITICAL, _MISSING),
    FolderState.FOREIGN: ("folder-foreign", WARNING, _FOREIGN),
    FolderState.FAILING: ("folder-failing", CRITICAL, _FAILING),
    FolderState.FULL: ("folder-full", WARNING, _FULL),
}


def folder_items(
    folders: Sequence[Folder], move: Move | None, missing: Path | None = None, data: Path | None = None
) -> Iterator[HealthItem]:
    """missing: the mount point of the data folder, where `data` stands in for it."""
    if missing is not None:
        advice = _STAND_IN.filled(mount=missing, data=data)
        evidence = {"mount": str(missing), "data": str(data)}
        yield item("data-disk-missing", CRITICAL, "disk", advice, evidence=evidence)
    nowhere = bool(folders) and not any(one.writable for one in folders)
    if nowhere:
        paths = ", ".join(str(one.path) for one in folders)
        advice = _NOWHERE.filled(paths=paths)
        yield item(
            "no-media-folder", CRITICAL, "disk", advice, evidence={"folders": [str(f.path) for f in folders]}
        )
    for one in folders:
        if one.state not in _ADVICE:
            continue
        code, severity, advice = _ADVICE[one.state]
        found: dict[str, object] = {"path": str(one.path), "detail": one.words, "id": one.id or None}
        if one.space is not None:
            found["free_bytes"] = one.space.free_bytes
        yield item(
            code,
            severity,
            f"folder/{one.path}",
            advice.filled(path=one.path, words=one.words.rstrip(".")),
            since_us=one.since_us,
            evidence=found,
        )
    if move is not None and move.state == "waiting":
        advice = _MOVE_WAITS.filled(words=move.words.rstrip("."))
        left = {"from": move.source, "to": move.target, "left_bytes": move.left_bytes}
        yield item("move-waits", WARNING, "disk", advice, since_us=move.started_us, evidence=left)
