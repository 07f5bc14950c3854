"""`simpang run`: the daemon."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from simpang.cli.exits import CliError, Exit
from simpang.cli.verbs import Verbs, verb

if TYPE_CHECKING:
    from simpang.app import Surroundings
    from simpang.config.boot import Boot

# SIGTERM to exit is 5 s. Whatever hangs then (a thread on a dying disk) is left behind: files survive a kill.
STOP_S = 4.5


def add(verbs: Verbs, shared: argparse.ArgumentParser) -> None:
    parser = verb(
        verbs,
        shared,
        "run",
        run,
        summary="record the cameras and serve the page, until stopped",
        text="Prints a link to the page that signs in once. SIGTERM or Ctrl-C closes the files and ends "
        "within 5 s. A faulty configuration does not stop recording: the last good one runs, and the faults "
        "stand in the log and on the page.",
        examples="""
            simpang run --config site.toml
            simpang run --data /srv/footage --log-format json
        """,
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        help="folder for footage, databases and secrets; overrides [buffer].path (default: /var/lib/simpang)",
    )
    parser.add_argument(
        "--log-format",
        choices=("auto", "text", "json"),
        default="auto",
        help="text for people, json for programs (default: text, in colours on a terminal); to stderr",
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="debug also repeats failures that were reported once (default: info)",
    )


def run(arguments: argparse.Namespace) -> int:
    from simpang import app, data_folder, lock
    from simpang.config.boot import boot, default_file
    from simpang.config.faults import ConfigFaults
    from simpang.logs.redaction import Redaction
    from simpang.logs.setup import configure
    from simpang.state.database import StateError
    from simpang.web.listeners import ListenFailed
    from simpang_buffer.index.errors import StorageError

    redaction = Redaction()
    configure(redaction, form=arguments.log_format, level=arguments.log_level.upper())
    try:
        booted = boot(arguments.config or default_file(), arguments.data)
    except ConfigFaults as error:
        raise CliError(Exit.USAGE, f"the configuration cannot be used:\n{error}") from None
    around = app.Surroundings(redaction=redaction, environment=os.environ, say=_say)
    try:
        asyncio.run(_until_stopped(booted, around))
    except (
        data_folder.FolderUnusable,
        lock.LockHeld,
        ListenFailed,
        StateError,
        StorageError,
        OSError,
    ) as error:
        raise CliError(Exit.FAILED, redaction.clean(str(error))) from None
    return Exit.DONE


async def _until_stopped(booted: Boot, around: Surroundings) -> None:
    from simpang.app import run as run_gateway

    stop = asyncio.Event()

    def begin() -> None:
        if not stop.is_set():
            last_resort = threading.Timer(STOP_S, os._exit, (0,))
            last_resort.daemon = True
            last_resort.start()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, begin)
    await run_gateway(booted, around, stop)


def _say(text: str) -> None:
    # Not a log line: it may hold a link's token, and a log file keeps what it gets.
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
