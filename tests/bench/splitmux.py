"""GStreamer as recorder: `splitmux.py PORT N FOLDER` writes N cameras in one process, as files of a minute.

One pipeline with a splitmuxsink for each camera, fragmented MP4. Runs with the system's Python, which has
GStreamer.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402 - the version is asked for first


def main(port: int, count: int, folder: Path) -> None:
    Gst.init(None)
    parts = [
        f"rtspsrc location=rtsp://127.0.0.1:{port}/{number} protocols=tcp latency=0 ! "
        "rtph264depay ! h264parse ! "
        f"splitmuxsink location={folder}/g{number}-%03d.mp4 max-size-time=60000000000 "
        "muxer-factory=mp4mux muxer-properties=properties,fragment-duration=1000,streamable=true"
        for number in range(count)
    ]
    pipeline = Gst.parse_launch(" ".join(parts))
    pipeline.set_state(Gst.State.PLAYING)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
