"""`simpang buffer hold|release|holds|mark|forecast|deletions|delete`: what is kept, and what is gone."""

from __future__ import annotations

import argparse
import getpass
from typing import TYPE_CHECKING, Any

from simpang.cli.exits import CliError, Exit
from simpang.cli.verbs import Verbs, range_options, verb

if TYPE_CHECKING:
    from simpang.cli.client import Api

_KINDS = ("motion", "line", "area", "tamper", "video-loss", "input", "sound", "object", "other")
_DAYS_BACK = "-3650d"


def add(inner: Verbs, shared: argparse.ArgumentParser) -> None:
    """The verbs, under `buffer`."""
    parser = verb(
        inner,
        shared,
        "hold",
        hold,
        summary="keep footage whatever happens, until it is released",
        text="Also what will be recorded, where the end lies ahead. Holds that are not legal ones never take "
        "more than hold_max_percent of the space; exit code 4 if this one would.",
        examples="""
            simpang buffer hold --camera utara --start -2h --end now --reason "accident" --case LP-117
            simpang buffer hold --camera utara --start -1d --end now --reason "court order" --legal
        """,
    )
    parser.add_argument("--camera", metavar="ID", required=True, help="the camera's id")
    parser.add_argument("--stream", choices=("main", "sub"), help="only this stream (default: both)")
    range_options(parser, needed=True)
    parser.add_argument("--reason", metavar="TEXT", required=True, help="why, for the record")
    parser.add_argument("--until", metavar="T", help="it ends by itself then (default: never)")
    parser.add_argument("--case", metavar="REF", default="", help="holds of one case are released together")
    parser.add_argument("--legal", action="store_true", help="ordered by law: not bound by hold_max_percent")
    _who_option(parser)

    parser = verb(
        inner,
        shared,
        "release",
        release,
        summary="end holds: by id, by case, or all of a camera that lie in a range",
        examples="""
            simpang buffer release 12
            simpang buffer release --case LP-117
            simpang buffer release --camera utara --start -7d --end now
        """,
    )
    parser.add_argument("id", metavar="ID", nargs="?", help="as `simpang buffer holds` shows it")
    parser.add_argument("--case", metavar="REF", help="all of this case")
    parser.add_argument("--camera", metavar="ID", help="all of this camera within --start and --end")
    range_options(parser, needed=False)
    parser.add_argument("--reason", metavar="TEXT", help="why, for the record")
    _who_option(parser)

    parser = verb(inner, shared, "holds", holds, summary="every hold, and who asked for it")
    parser.add_argument("--camera", metavar="ID", help="only this camera (default: all)")
    parser.add_argument("--ended", action="store_true", help="also those that no longer hold")

    parser = verb(
        inner,
        shared,
        "mark",
        mark,
        summary="note that something happened: its footage is found, and kept as long as event_days says",
        examples="""
            simpang buffer mark --camera utara --words "truck lost its load"
            simpang buffer mark --camera utara --kind tamper --start -20m --end -15m
        """,
    )
    parser.add_argument("--camera", metavar="ID", required=True, help="the camera's id")
    parser.add_argument("--kind", choices=_KINDS, default="other", help="what it was (default: other)")
    range_options(parser, needed=False)
    parser.add_argument("--words", metavar="TEXT", default="", help="in your words")
    _who_option(parser)

    parser = verb(
        inner,
        shared,
        "forecast",
        forecast,
        summary="how many days the footage will last at the measured rates, now and after a change",
        examples="""
            simpang buffer forecast
            simpang buffer forecast --max-bytes "400 GB"
            simpang buffer forecast --camera utara --bps "2 Mbit/s"
        """,
    )
    parser.add_argument("--max-bytes", metavar="SIZE", help="instead of [buffer] max_bytes")
    parser.add_argument("--max-days", metavar="N", help="instead of [buffer] max_days")
    parser.add_argument("--camera", metavar="ID", help="whose rate changes, or who is new")
    parser.add_argument(
        "--stream", choices=("main", "sub"), default="main", help="which stream (default: main)"
    )
    parser.add_argument("--bps", metavar="RATE", help="to what, as in `2 Mbit/s`")

    parser = verb(
        inner, shared, "deletions", deletions, summary="what was removed, when, why and at whose wish"
    )
    parser.add_argument("--camera", metavar="ID", help="only this camera (default: all)")
    range_options(parser, needed=False)

    parser = verb(
        inner,
        shared,
        "delete",
        delete,
        summary="delete footage now; who and why are recorded",
        text="Whole segments within the range go; what is held, or what a job needs, stays.",
        examples="""
            simpang buffer delete --camera utara --stream main --start -3h --end -2h --reason "wrong view"
        """,
    )
    parser.add_argument("--camera", metavar="ID", required=True, help="the camera's id")
    parser.add_argument("--stream", choices=("main", "sub"), required=True, help="which stream")
    range_options(parser, needed=True)
    parser.add_argument("--reason", metavar="TEXT", required=True, help="why, for the record")
    _who_option(parser)


def hold(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.when import format_time, now_us, parse_range, parse_when

    now = now_us()
    start_us, end_us = parse_range(arguments.start, arguments.end, now)
    body: dict[str, object] = {
        "camera": arguments.camera,
        "stream": arguments.stream,
        "start": format_time(start_us),
        "end": format_time(end_us),
        "reason": arguments.reason,
        "who": _who(arguments),
        "case": arguments.case,
        "legal": arguments.legal,
    }
    if arguments.until is not None:
        body["until"] = format_time(parse_when(arguments.until, "--until", now))
    made = ask(arguments, lambda api: api.post("/api/v1/holds", body))
    return _print_holds(arguments, [made], made)


def release(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.when import now_us, parse_range

    ways = (arguments.id, arguments.case, arguments.camera)
    if sum(way is not None for way in ways) != 1:
        raise CliError(Exit.USAGE, "name one of ID, --case, or --camera with --start and --end")
    within = None
    if arguments.camera is not None:
        if arguments.start is None or arguments.end is None:
            raise CliError(Exit.USAGE, "--camera needs --start and --end")
        within = parse_range(arguments.start, arguments.end, now_us())

    async def work(api: Api) -> list[dict[str, Any]]:
        who = {"who": _who(arguments), "reason": arguments.reason or ""}
        if arguments.case is not None:
            found = await api.delete("/api/v1/holds", {"case": arguments.case, **who})
            return list(found["items"])
        ids = [arguments.id] if within is None else await _within(api, arguments.camera, within)
        return [await api.delete(f"/api/v1/holds/{id_}", who) for id_ in ids]

    released = ask(arguments, work)
    return _print_holds(arguments, released, {"items": released})


async def _within(api: Api, camera: str, within: tuple[int, int]) -> list[str]:
    from simpang.web.times import parse_time

    found = [
        one["id"]
        for one in await _pages(api, "/api/v1/holds", {"camera": camera})
        if within[0] <= parse_time(one["start"]) and parse_time(one["end"]) <= within[1]
    ]
    if not found:
        raise CliError(Exit.NOTHING, f"no hold of {camera} lies in that range")
    return found


def holds(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask

    query = {"ended": "true"} if arguments.ended else {}
    if arguments.camera is not None:
        query["camera"] = arguments.camera
    found = ask(arguments, lambda api: _pages(api, "/api/v1/holds", query))
    return _print_holds(arguments, found, {"items": found})


def mark(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.output import print_json
    from simpang.cli.when import format_time, now_us, parse_when

    body: dict[str, object] = {
        "camera": arguments.camera,
        "kind": arguments.kind,
        "words": arguments.words,
        "who": _who(arguments),
    }
    for name in ("start", "end"):
        if (text := getattr(arguments, name)) is not None:
            body[name] = format_time(parse_when(text, f"--{name}", now_us()))
    made = ask(arguments, lambda api: api.post("/api/v1/events", body))
    if arguments.json:
        print_json(made)
    else:
        print(f"marked {made['camera']} at {made['start']}: {made['kind']}")
    return Exit.DONE


def forecast(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.output import print_json, print_table, size

    query = {
        name: value
        for name in ("max_bytes", "max_days", "camera", "bps")
        if (value := getattr(arguments, name)) is not None
    }
    if "camera" in query:
        query["stream"] = arguments.stream
    found = ask(arguments, lambda api: api.get("/api/v1/storage/forecast", query))
    if arguments.json:
        print_json(found)
        return Exit.DONE
    print_table(
        ("STREAM", "A DAY", "KEPT NOW", "LASTS", "LIMITED BY", "AFTER", "LIMITED BY"),
        [
            (
                f"{one['camera']}/{one['stream']}",
                size(one["after"]["bytes_a_day"]),
                size(one["bytes"]),
                _days(one["before"]),
                one["before"]["limited_by"] if one["before"] else None,
                _days(one["after"]),
                one["after"]["limited_by"],
            )
            for one in found["items"]
        ],
    )
    for when in ("before", "after"):
        capacity = found[when]
        print(
            f"{when}: room for {size(capacity['capacity_bytes'])}, {size(capacity['held_bytes'])} of it held"
        )
        for risk in capacity["promises_at_risk"]:
            print(
                f"  {risk['party']} is promised {risk['promised_days']:g} days of {risk['camera']}/"
                f"{risk['stream']}: it will be {risk['days']:.1f} from {risk['since']} on"
            )
    return Exit.DONE


def deletions(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.output import print_json, print_table, size
    from simpang.cli.when import format_time, local, now_us, parse_range

    start_us, end_us = parse_range(arguments.start or _DAYS_BACK, arguments.end or "now", now_us())
    query = {"start": format_time(start_us), "end": format_time(end_us)}
    if arguments.camera is not None:
        query["camera"] = arguments.camera
    found = ask(arguments, lambda api: _pages(api, "/api/v1/deletions", query))
    if arguments.json:
        print_json({"items": found})
        return Exit.DONE
    print_table(
        ("STREAM", "FROM", "TO", "SIZE", "RULE", "WHO", "WHY", "REMOVED"),
        [
            (
                f"{one['camera']}/{one['stream']}",
                local(one["start"]),
                local(one["end"]),
                size(one["bytes"]),
                one["rule"] or one["reason"],
                one["who"],
                one["why"],
                local(one["last_at"]),
            )
            for one in found
        ],
    )
    return Exit.DONE


def delete(arguments: argparse.Namespace) -> int:
    from simpang.cli.client import ask
    from simpang.cli.output import print_json, size
    from simpang.cli.when import format_time, now_us, parse_range

    start_us, end_us = parse_range(arguments.start, arguments.end, now_us())
    path = f"/api/v1/cameras/{arguments.camera}/streams/{arguments.stream}/footage"
    query = {
        "start": format_time(start_us),
        "end": format_time(end_us),
        "who": _who(arguments),
        "reason": arguments.reason,
    }
    done = ask(arguments, lambda api: api.delete(path, query))
    if arguments.json:
        print_json(done)
    else:
        print(f"deleted {done['segments']} segments, {size(done['bytes'])}")
        if done["held_segments"]:
            print(f"{done['held_segments']} segments, {size(done['held_bytes'])}, are held and stay")
    return Exit.DONE


async def _pages(api: Api, path: str, query: dict[str, str]) -> list[dict[str, Any]]:
    """Every item of a list."""
    items: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = await api.get(path, {**query, **after})
        items += page["items"]
        if page["next"] is None:
            return items
        after = {"after": page["next"]}


def _print_holds(arguments: argparse.Namespace, found: list[dict[str, Any]], whole: object) -> int:
    from simpang.cli.output import print_json, print_table
    from simpang.cli.when import local

    if arguments.json:
        print_json(whole)
        return Exit.DONE
    print_table(
        ("HOLD", "CAMERA", "STREAM", "FROM", "TO", "UNTIL", "CASE", "WHO", "REASON", "RELEASED"),
        [
            (
                one["id"],
                one["camera"],
                one["stream"] or "all",
                local(one["start"]),
                local(one["end"]),
                local(one["until"]),
                one["case"],
                one["who"],
                f"{'legal: ' if one['legal'] else ''}{one['reason']}",
                local(one["released"]),
            )
            for one in found
        ],
    )
    return Exit.DONE


def _days(lasting: dict[str, Any] | None) -> str | None:
    if lasting is None:
        return None
    more = f" (events {lasting['event_days']:.1f})" if lasting["event_days"] > lasting["days"] else ""
    return f"{lasting['days']:.1f} d{more}"


def _who_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--who", metavar="NAME", help="who asks, for the record (default: this user)")


def _who(arguments: argparse.Namespace) -> str:
    return str(arguments.who or getpass.getuser())
