from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from simpang.config import faults
from simpang.config.faults import ConfigFaults, Fault
from simpang.config.lines import key_lines, line_of
from simpang.config.load import MAX_BYTES, load, parse
from simpang.config.model import Config
from simpang.config.values import Size

FILE = Path("site.toml")

SMALLEST = """
[site]
id = "digulis"
time_zone = "Asia/Pontianak"
[discovery]
adopt = "all"
[credentials]
user = "simpang"
password_file = "cameras"
"""

# The example of the contract, word for word.
FULL = """
[site]
id = "digulis"
name = "Bundaran Digulis"
time_zone = "Asia/Pontianak"

[buffer]
path = "/var/lib/simpang"
max_bytes = "90%"
min_free = "2 GB"
max_days = 30
flush_s = 2
segment_s = 60
hold_max_percent = 30

[web]
listen = ["0.0.0.0:8443"]
plain_listen = ["127.0.0.1:8080"]

[discovery]
enabled = true
adopt = "ask"
interfaces = []
every_s = 60

[credentials]
user = "simpang"
password_file = "cameras"

[[camera]]
id = "digulis-1"
name = "Utara"
address = "10.0.4.21"
record = ["main", "sub"]
audio = false
metadata = true
events = true
transport = "tcp"

[[central]]
id = "pontive"
party = "pemkot"
mqtt = "mqtts://broker.example:8883"
ca_file = "pontive-ca.pem"
client_cert_file = "site.pem"
client_key_file = "site.key"
[central.store]
endpoint = "https://s3.example"
bucket = "cctv"
prefix = ""
access_key_file = "s3-access"
secret_key_file = "s3-secret"

[uplink]
ceiling = "4 Mbit/s"
windows = ["mon-sun 22:00-05:00"]
month_cap = "50 GB"
billing_day = 1
metered = false
"""


def faults_of(text: str) -> list[Fault]:
    with pytest.raises(ConfigFaults) as caught:
        parse(text, FILE)
    return caught.value.faults


def test_smallest_useful_file_is_enough() -> None:
    config = parse(SMALLEST, FILE)

    assert (config.site.id, config.discovery.adopt, config.camera) == ("digulis", "all", ())
    assert config.buffer.max_bytes == Size(percent=90)


def test_every_key_of_the_contract_is_read() -> None:
    config = parse(FULL, FILE)

    assert config.buffer.min_free.of(10**12) == 2 * 10**9
    assert config.uplink.ceiling == 4_000_000
    assert [str(window) for window in config.uplink.windows] == ["mon,tue,wed,thu,fri,sat,sun 22:00-05:00"]
    assert config.uplink.month_cap == 50 * 10**9
    assert config.camera[0].title == "Utara"
    central = config.central_by_id("pontive")
    assert central is not None
    assert central.store is not None
    assert central.store.bucket == "cctv"
    assert str(config.web.plain_listen[0]) == "127.0.0.1:8080"


def test_five_mistakes_give_five_messages_with_line_key_and_nearest() -> None:
    text = """[site]
id = "Digulis Kota"
time_zone = "Asia/Pontianac"
[buffer]
max_byte = "90%"
flush_s = "2"
[discovery]
adopt = "al"
"""

    said = [str(fault) for fault in faults_of(text)]

    assert said == [
        "site.toml:2: site.id: 'Digulis Kota' is not an id (a-z, 0-9 and -, 1 to 32 of them); "
        'write "digulis-kota"',
        "site.toml:3: site.time_zone: 'Asia/Pontianac' is not a time zone; did you mean \"Asia/Pontianak\"?",
        'site.toml:5: buffer.max_byte: unknown key; did you mean "max_bytes"?',
        "site.toml:6: buffer.flush_s: '2' is not a number; write a number without quotes",
        "site.toml:8: discovery.adopt: 'al' is not one of the choices; did you mean \"all\"?",
    ]


def test_every_fault_says_what_to_try() -> None:
    text = """
site.id = 3
[web]
listen = "0.0.0.0:8443"
plain_listen = ["localhost:8080", "127.0.0.1:99999"]
[credentials]
password_file = "../etc/shadow"
[[camera]]
name = "Utara"
url = "http://10.0.4.21/"
transport = "quic"
record = []
[[camera]]
id = "b"
address = "10.0.4.22"
url = "rtsp://10.0.4.22/"
user = "x"
[[camera]]
id = "b"
sub_url = "rtsp://10.0.4.22/"
audio = "yes"
[[central]]
id = "c"
party = "p"
[central.store]
endpoint = "s3.example"
bucket = "cctv"
[uplink]
ceiling = "4 MB"
windows = ["sometimes"]
month_cap = "90%"
billing_day = 31
"""

    found = faults_of(text)

    keys = [fault.key for fault in found]
    for key in (
        "site.id",
        "site.time_zone",
        "web.listen",
        "web.plain_listen[1]",
        "web.plain_listen[2]",
        "credentials.user",
        "credentials.password_file",
        "camera[1].url",
        "camera[1].transport",
        "camera[1].record",
        "camera[2].url",
        "camera[2].user",
        "camera[3].id",
        "camera[3].sub_url",
        "camera[3].audio",
        "central[1].store.endpoint",
        "central[1].store.access_key_file",
        "uplink.ceiling",
        "uplink.windows[1]",
        "uplink.month_cap",
        "uplink.billing_day",
    ):
        assert key in keys, key
    assert all(fault.try_this and fault.what for fault in found)
    lines = text.splitlines()
    for fault in found:
        last = fault.key.rsplit(".", 1)[-1].split("[")[0]
        if fault.what != "is missing":
            assert last in lines[fault.line - 1], fault


def test_misspelt_address_is_one_fault_and_not_two() -> None:
    text = SMALLEST + '[[camera]]\nid = "a"\nadress = "10.0.4.21"\n'

    found = faults_of(text)

    assert [(fault.key, fault.try_this) for fault in found] == [
        ("camera[1].adress", 'did you mean "address"?')
    ]


def test_key_in_the_wrong_section_is_sent_to_its_own() -> None:
    text = SMALLEST + "[uplink]\nmax_days = 3\n"

    (fault,) = faults_of(text)

    assert fault.try_this == "it belongs under [buffer]"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[site]\nid = "a\n', 2),
        ("[site\n", 1),
        ("[site]\nid = 1\nid = 2\n", 3),
        ("[site]\nid = [1,\n", 2),
    ],
)
def test_what_is_no_toml_names_its_line(text: str, line: int) -> None:
    (fault,) = faults_of(text)

    assert "is not TOML" in fault.what
    assert abs(fault.line - line) <= 1


def test_file_that_cannot_be_read_says_which_and_why(tmp_path: Path) -> None:
    large, latin = tmp_path / "large.toml", tmp_path / "latin.toml"
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    latin.write_bytes(b'[site]\nname = "Caf\xe9"\n')

    for path, words in (
        (tmp_path / "none.toml", "does not exist"),
        (tmp_path, "cannot be read"),
        (large, "larger than"),
        (latin, "not UTF-8"),
    ):
        with pytest.raises(ConfigFaults) as caught:
            load(path)
        (fault,) = caught.value.faults
        assert fault.file == str(path)
        assert words in fault.what


def test_camera_without_an_id_gets_one_from_its_name_address_or_host() -> None:
    text = SMALLEST + (
        '[[camera]]\nname = "Simpang Utara!"\naddress = "10.0.4.21"\n'
        '[[camera]]\naddress = "10.0.4.22:8000"\n'
        '[[camera]]\nurl = "rtsp://u:geheim@10.0.4.23/x"\n'
    )

    ids = [camera.id for camera in parse(text, FILE).camera]

    assert ids == ["simpang-utara", "10-0-4-22-8000", "10-0-4-23"]


def test_password_in_an_address_never_shows_in_a_repr_or_fault() -> None:
    good = SMALLEST + '[[camera]]\nid = "a"\nurl = "rtsp://u:geheim99@10.0.4.23/x"\n'
    bad = SMALLEST + '[[camera]]\nid = "a"\nurl = "http://u:geheim99@10.0.4.23/x"\nadress = 3\n'

    assert "geheim99" not in repr(parse(good, FILE))
    assert "geheim99" not in " ".join(map(str, faults_of(bad)))


def test_certificates_of_cameras_are_named_as_tools_print_them() -> None:
    pinned = "AB:" * 31 + "AB"
    good = f'[[camera]]\nid = "a"\nurl = "rtsps://10.0.4.23/x"\ncertificate_sha256 = "{pinned}"\n'
    short = '[[camera]]\nid = "a"\nurl = "rtsps://10.0.4.23/x"\ncertificate_sha256 = "AB:CD"\n'
    udp = '[[camera]]\nid = "a"\nurl = "rtsps://10.0.4.23/x"\ntransport = "udp"\n'

    assert parse(SMALLEST + good, FILE).camera[0].certificate_sha256 == "ab" * 32
    assert [fault.key for fault in faults_of(SMALLEST + short)] == ["camera[1].certificate_sha256"]
    assert [(fault.key, fault.what) for fault in faults_of(SMALLEST + udp)] == [
        ("camera[1].transport", "an rtsps:// address goes over tcp only")
    ]


def test_every_setting_says_what_it_is_for() -> None:
    for section, model in faults._sections().items():
        for name, field in model.model_fields.items():
            inner = faults._models(field.annotation)
            told = field.description or inner or name in ("id", "bucket", "ca_file")
            assert told or name.startswith("client_"), f"{section}.{name}"


def test_all_models_are_frozen_and_strict() -> None:
    for model in faults._sections().values():
        assert issubclass(model, BaseModel)
        assert model.model_config["extra"] == "forbid"
        assert model.model_config["frozen"]
    assert Config in faults._sections().values()


def test_lines_are_found_through_arrays_strings_and_inline_tables() -> None:
    text = '''# a comment
top.dotted = 1
[site]  # here
id = "a"
long = """
[not.a.table]
id = "x"
"""
list = [
  1,
  2,
]
[[camera]]
address = "1"
[[camera]]
"address" = "2"
inner = { user = "a", more = { x = 1 } }
[camera.deep]
y = 1
[central]
[[central.store]]
z = 1
'''

    lines = key_lines(text)

    assert lines[("top", "dotted")] == 2
    assert lines[("site",)] == 3
    assert lines[("site", "id")] == 4
    assert lines[("site", "long")] == 5
    assert lines[("site", "list")] == 9
    assert lines[("camera", 0, "address")] == 14
    assert lines[("camera", 1, "address")] == 16
    assert lines[("camera", 1, "inner", "more", "x")] == 17
    assert lines[("camera", 1, "deep", "y")] == 19
    assert lines[("central", "store", 0, "z")] == 22
    assert line_of(lines, ("camera", 1, "missing")) == 15
    assert line_of(lines, ("nowhere",)) == 1


@given(st.text(alphabet="[]{}=\"'\n.#ab1, \\", max_size=60))
def test_any_valid_toml_has_lines_for_its_keys(text: str) -> None:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = key_lines(text)
    for key in raw:
        assert 1 <= line_of(lines, (key,)) <= text.count("\n") + 1
        assert any(location[0] == key for location in lines)


@pytest.mark.parametrize(
    "written",
    [
        '[credentials]\nuser = "simpang"\npassword_file = "geheim is het!"',
        '[[camera]]\nid = "a"\naddress = "admin:geheim@10.0.4.21"',
        '[[camera]]\nid = "a"\nurl = "http://admin:geheim@10.0.4.21/"',
        '[[central]]\nid = "p"\nparty = "q"\nmqtt = "mqtts://admin:geheim@broker"',
        '[[central]]\nid = "p"\nparty = "q"\n[central.store]\nendpoint = "https://k:geheim@s3"\n'
        'bucket = "cctv"\naccess_key_file = "a"\nsecret_key_file = "b"',
    ],
)
def test_password_in_the_wrong_place_is_in_no_fault(written: str) -> None:
    # Faults stand on the page and in the log.
    before = SMALLEST.partition("[credentials]")[0] if "[credentials]" in written else SMALLEST
    (found,) = faults_of(f"{before}\n{written}")

    assert "geheim" not in str(found)


@pytest.mark.parametrize("endpoint", ["https://s3.example:99999", "https://s3.example:0", "https://s3?x"])
def test_store_that_no_port_leads_to_is_a_fault(endpoint: str) -> None:
    (found,) = faults_of(FULL.replace("https://s3.example", endpoint))

    assert found.key == "central[1].store.endpoint"


def test_ceiling_at_which_nothing_would_ever_arrive_is_a_fault() -> None:
    (found,) = faults_of(FULL.replace("4 Mbit/s", "1 kbit/s"))

    assert (found.key, found.try_this) == ("uplink.ceiling", 'write "64 kbit/s" or more')
