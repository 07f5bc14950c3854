from __future__ import annotations

import os
from pathlib import Path

import pytest

from simpang.config.boot import LAST_GOOD, Boot, boot, keep_last_good
from simpang.config.faults import ConfigFaults
from simpang.config.load import parse
from simpang.config.secrets import SecretFault, Secrets, secret_faults, secret_folders

GOOD = """
[site]
id = "digulis"
time_zone = "Asia/Pontianak"
[credentials]
user = "simpang"
password_file = "cameras"
"""
FAULTY = GOOD.replace("time_zone", "timezone")


def start(file: Path, data: Path) -> Boot:
    booted = boot(file, data)
    data.mkdir(exist_ok=True)
    keep_last_good(booted)
    return booted


def test_faulty_file_runs_the_last_good_one_and_says_so(tmp_path: Path) -> None:
    file, data = tmp_path / "site.toml", tmp_path / "data"
    file.write_text(GOOD)
    start(file, data)
    file.write_text(FAULTY)

    booted = start(file, data)

    assert booted.config.site.id == "digulis"
    assert {fault.key for fault in booted.faults} == {"site.timezone", "site.time_zone"}
    assert all(fault.file == str(file) for fault in booted.faults)
    assert (data / LAST_GOOD).read_text() == GOOD


def test_file_that_is_gone_or_garbage_still_boots(tmp_path: Path) -> None:
    file, data = tmp_path / "site.toml", tmp_path / "data"
    file.write_text(GOOD)
    start(file, data)

    for spoil in (lambda: file.unlink(), lambda: file.write_bytes(b"\x00\xff" * 100)):
        spoil()
        booted = boot(file, data)
        assert booted.config.site.id == "digulis"
        assert booted.faults


def test_data_folder_is_found_even_in_a_faulty_file(tmp_path: Path) -> None:
    file, data = tmp_path / "site.toml", tmp_path / "elsewhere"
    text = GOOD + f'[buffer]\npath = "{data}"\n'
    file.write_text(text)
    data.mkdir()
    keep_last_good(boot(file, None))
    file.write_text(text.replace("time_zone", "timezone"))

    booted = boot(file, None)

    assert booted.data == data
    assert booted.faults


def test_first_start_with_a_faulty_file_is_refused_with_its_faults(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(FAULTY)

    with pytest.raises(ConfigFaults) as caught:
        boot(file, tmp_path / "data")

    assert caught.value.faults[0].file == str(file)


def test_secret_is_found_in_the_order_that_is_documented(tmp_path: Path) -> None:
    data, site, systemd = tmp_path / "data", tmp_path / "site", tmp_path / "systemd"
    for folder, text in ((site / "secrets", "third\n"), (data / "secrets", "second"), (systemd, "first")):
        folder.mkdir(parents=True)
        (folder / "cameras").write_text(text)
        (folder / "cameras").chmod(0o600)
    read: list[str] = []
    folders = secret_folders(data, site / "simpang.toml")

    assert Secrets(folders, credentials=systemd, on_read=read.append).read("cameras") == "first"
    assert Secrets(folders, credentials=None, on_read=read.append).read("cameras") == "second"
    (data / "secrets" / "cameras").unlink()
    assert Secrets(folders, credentials=None, on_read=read.append).read("cameras") == "third"
    assert read == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "there is no secret"),
        (lambda path: (path.write_text("x"), path.chmod(0o640)), "chmod 600"),
        (lambda path: (path.write_text("x"), path.chmod(0o604)), "mode 0604"),
        (lambda path: (path.write_text(""), path.chmod(0o600)), "is empty"),
        (lambda path: (path.write_bytes(b"\xff"), path.chmod(0o600)), "not UTF-8"),
        (lambda path: (path.write_bytes(b"x" * 70_000), path.chmod(0o600)), "larger than"),
        (lambda path: path.mkdir(), "cannot be read|is not a file"),
        (lambda path: os.mkfifo(path, 0o600), "is not a file"),
    ],
)
def test_secret_that_cannot_be_used_says_why_and_what_to_do(tmp_path: Path, make: object, words: str) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    assert callable(make)
    make(folder / "cameras")
    secrets = Secrets((folder,), credentials=None, on_read=lambda secret: None)

    with pytest.raises(SecretFault, match=words) as caught:
        secrets.read("cameras")

    assert caught.value.try_this
    file = tmp_path / "site.toml"
    (fault,) = secret_faults(parse(GOOD, file), GOOD, file, secrets)
    assert (fault.line, fault.key) == (7, "credentials.password_file")
