"""/metrics in the Prometheus text format (version 0.0.4), from the same views as the API."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from aiohttp import web

from simpang.jobs.model import JobState
from simpang.web.context import gateway_of, now_us
from simpang.web.live import SOCKETS


@dataclass(frozen=True, slots=True)
class _Metric:
    name: str
    kind: str
    words: str
    samples: list[tuple[dict[str, str], float]] = field(default_factory=list)


async def get_metrics(request: web.Request) -> web.Response:
    gateway = gateway_of(request)
    now = now_us()
    up = _Metric("simpang_uptime_seconds", "gauge", "Seconds since the gateway started")
    up.samples.append(({"version": gateway.version}, (now - gateway.started_us) / 1e6))
    recording = _Metric("simpang_camera_recording", "gauge", "1 while the camera is recorded")
    age = _Metric(
        "simpang_stream_fragment_age_seconds", "gauge", "Seconds since the last fragment was written"
    )
    size = _Metric("simpang_stream_bytes", "gauge", "Bytes of footage in the index")
    rate = _Metric("simpang_stream_bits_per_second", "gauge", "Measured bit rate")
    for camera in gateway.roster.cameras():
        recording.samples.append(({"camera": camera.id}, float(camera.state == "recording")))
        for stream in camera.streams:
            labels = {"camera": camera.id, "stream": stream.name}
            size.samples.append((labels, stream.bytes))
            if stream.bps is not None:
                rate.samples.append((labels, stream.bps))
            if stream.last_fragment_us is not None:
                age.samples.append((labels, max(0.0, (now - stream.last_fragment_us) / 1e6)))
    viewers = _Metric("simpang_live_viewers", "gauge", "Open live WebSockets")
    viewers.samples.append(({}, len(request.app[SOCKETS])))
    jobs = _Metric("simpang_jobs", "gauge", "Jobs by state")
    states = [job.state for job in await gateway.jobs.list()]
    jobs.samples.extend(({"state": state.value}, states.count(state)) for state in JobState)
    text = exposition((up, recording, age, size, rate, viewers, jobs))
    return web.Response(
        body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


def exposition(metrics: Iterable[_Metric]) -> str:
    lines: list[str] = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.words}", f"# TYPE {metric.name} {metric.kind}"]
        for labels, value in metric.samples:
            named = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            lines.append(
                f"{metric.name}{{{named}}} {_number(value)}" if named else f"{metric.name} {_number(value)}"
            )
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    # repr keeps every digit of a byte count, which :g would round to six.
    return repr(int(value)) if float(value).is_integer() else repr(value)
