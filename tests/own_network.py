"""A pytest plugin: tests that use `own_network` run in a network and a mount namespace of their own.

WS-Discovery has one port, 3702, and loopback is shared by everything on a machine: two suites side by side
would find each other's cameras. So all these tests of a session run in one child, under `unshare`, as root or
(in a user namespace) as anybody; its reports are replayed here one by one. Where the kernel forbids it they
are skipped, each by its name. In there 127.0.0.0/8 and every port is free, and mounts end with the child.

A module says `pytest_plugins = ("own_network",)` and `pytestmark = pytest.mark.usefixtures("own_network")`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, Any

import pytest

# In the child: the descriptor for its reports.
_REPORTS = "SIMPANG_TEST_REPORTS"
_UNSHARE = ("unshare", "--net", "--mount")
# Multicast has to know an interface; packets to anywhere else find no route.
_SETUP = 'ip link set lo up && ip route add 224.0.0.0/4 dev lo && exec "$@"'


@pytest.fixture(scope="session")
def own_network() -> None:
    """Says that the test must not share its network."""
    if _REPORTS not in os.environ:
        pytest.skip(f"the kernel forbids network namespaces: {_command()[1]}")


class _Child:
    """The pytest under unshare, running `nodes` in order."""

    def __init__(self, command: Sequence[str], nodes: Sequence[str], root: str, *, loud: bool) -> None:
        reading, writing = os.pipe()
        self.reports = os.fdopen(reading, encoding="utf-8")
        self.said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        options = ["-p", "no:cacheprovider", "-q", *(["-s"] if loud else [])]
        self.process = subprocess.Popen(
            [*command, "sh", "-c", _SETUP, "sh", sys.executable, "-m", "pytest", *options, *nodes],
            stdin=subprocess.DEVNULL,
            stdout=None if loud else self.said,
            stderr=None if loud else subprocess.STDOUT,
            cwd=root,
            env={**os.environ, _REPORTS: str(writing)},
            pass_fds=(writing,),
        )
        os.close(writing)

    def next_report(self, config: pytest.Config) -> pytest.TestReport | None:
        """None if the child has ended."""
        line = self.reports.readline()
        if not line:
            return None
        report = config.hook.pytest_report_from_serializable(config=config, data=json.loads(line))
        assert isinstance(report, pytest.TestReport)
        return report

    def last_words(self) -> str:
        self.said.seek(0)
        return self.said.read().decode(errors="replace")[-4000:]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # so that its fixtures end what they began
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
            self.process.kill()
        self.process.wait()
        self.reports.close()
        self.said.close()


_CHILD = pytest.StashKey[_Child]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _REPORTS in os.environ:
        return
    for item in items:
        if _apart(item):
            # The child's own limit counts; ours would end the session instead of the test.
            item.add_marker(pytest.mark.timeout(0))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    command, _ = _command()
    if _REPORTS in os.environ or not _apart(item) or not command:
        return None
    config = item.config
    if _CHILD not in config.stash:
        nodes = [one.nodeid for one in item.session.items if _apart(one)]
        loud = config.getoption("capture") == "no"
        config.stash[_CHILD] = _Child(command, nodes, str(config.rootpath), loud=loud)
    child = config.stash[_CHILD]
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    when = ""
    while when != "teardown":
        report = child.next_report(config) or _lost(item, child)
        item.ihook.pytest_runtest_logreport(report=report)
        when = report.when
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if _REPORTS in os.environ:
        config = _Here.config
        data = config.hook.pytest_report_to_serializable(config=config, report=report)
        os.write(int(os.environ[_REPORTS]), json.dumps(data, default=str).encode() + b"\n")


def pytest_unconfigure(config: pytest.Config) -> None:
    if _CHILD in config.stash:
        config.stash[_CHILD].stop()


class _Here:
    """The session's configuration, which the hook for reports is not given."""

    config: pytest.Config


def pytest_configure(config: pytest.Config) -> None:
    _Here.config = config


def _apart(item: Any) -> bool:
    return "own_network" in getattr(item, "fixturenames", ())


def _lost(item: pytest.Item, child: _Child) -> pytest.TestReport:
    """For a test that the child did not come to."""
    words = f"the tests' own namespace ended early:\n{child.last_words()}"
    return pytest.TestReport(item.nodeid, item.location, {}, "failed", words, "teardown")


@functools.cache
def _command() -> tuple[tuple[str, ...], str]:
    """How to get a namespace here, as root or as anybody; else no command, and the kernel's words."""
    said = ""
    for command in (_UNSHARE, (*_UNSHARE, "--user", "--map-root-user")):
        tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        if tried.returncode == 0:
            return command, ""
        said = tried.stderr.strip()
    return (), said
