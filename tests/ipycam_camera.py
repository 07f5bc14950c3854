"""Runs an ipycam camera; started by peer_ipycam.py in ipycam's own virtual environment, never imported.

ipycam is left as it is but for one thing: its Hello goes out through its own address, where the library
would use the default route and so leave this machine. Reads a JSON object from stdin (fields of ipycam's
CameraConfig), prints {"epr": ...} once it serves, ends when stdin closes.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading

import ipycam.camera
import numpy as np
from ipycam import CameraConfig, IPCamera, WSDiscoveryServer


class StaysHere(WSDiscoveryServer):
    def __init__(self, service) -> None:
        super().__init__(service)
        address = socket.inet_aton(service.config.local_ip)
        self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, address)


def end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


ipycam.camera.WSDiscoveryServer = StaysHere
config = CameraConfig(**json.loads(sys.stdin.readline()))
threading.Thread(target=end_with_parent, daemon=True).start()
camera = IPCamera(config)
if not camera.start() or camera.streaming_mode != "native_rtsp":
    sys.exit(f"ipycam serves no RTSP: {camera.streaming_mode}")
print(json.dumps({"epr": camera.onvif.device_uuid}), flush=True)
picture = np.zeros((config.main_height, config.main_width, 3), dtype=np.uint8)
column = 0
while camera.is_running:
    picture[:] = 40
    picture[:, column : column + 16] = (60, 180, 240)
    column = (column + 4) % config.main_width
    camera.stream(picture)  # paces itself by main_fps
