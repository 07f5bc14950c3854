"""A camera that nobody here wrote: gst-rtsp-server. Run with Debian's own Python, which has its bindings.

    /usr/bin/python3 gst_camera.py '{"video": "h264", "audio": "aac", "fps": 25, ...}'

Prints one line of JSON, {"port": N}, once it serves; ends when its standard input closes.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import gi

gi.require_version("Gio", "2.0")
gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402 - versions are chosen before the import

VIDEO = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate={kbps} key-int-max={gop}"
    " bframes={bframes} ! video/x-h264,profile={profile} ! rtph264pay name=pay0 pt=96 config-interval=-1",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast bitrate={kbps} key-int-max={gop}"
    " option-string=pools=1:frame-threads=1:log-level=none ! h265parse"
    " ! rtph265pay name=pay0 pt=96 config-interval=-1",
    "jpeg": "jpegenc quality=70 ! rtpjpegpay name=pay0 pt=26",
    "jpeg422": "videoconvert ! video/x-raw,format=Y42B ! jpegenc ! rtpjpegpay name=pay0 pt=26",
}
AUDIO = {
    "none": "",
    "aac": " audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=16000,channels=1"
    " ! avenc_aac bitrate=32000 ! rtpmp4gpay name=pay1 pt=97",
    "pcma": " audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! alawenc"
    " ! rtppcmapay name=pay1 pt=8",
}


def launch_line(options: dict[str, Any]) -> str:
    video = VIDEO[options["video"]].format(
        kbps=options["kbps"],
        gop=options["gop"],
        bframes=options["bframes"],
        profile="main" if options["bframes"] else "baseline",
    )
    if options["bframes"]:
        video = video.replace("tune=zerolatency ", "rc-lookahead=5 sliced-threads=true ")
    size = f"width={options['width']},height={options['height']},framerate={options['fps']}/1"
    source = f"videotestsrc is-live=true pattern=ball num-buffers={options['frames']}"
    return f"( {source} ! video/x-raw,format=I420,{size} ! {video}{AUDIO[options['audio']]} )"


def guard(server: Any, factory: Any, user: str, password: str, certificate: str) -> None:
    """Digest sign-in where a user is given, TLS where a PEM file with certificate and key is."""
    auth = GstRtspServer.RTSPAuth()
    if certificate:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(certificate))
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    auth.set_realm("gst camera")
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if user:
        auth.add_digest(user, password, token)
    else:
        auth.set_default_token(token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("viewer", "media.factory.access", True)
    permissions.add_permission_for_role("viewer", "media.factory.construct", True)
    factory.set_permissions(permissions)


def main() -> None:
    options = json.loads(sys.argv[1])
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(options["host"])
    server.set_service("0")
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(launch_line(options))
    factory.set_shared(options["shared"])
    if options["user"] or options.get("certificate"):
        guard(server, factory, options["user"], options["password"], options.get("certificate", ""))
    server.get_mount_points().add_factory("/stream", factory)
    if server.attach(None) == 0:
        sys.exit("gst camera: no port")
    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IOCondition.HUP, lambda *_: loop.quit())
    print(json.dumps({"port": server.get_bound_port()}), flush=True)
    loop.run()


if __name__ == "__main__":
    main()
