"""What is wrong and what a person can do, in plain English and Indonesian."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    en: str
    id: str

    def filled(self, **values: object) -> Words:
        """With `{name}` replaced in both languages."""
        return Words(self.en.format_map(values), self.id.format_map(values))


@dataclass(frozen=True, slots=True)
class Advice:
    cause: Words
    remedy: Words

    def filled(self, **values: object) -> Advice:
        return Advice(self.cause.filled(**values), self.remedy.filled(**values))


# Why a camera is not recorded: the camera reasons, the disk's gap reasons, and `secret`.
CAMERA = {
    "unreachable": Advice(
        Words("{name} does not answer at {address}.", "{name} tidak menjawab di {address}."),
        Words(
            "Check its power, its cable and whether its address has changed.",
            "Periksa listrik, kabel, dan apakah alamatnya berubah.",
        ),
    ),
    "timeout": Advice(
        Words("{name} accepts a connection and then stays silent.", "{name} menerima koneksi lalu diam."),
        Words(
            "Restart the camera. If it stays silent, see whether too many programs read from it.",
            "Nyalakan ulang kamera. Jika tetap diam, periksa apakah terlalu banyak program membacanya.",
        ),
    ),
    "auth": Advice(
        Words("{name} refuses the user or password.", "{name} menolak nama pengguna atau kata sandi."),
        Words(
            "Set the user and password of its ONVIF account. It is tried at most three times an hour, "
            "so that the camera does not lock it.",
            "Isi nama pengguna dan kata sandi akun ONVIF kamera. Dicoba paling banyak tiga kali sejam "
            "agar kamera tidak menguncinya.",
        ),
    ),
    "locked": Advice(
        Words(
            "{name} has locked the account after wrong passwords.",
            "{name} mengunci akun setelah sandi salah.",
        ),
        Words(
            "Wait about half an hour or restart the camera, then set the right password.",
            "Tunggu sekitar setengah jam atau nyalakan ulang kamera, lalu isi sandi yang benar.",
        ),
    ),
    "clock": Advice(
        Words("The clock of {name} is too wrong to sign in.", "Jam {name} terlalu meleset untuk masuk."),
        Words("Set the camera's date and time.", "Atur tanggal dan jam kamera."),
    ),
    "not-onvif": Advice(
        Words("What answers at {address} does not speak ONVIF.", "Yang menjawab di {address} bukan ONVIF."),
        Words(
            "Switch ONVIF on in the camera's own page, give its ONVIF port, or give its rtsp:// address.",
            "Aktifkan ONVIF di halaman kamera, isi port ONVIF-nya, atau isi alamat rtsp://.",
        ),
    ),
    "unsupported": Advice(
        Words(
            "{name} offers no video that can be recorded.", "{name} tidak menawarkan video yang bisa direkam."
        ),
        Words(
            "Set its video to H.264 or H.265, or update its firmware.",
            "Setel videonya ke H.264 atau H.265, atau perbarui firmware.",
        ),
    ),
    "malformed": Advice(
        Words("What {name} answers cannot be read.", "Jawaban {name} tidak dapat dibaca."),
        Words(
            "Update its firmware, or give its rtsp:// address.", "Perbarui firmware, atau isi alamat rtsp://."
        ),
    ),
    "limit": Advice(
        Words("{name} is read by as many programs as it allows.", "{name} sudah dibaca sebanyak batasnya."),
        Words(
            "Close other programs that show this camera.", "Tutup program lain yang menampilkan kamera ini."
        ),
    ),
    "moved": Advice(
        Words("{name} is no longer at {address}.", "{name} tidak lagi di {address}."),
        Words("Look for its new address under Discovery.", "Cari alamat barunya di Penemuan."),
    ),
    "refused-by-policy": Advice(
        Words(
            "{name} names an address that is not its own, or shows a certificate that is not known.",
            "{name} menyebut alamat yang bukan miliknya, atau sertifikatnya tidak dikenal.",
        ),
        Words(
            "An address: correct it in the camera's network settings, it is never followed elsewhere. A "
            "certificate: if the camera was replaced or reset, run `simpang camera trust ID`.",
            "Alamat: perbaiki di pengaturan jaringan kamera, alamat lain tidak pernah diikuti. Sertifikat: "
            "jika kamera diganti atau disetel ulang, jalankan `simpang camera trust ID`.",
        ),
    ),
    "disk-full": Advice(
        Words("There was no space to record {name}.", "Tidak ada ruang untuk merekam {name}."),
        Words("Free space on the disk.", "Kosongkan ruang di disk."),
    ),
    "disk-error": Advice(
        Words("The disk failed while {name} was recorded.", "Disk gagal saat merekam {name}."),
        Words("Look at the disk's health and replace it.", "Periksa kesehatan disk dan gantilah."),
    ),
    "secret": Advice(
        Words("The password of {name} cannot be read.", "Kata sandi {name} tidak dapat dibaca."),
        Words("See the item about the configuration's secrets.", "Lihat butir tentang rahasia konfigurasi."),
    ),
}

NO_CAMERAS = Advice(
    Words(
        "No camera is recorded. Looked on: {where}. Devices that answered: {found}.",
        "Tidak ada kamera yang direkam. Dicari di: {where}. Perangkat yang menjawab: {found}.",
    ),
    Words(
        "Check that the cameras have power and hang on this network, or name them in simpang.toml. "
        'Found but not recorded? Set adopt = "all" under [discovery], or list them as [[camera]].',
        "Periksa listrik kamera dan jaringannya, atau tulis di simpang.toml. Ditemukan tetapi tidak "
        'direkam? Setel adopt = "all" di [discovery], atau daftarkan sebagai [[camera]].',
    ),
)

DISK_LOW = Advice(
    Words("Only {free} are free on the disk of {path}.", "Hanya {free} tersisa di disk {path}."),
    Words(
        "Move other files off that disk, or lower max_bytes under [buffer].",
        "Pindahkan berkas lain dari disk itu, atau turunkan max_bytes di [buffer].",
    ),
)

CONFIG_FAULTY = Advice(
    Words(
        "{file} has {count} faults; the last good configuration runs.",
        "{file} memiliki {count} kesalahan; konfigurasi baik terakhir yang berjalan.",
    ),
    Words(
        "Correct it (simpang config check names every fault), then restart simpang.",
        "Perbaiki (simpang config check menyebut tiap kesalahan), lalu mulai ulang simpang.",
    ),
)

SECRET_UNUSABLE = Advice(
    Words("A secret cannot be used: {what}.", "Sebuah rahasia tidak dapat dipakai: {what}."),
    Words("{try_this}; then restart simpang.", "{try_this}; lalu mulai ulang simpang."),
)

PART_FAILING = Advice(
    Words("{part} keeps failing: {last}.", "{part} terus gagal: {last}."),
    Words(
        "Recording goes on. If this stays, restart simpang and send its log to whoever supports you.",
        "Perekaman tetap berjalan. Jika berlanjut, mulai ulang simpang dan kirim log-nya ke pendukung Anda.",
    ),
)

TOO_MANY_CAMERAS = Advice(
    Words(
        "{count} devices that answered are not recorded: this gateway adopts up to {most} cameras.",
        "{count} perangkat yang menjawab tidak direkam: gateway ini mengambil paling banyak {most} kamera.",
    ),
    Words(
        "List the cameras that are to be recorded as [[camera]] in simpang.toml, and those that are not with "
        'enabled = false; or set adopt = "ask" under [discovery]. Devices that nobody put there? Look who '
        "else is on the camera network.",
        "Daftarkan kamera yang harus direkam sebagai [[camera]] di simpang.toml, dan yang tidak dengan "
        'enabled = false; atau setel adopt = "ask" di [discovery]. Ada perangkat yang tidak dikenal? Periksa '
        "siapa lagi di jaringan kamera.",
    ),
)

DEVICE_UNUSABLE = Advice(
    Words(
        "A device at {address} cannot be used: {detail}.",
        "Perangkat di {address} tidak bisa dipakai: {detail}.",
    ),
    Words(
        "Give it an address in this network with its maker's tool.",
        "Beri alamat di jaringan ini dengan alat pembuatnya.",
    ),
)
