"""What was put right of a camera's stream, in Indonesian beside the buffer's English (`repairs.WORDS`)."""

from __future__ import annotations

from simpang.words import Words
from simpang_buffer.recording.repairs import repair_words as in_english

INDONESIAN = {
    "audio_refused": "kamera menolak mengirim suara; direkam tanpa suara",
    "camera_requests": "kamera mengirim permintaan sendiri, yang dijawab (7.13)",
    "changed_session_ids": "kamera mengganti nomor sesinya; yang pertama dipakai terus (7.3)",
    "dropped_tracks": "jalur yang tidak bisa direkam ditinggalkan (7.14)",
    "early_packets": "paket yang datang sebelum kamera setuju memutar dibuang (7.8)",
    "far_packets": "paket dengan nomor urut yang jauh meleset dibuang",
    "foreign_channels": "paket di saluran yang tidak disepakati dibuang (7.8)",
    "foreign_payloads": "paket dari jenis lain daripada yang disepakati dibuang (7.8)",
    "foreign_reports": "laporan jam dari sumber lain dilewati (10.1)",
    "foreign_senders": "paket dari alamat selain alamat kamera dibuang",
    "foreign_sources": "paket dari sesi lain dibuang (7.9)",
    "junk_bytes": "byte yang bukan bagian apa pun dilewati (7.11)",
    "late_packets": "paket datang dua kali atau terlambat untuk dipakai",
    "late_sends": "kamera lambat membaca yang dikirim kepadanya",
    "lost_packets": "paket hilang di jalan; gambar rusak sampai gambar kunci berikutnya (7.12)",
    "new_sources": "kamera memulai sumber paket baru, yang diikuti (7.10)",
    "other_channels": "kamera menyebut saluran lain daripada yang diminta, dan itu yang dipakai (7.7)",
    "other_transport": "kamera menolak cara kirim yang diminta; yang lain dipakai (7.16)",
    "redirects": "kamera mengalihkan ke alamat lain miliknya sendiri (7.15)",
    "refused_keepalives": "kamera menolak tanda hidup; permintaan lain dicoba (7.1)",
    "refused_url_forms": "kamera menolak satu bentuk alamatnya sendiri; yang lain dicoba (7.5)",
    "repaired_base_urls": "alamat aliran yang disebut kamera diperbaiki (7.4)",
    "repaired_descriptions": "keterangan aliran dari kamera tidak lengkap dan tetap terbaca (7.14)",
    "resyncs": "tempat di dalam aliran hilang dan ditemukan lagi (7.11)",
    "sequence_restarts": "penghitung paket kamera mulai dari awal (7.12)",
    "short_packets": "paket yang terlalu pendek dibuang",
    "signed_again": "kamera meminta masuk lagi di tengah sesi dan dilayani (3.7)",
    "stray_line_breaks": "ganti baris yang tersesat di antara paket dilewati (7.11)",
    "torn_frames": "paket yang tertulis separuh dibuang (7.11)",
    "udp_errors": "jaringan menolak paket",
    "unanswered_keepalives": "kamera tidak menjawab tanda hidup; permintaan lain dicoba (7.1)",
}


def repair_words(kind: str) -> Words:
    english = in_english(kind)
    return Words(english, INDONESIAN.get(kind, english))
