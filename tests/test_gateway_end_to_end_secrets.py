"""No secret leaves the installed product, whatever happens: canaries in every place where a secret can be."""

from __future__ import annotations

import base64
import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psutil
import pytest

from canaries import Canaries, where
from nasty_onvif import NastyCamera, serving, stream_uri
from peer_gst import gst_camera
from product import SIMPANG, Product, camera, now_us, page, product, rfc3339, toml, until
from scripted_camera import Talk, scripted_camera
from simpang_buffer.rtsp.message import Request
from stage import stage

pytest_plugins = ("own_network",)
pytestmark = pytest.mark.usefixtures("own_network")

# Every character that some syntax reserves; its last letters tell which one it is.
RESERVED = "p@S:w/0?%#&<>\"'Ü+ "
USER = "juru"
CENTRAL = """
[[central]]
id = "pontive"
party = "pemkot"
[central.store]
endpoint = "{endpoint}"
bucket = "cctv"
access_key_file = "s3-access"
secret_key_file = "s3-secret"
"""


def test_no_secret_is_in_any_log_answer_database_or_process_list(tmp_path: Path) -> None:
    canaries = Canaries()
    names = ("url", "sub", "refused", "basic", "gone", "onvif", "onvif-refused", "site", "probe")
    passwords = {name: canaries.add(name, f"{RESERVED}{name}-Kn4r1", [USER, "admin"]) for name in names}
    access = canaries.add("access key", "AKIACANARY/+=KN4R1")
    secret = canaries.add("secret key", "wJalrXUtn/K7+bPxRfi=CANARY")
    places: dict[str, bytes] = {}

    with (
        product(tmp_path, ["--log-level", "debug"]) as gateway,
        stage() as there,
        refusing_store() as endpoint,
    ):
        good = there.enter(
            gst_camera("h264", user=USER, password=passwords["url"], host="127.0.3.1", fps=15, gop=15)
        )
        wrong = there.enter(scripted_camera(DESCRIBE=refuse))
        echo = there.enter(scripted_camera(DESCRIBE=say_it_again))
        device = NastyCamera(host="127.0.3.2", user="admin", password=passwords["onvif"])
        inside = f"rtsp://admin:{quote(passwords['onvif'], safe='')}@127.0.3.2:{wrong.port}/live"
        device.bodies["GetStreamUri"] = stream_uri(inside)
        there.enter(serving(device))
        closed = NastyCamera(host="127.0.3.3", password="another")
        there.enter(serving(closed))
        by_file = {
            "refused": f'url = "rtsp://127.0.0.1:{wrong.port}/live"\nuser = "{USER}"',
            "basic": f'url = "rtsp://127.0.0.1:{echo.port}/live"\nallow_basic = true\nuser = "{USER}"',
            "onvif": f'address = "{device.address}"\nuser = "admin"',
            "onvif-refused": f'address = "{closed.address}"\nuser = "{USER}"',
        }
        gateway.configure(
            toml(
                f'[credentials]\nuser = "{USER}"\npassword_file = "site"\n'
                + camera("url", with_userinfo(good.url, passwords["url"]), record='"main", "sub"',
                         more=f'sub_url = "{with_userinfo("rtsp://127.0.0.1:9/sub", passwords["sub"])}"')
                + camera("gone", with_userinfo("rtsp://127.0.0.1:9/live", passwords["gone"]))
                + camera("name", with_userinfo("rtsp://kamera.invalid/live", passwords["gone"]))
                + "".join(
                    camera(name, more=f'{told}\npassword_file = "{name}"') for name, told in by_file.items()
                )
                + CENTRAL.format(endpoint=endpoint)
            ),
            {"site": passwords["site"], "s3-access": access, "s3-secret": secret}
            | {name: passwords[name] for name in by_file},
        )  # fmt: skip
        gateway.start()

        tokens = drive(gateway, canaries, places, device.address, passwords["probe"])
        places["process list"] = process_list(gateway)
        status, _ = gateway.stop()
        assert status == 0
        # Once more in the other form, so that what is remembered is used as well.
        gateway.options = [*gateway.options, "--log-format", "json"]
        gateway.start()
        gateway.wait_footage("url", 2)
        until(lambda: all_told(gateway), 30, lambda: f"no reason: {gateway.cameras()}")
        gateway.running.kill()
        gateway.running.wait()

    places["log"] = gateway.log.encode()
    # The link is said to whoever started it, and nothing else is.
    places["said"] = re.sub(r"^Page: .*$", "", gateway.said, flags=re.MULTILINE).encode()
    kept = [path for path in gateway.data.rglob("*") if path.is_file() and "secrets" not in path.parts]
    # The configuration is the installer's own words, and its copy.
    own = {gateway.config, gateway.data / "last-good.toml"}
    places |= {str(path.relative_to(gateway.data)): path.read_bytes() for path in kept if path not in own}
    assert {"state.db", "index.db"} <= places.keys()
    assert any(place.endswith(".mp4") for place in places)
    # What is looked for is really looked for: where it has to be, it is found.
    assert any("url" in name for name in canaries.found(gateway.config.read_bytes()))
    assert canaries.found(tokens.encode())
    assert b" DEBUG " in places["log"]
    assert b'"level": "warning"' in places["log"]
    assert where(canaries, places) == {}


def drive(gateway: Product, canaries: Canaries, places: dict[str, bytes], device: str, password: str) -> str:
    """Success and failure of everything that handles a secret. Returns the tokens and cookies it used."""
    used = []
    link = urlsplit(gateway.link())
    canaries.add("first token", link.query.partition("=")[2])
    opened = page("GET", f"{link.path}?{link.query}")
    cookie = opened.headers["set-cookie"].partition(";")[0]
    canaries.add("session", cookie.partition("=")[2])
    places["opened page"] = opened.body + page("GET", "/", {"Cookie": cookie}).body
    unused = gateway.cli("link")
    canaries.add("second token", unused.stdout.strip().partition("token=")[2])
    used += [link.query, cookie, unused.stdout]
    places["used link"] = page("GET", f"{link.path}?{link.query}").body
    places["foreign cookie"] = page("GET", "/api/v1/cameras", {"Cookie": f"{cookie}x"}).body

    gateway.wait_footage("url", 4)
    until(lambda: all_told(gateway), 30, lambda: f"no reason: {gateway.cameras()}")
    now = now_us()
    asked = {"camera": "url", "central": "pontive", "start": rfc3339(now - 3_000_000), "end": rfc3339(now)}
    job = gateway.request("POST", "/api/v1/jobs", asked)
    assert job.status == 201, job.body
    places["job"] = job.body
    until(
        lambda: gateway.get(f"/api/v1/jobs/{job.json['id']}").json["waiting_for"] is not None
        or gateway.get(f"/api/v1/jobs/{job.json['id']}").json["reason"] is not None,
        20, lambda: f"the store's refusal is not told: {gateway.log[-2000:]}",
    )  # fmt: skip
    places |= answers(gateway, job.json["id"])
    for arguments in (
        ("status",), ("--json", "status"), ("camera", "list"), ("--json", "camera", "show", "basic"),
        ("config", "show", "--origin"), ("--json", "config", "show"), ("config", "check"),
        ("job", "show", job.json["id"]), ("central", "list"),
        ("central", "test", "pontive", "--data", str(gateway.data)),
        ("probe", device, "--user", "admin", "--password-stdin"),
    ):  # fmt: skip
        done = gateway.cli(*arguments, given=f"{password}\n")
        places[" ".join(arguments)] = (done.stdout + done.stderr).encode()
        assert "Traceback" not in done.stderr
    places["faulty configuration"] = faulty(gateway)
    return "\n".join(used)


def all_told(gateway: Product) -> bool:
    cameras = gateway.cameras()
    return all(cameras[name]["reason"] is not None for name in cameras if name != "url")


def answers(gateway: Product, job: str) -> dict[str, bytes]:
    """Every GET of the API's own description."""
    described = gateway.get("/api/v1/openapi.json")
    known = {
        "start": rfc3339(now_us() - 3_000_000),
        "end": rfc3339(now_us()),
        "at": rfc3339(now_us() - 3_000_000),
    }
    known["stream"] = "main"
    found = {}
    for path, methods in described.json["paths"].items():
        if "get" not in methods or path.endswith("/live"):
            continue
        id_ = job if "/jobs/" in path else "url"
        real = path.replace("{id}", id_).replace("{stream}", "main")
        parameters = methods["get"].get("parameters", [])
        query = {
            one["name"]: known[one["name"]]
            for one in parameters
            if one["name"] in known and one["in"] == "query"
        }
        answer = gateway.get(real, query)
        assert answer.status in (200, 503), (real, answer.status, answer.body[:300])
        found[f"GET {real}"] = repr(answer.headers).encode() + answer.body
    assert len(found) >= 15
    return found


def faulty(gateway: Product) -> bytes:
    """What is said of the configuration when its addresses with passwords are wrong."""
    file = gateway.data.parent / "faulty.toml"
    text = gateway.config.read_text()
    file.write_text(
        text.replace(":9/live", ":99999999/live").replace("rtsp://", "rtps://", 1) + "\nurl = 3\n"
    )
    done = gateway.cli("--config", str(file), "config", "check")
    assert done.returncode == 2
    started = Product(gateway.data.parent / "faulty")
    started.data.mkdir()
    started.launch([str(SIMPANG), "--config", str(file), "run", "--data", str(started.data)])
    assert started.running.wait(20) == 2
    return (done.stdout + done.stderr + started.log + started.said).encode()


def process_list(gateway: Product) -> bytes:
    found = []
    for process in gateway.family():
        try:
            found.append(" ".join([*process.cmdline(), *process.environ().values()]))
        except psutil.NoSuchProcess:
            continue
    assert len(found) >= 2
    return "\n".join(found).encode()


def with_userinfo(url: str, password: str) -> str:
    return url.replace("rtsp://", f"rtsp://{USER}:{quote(password, safe='')}@")


async def refuse(talk: Talk, request: Request) -> None:
    challenge = 'Digest realm="cam", nonce="0123456789abcdef", algorithm=MD5'
    await talk.reply(request, 401, ("WWW-Authenticate", challenge), reason="Unauthorized")


async def say_it_again(talk: Talk, request: Request) -> None:
    """Wants the password in clear, and then repeats it in its answer, decoded and not."""
    said = request.headers.get("authorization")
    if said is None:
        await talk.reply(request, 401, ("WWW-Authenticate", 'Basic realm="cam"'), reason="Unauthorized")
        return
    pair = said.partition(" ")[2]
    clear = base64.b64decode(pair).decode()
    await talk.reply(request, 404, reason=f"no stream for {pair} which is {clear}")


@contextmanager
def refusing_store() -> Iterator[str]:
    """An S3 store that knows none of the keys, and says so with the key, as Amazon's does."""

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            key = re.search(r"Credential=([^,]+?)/\d{8}/", self.headers.get("Authorization", ""))
            said = key[1] if key else ""
            body = (
                "<Error><Code>InvalidAccessKeyId</Code><Message>No such key: "
                f"{said}</Message><AWSAccessKeyId>{said}</AWSAccessKeyId></Error>"
            ).encode()
            self.send_response(403, f"Forbidden {said}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_PUT

        def log_message(self, *said: Any) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.3.4", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.3.4:{server.server_port}"
        server.shutdown()
        thread.join()
