"""The daemon: opens everything in order, runs it, and closes it in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from simpang import data_folder, stand_in
from simpang.assembly import Assembly, Opened, assemble, now_us
from simpang.config.boot import Boot, keep_last_good
from simpang.config.faults import Fault
from simpang.config.secrets import Secrets, secret_faults, secret_folders
from simpang.config.values import Listen
from simpang.disks.flush import flush_of
from simpang.gateway import Gateway
from simpang.jobs.gateway_key import GatewayKey, load_gateway_key
from simpang.lock import hold_lock
from simpang.logs.redaction import Redaction
from simpang.media_folders import MediaFolders
from simpang.notify import Notifier
from simpang.state.database import open_state
from simpang.web.links import page_address, page_link
from simpang.web.listeners import ListenFailed, Listening, listening, serve
from simpang.web.roles import Role
from simpang_buffer.index.errors import StorageError
from simpang_buffer.index.index import Index
from simpang_buffer.index.opening import open_whole_index
from simpang_buffer.model import GapReason

__all__ = ["Gateway", "Surroundings", "previous_end", "run"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Surroundings:
    """What the daemon finds around it. say: prints to the person who started it, never to a log."""

    redaction: Redaction
    environment: Mapping[str, str]
    say: Callable[[str], None]

    @property
    def service(self) -> bool:
        """Whether a service manager started us: nobody reads then, and recording comes first."""
        return "INVOCATION_ID" in self.environment


async def run(boot: Boot, around: Surroundings, stop: asyncio.Event) -> None:
    """The daemon, until `stop` is set.

    Raises FolderUnusable, LockHeld, ListenFailed, StateError, StorageError or OSError when it cannot start;
    each says what, which one, and what to do.
    """
    try:
        await _run(boot, around, stop)
    except ExceptionGroup as group:
        # A task group wraps what its own body raised, and nothing else gets out of it: parts are supervised.
        raise group.exceptions[0] from None


async def _run(boot: Boot, around: Surroundings, stop: asyncio.Event) -> None:
    notifier = Notifier(around.environment)
    home = await asyncio.to_thread(stand_in.find_home, boot)
    boot = dataclasses.replace(boot, data=home.data)
    data = boot.data
    if home.missing is not None:
        words = f"the disk that holds the buffer is not mounted at {home.missing}; recording with {data}"
        logger.error("%s", words)
        around.say(words)
        await asyncio.to_thread(stand_in.prepare, home)
    await stand_in.refuse_others(boot.config, home)
    await asyncio.to_thread(data_folder.prepare, data)
    async with (
        hold_lock(data / "lock") as lock,
        open_whole_index(data / "index.db", home.media, boot.config.site.id, now_us()) as (index, due),
        open_state(data / "state.db") as state,
        asyncio.TaskGroup() as group,
    ):
        boot_id = await asyncio.to_thread(Path("/proc/sys/kernel/random/boot_id").read_text)
        ended = await previous_end(index, boot_id.strip())
        secrets, faults = await asyncio.to_thread(_secrets, boot, around)
        key = await asyncio.to_thread(_gateway_key, data / "secrets")
        flush = await asyncio.to_thread(flush_of, boot.config, data / "media")
        logger.info("footage is made durable every %g s (%s)", flush.flush_s, flush.why)
        if home.missing is not None:
            await stand_in.raise_run_numbers(index)
        folders = MediaFolders(boot.config, index, home.media, now_us=now_us, missing=home.missing)
        opened = Opened(index, folders, due, state, lock, secrets, faults, key, ended, flush, boot_id.strip())
        assembly = assemble(boot, opened, around.redaction)
        await asyncio.to_thread(_keep_last_good, boot)
        await folders.prepare()
        if home.missing is None:
            await stand_in.come_home(index, folders.folders.folders)
        await assembly.gateway.keeper.prepare()
        await assembly.gateway.clock_keeper.prepare()

        tasks = _start(assembly, home, notifier, group)
        async with _serving(assembly, group, tasks, around):
            notifier.ready(f"site {boot.config.site.id}")
            await stop.wait()
            notifier.stopping()
            logger.info("stopping")
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        try:
            await index.set_meta("stopped", "clean")
        except StorageError as error:
            # All that was recorded is on its disks; the next start takes in what has no row.
            logger.warning("the index does not hear of the stop: %s", error)


async def previous_end(index: Index, boot_id: str) -> GapReason:
    """Why recording stopped before this start: the power went if the machine has booted since and nobody
    had stopped us. Notes this boot for the next start."""
    before, stopped = await index.meta("boot_id"), await index.meta("stopped")
    await index.set_meta("boot_id", boot_id)
    await index.set_meta("stopped", "no")
    crashed = before is not None and stopped != "clean"
    return GapReason.POWER if crashed and before != boot_id else GapReason.RESTART


def _secrets(boot: Boot, around: Surroundings) -> tuple[Secrets, list[Fault]]:
    credentials = around.environment.get("CREDENTIALS_DIRECTORY")
    secrets = Secrets(
        secret_folders(boot.data, boot.file),
        credentials=Path(credentials) if credentials else None,
        on_read=around.redaction.add,
    )
    faults = secret_faults(boot.config, boot.text, boot.file, secrets)
    for fault in (*boot.faults, *faults):
        logger.warning("%s", fault)
    if boot.faults:
        logger.warning("%s is faulty: the last good configuration runs", boot.file)
    return secrets, faults


def _gateway_key(secrets: Path) -> GatewayKey:
    """The gateway's key. One that is damaged is put aside: recording never stops for a key, and a centre that
    knows the old one will refuse what the new one signs, so somebody looks."""
    try:
        return load_gateway_key(secrets)
    except (ValueError, TypeError) as error:
        aside = secrets / f"gateway-key.damaged-{time.time_ns() // 10**9}.pem"
        (secrets / "gateway-key.pem").replace(aside)
        logger.error("the gateway's key is damaged (%s): kept as %s, a new one is made", error, aside)
        return load_gateway_key(secrets)


def _keep_last_good(boot: Boot) -> None:
    try:
        keep_last_good(boot)
    except OSError as error:
        logger.warning("the configuration cannot be kept as the last good one: %s", error)


def _start(
    assembly: Assembly, home: stand_in.Home, notifier: Notifier, group: asyncio.TaskGroup
) -> list[asyncio.Task[None]]:
    """Every part runs by itself, under its name; one that fails is started again and stops no other."""
    gateway, keep = assembly.gateway, assembly.supervisor.keep_running
    parts = {
        "recorders": gateway.pool.run,
        "index": gateway.keeper.run,
        "roster": gateway.roster.run,
        "folders": gateway.folders.run,
        "retention": assembly.retention.run,
        "clock": gateway.clock_keeper.run,
        "storage": gateway.storage.run,
        "jobs": gateway.jobs.run,
        "disks": gateway.wear.run,
    }
    if gateway.config.buffer.folder and home.missing is None:
        parts["copies"] = stand_in.Copies(home, lambda: gateway.folders.folders.folders).run
    if assembly.discovery is not None:
        parts["discovery"] = assembly.discovery.run_once
    tasks = [group.create_task(keep(name, run_part), name=name) for name, run_part in parts.items()]
    tasks.append(group.create_task(notifier.keep_watchdog(), name="watchdog"))
    return tasks


@contextlib.asynccontextmanager
async def _serving(
    assembly: Assembly, group: asyncio.TaskGroup, tasks: list[asyncio.Task[None]], around: Surroundings
) -> AsyncIterator[None]:
    """The page and the API. An address that cannot be had, or a damaged certificate, ends a start by hand,
    where somebody reads why; under a service manager recording goes on and it is tried again."""
    gateway = assembly.gateway
    async with contextlib.AsyncExitStack() as stack:
        try:
            opened = await stack.enter_async_context(listening(gateway))
        except (ListenFailed, OSError, ValueError):
            if not around.service:
                raise
            again = partial(serve, gateway, partial(_announce, gateway, around))
            tasks.append(group.create_task(assembly.supervisor.keep_running("web", again), name="web"))
        else:
            _announce(gateway, around, opened)
        yield


def _announce(gateway: Gateway, around: Surroundings, opened: Listening) -> None:
    """Prints the link to the page as notebook servers do; not where what is printed ends in a log."""
    web = gateway.config.web.model_copy(
        update={
            "listen": tuple(Listen(*address) for address in opened.tls),
            "plain_listen": tuple(Listen(*address) for address in opened.plain),
        }
    )
    logger.info("the page is at %s; `simpang link` prints a link that signs in", page_address(web))
    if not around.service:
        token = gateway.sessions.mint(Role.INSTALLER, time.monotonic())
        around.redaction.add(token)
        around.say(f"Page: {page_link(web, token)}")
