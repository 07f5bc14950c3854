"""Health items of what cameras send: recorded all the same, but worth a setting in the camera."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from simpang.health import WARNING, HealthItem, item
from simpang.roster.view import Camera
from simpang.words import Advice, Words

_SPARSE = Advice(
    Words(
        "{name} ({stream}) sends key frames {seconds} s apart: a clip or a still can begin only there.",
        "{name} ({stream}) mengirim key frame berjarak {seconds} detik: klip atau gambar hanya dapat dimulai "
        "di sana.",
    ),
    Words(
        "It is recorded. In the camera, set the key frame interval (GOP, I-frame interval) to 2 s and switch "
        "off H.264+, H.265+, Smart Codec or Zipstream's dynamic GOP.",
        "Tetap direkam. Di kamera, atur jarak key frame (GOP, I-frame interval) menjadi 2 detik, dan matikan "
        "H.264+, H.265+, Smart Codec, atau dynamic GOP pada Zipstream.",
    ),
)
_SILENT = Advice(
    Words(
        "Sound was asked for, but {name} ({stream}) sends what cannot be recorded: {what}.",
        "Suara diminta, tetapi {name} ({stream}) mengirim yang tidak dapat direkam: {what}.",
    ),
    Words(
        "Its pictures are recorded. In the camera, set the sound to AAC or G.711; or set audio = false here.",
        "Gambarnya direkam. Di kamera, atur suara ke AAC atau G.711; atau atur audio = false di sini.",
    ),
)


def stream_items(cameras: Iterable[Camera]) -> Iterator[HealthItem]:
    for camera in cameras:
        for stream in camera.streams:
            contents, subject = stream.contents, f"camera/{camera.id}"
            named = {"name": camera.name, "stream": stream.name}
            if contents.key_frames_s is not None:
                seconds = round(contents.key_frames_s)
                yield item(
                    "key-frames-far-apart", WARNING, subject, _SPARSE.filled(seconds=seconds, **named),
                    evidence={"stream": stream.name, "seconds": seconds},
                )  # fmt: skip
            if contents.audio.endswith("not recorded"):
                yield item(
                    "sound-not-recorded", WARNING, subject, _SILENT.filled(what=contents.audio, **named),
                    evidence={"stream": stream.name, "audio": contents.audio},
                )  # fmt: skip
