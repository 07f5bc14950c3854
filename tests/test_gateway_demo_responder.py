"""Demo cameras are found by WS-Discovery: several on one host, each at its own address."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo_identity import free_port, identity
from simpang.demo.identity import Identity
from simpang.demo.responder import GROUP, Responder, responding
from simpang_onvif import probe_message
from simpang_onvif.discovery import discover
from simpang_onvif.probe_message import Kind

NAMES = ("Utara", "Timur & Barat")


def cameras() -> list[Identity]:
    return [identity(f"127.0.1.{81 + number}", name=name) for number, name in enumerate(NAMES)]


class Ear:
    """A datagram socket on 127.0.0.1 that sends to the group of loopback."""

    def __init__(self, port: int) -> None:
        self.sock = socket.socket(type=socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        self.sock.setblocking(False)
        self._port = port

    def ask(self, data: bytes, host: str = GROUP) -> None:
        self.sock.sendto(data, (host, self._port))

    async def hear(self) -> tuple[bytes, str]:
        """The next answer and the address that it came from."""
        async with asyncio.timeout(5):
            data, sender = await asyncio.get_running_loop().sock_recvfrom(self.sock, 65_536)
            return data, sender[0]

    async def hears_nothing(self) -> None:
        """An answer would have been there before the one to a probe that is sent after."""
        self.ask(probe_message.probe(""))
        answer, _ = await self.hear()
        assert b"ProbeMatches" in answer
        with pytest.raises(BlockingIOError):
            self.sock.recv(65_536)


@contextlib.asynccontextmanager
async def one_camera() -> AsyncIterator[tuple[Identity, Ear]]:
    port = free_port("127.0.0.1", socket.SOCK_DGRAM)
    who = identity("127.0.1.83")
    async with responding(who, port):
        ear = Ear(port)
        with ear.sock:
            yield who, ear


async def test_discovery_finds_every_camera_at_its_own_address() -> None:
    first, second = cameras()
    async with responding(first), responding(second):
        found = {d.address: d async for d in discover(interfaces=["lo"], seconds=1.0)}

    for who in (first, second):
        device = found[who.host]
        assert (device.epr, device.name, device.hardware) == (who.endpoint, who.name, who.model)
        assert device.xaddrs == (who.service_url,)


async def test_cameras_say_hello_and_goodbye() -> None:
    port = free_port("127.0.0.1", socket.SOCK_DGRAM)
    who = identity("127.0.1.84")
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((GROUP, port))
        listener.setsockopt(
            socket.IPPROTO_IP,
            socket.IP_ADD_MEMBERSHIP,
            socket.inet_aton(GROUP) + socket.inet_aton("127.0.0.1"),
        )
        listener.setblocking(False)
        async with responding(who, port):
            pass
        async with asyncio.timeout(5):
            datagrams = [await loop.sock_recv(listener, 65_536) for _ in range(2)]

    announced = [probe_message.read(data, who.host, "lo")[0] for data in datagrams]
    assert [each.kind for each in announced] == [Kind.HELLO, Kind.BYE]
    assert [each.device.epr for each in announced] == [who.endpoint] * 2


@pytest.mark.parametrize("types", probe_message.PROBE_TYPES)
async def test_each_form_of_probe_is_answered_from_the_camera_s_address(types: str) -> None:
    async with one_camera() as (who, ear):
        question = probe_message.probe(types)
        ear.ask(question)
        answer, sender = await ear.hear()

        assert sender == who.host
        message_id = question.split(b"<a:MessageID>")[1].split(b"<")[0]
        assert b"<a:RelatesTo>" + message_id + b"</a:RelatesTo>" in answer


async def test_a_unicast_probe_is_answered_too() -> None:
    async with one_camera() as (who, ear):
        ear.ask(probe_message.probe(""), who.host)

        assert (await ear.hear())[1] == who.host


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.replace(b"</d:Types>", b" tds:Printer</d:Types>"),
        lambda p: p.replace(b"10/network/wsdl", b"10/other/wsdl"),
        lambda p: p.replace(
            b"</d:Probe>", b"<d:Scopes>onvif://www.onvif.org/name/Other</d:Scopes></d:Probe>"
        ),
        lambda p: p.replace(b"Probe>", b"Bye>").replace(b"<d:Probe", b"<d:Bye"),
        lambda p: p[:-20],
        lambda p: b'<!DOCTYPE a [<!ENTITY b "c">]>' + p,
        lambda p: p + b" " * 9_000,
    ],
    ids=["types", "namespace", "scopes", "no probe", "cut", "doctype", "large"],
)
async def test_what_does_not_mean_it_is_not_answered(change: Callable[[bytes], bytes]) -> None:
    async with one_camera() as (_, ear):
        ear.ask(change(probe_message.probe("dn:NetworkVideoTransmitter")))

        await ear.hears_nothing()


async def test_scopes_that_are_ours_in_part_are_answered() -> None:
    async with one_camera() as (_, ear):
        scope = b"<d:Scopes>onvif://www.onvif.org/Profile onvif://www.onvif.org/location/demo/</d:Scopes></d:Probe>"
        ear.ask(probe_message.probe("").replace(b"</d:Probe>", scope))

        assert b"ProbeMatches" in (await ear.hear())[0]


async def test_who_floods_it_gets_few_answers() -> None:
    async with one_camera() as (_, ear):
        for _ in range(400):
            ear.ask(probe_message.probe(""))
            await asyncio.sleep(0)
        heard = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    await ear.hear()
                    heard += 1

    # Forty a second, and the flood may touch three of its seconds.
    assert 40 <= heard <= 120


def test_resolve_is_answered_by_whom_it_names() -> None:
    who = identity()
    responder = Responder(who)
    question = probe_message.probe("").decode()
    body = question.replace("<d:Probe ", "<d:Resolve ").replace("</d:Probe>", "{}</d:Resolve>")
    reference = "<a:EndpointReference><a:Address>{}</a:Address></a:EndpointReference>"

    ours = responder.answer(body.replace("{}", reference.replace("{}", who.endpoint)).encode())
    other = responder.answer(body.replace("{}", reference.replace("{}", f"urn:uuid:{uuid.uuid4()}")).encode())

    assert ours is not None
    assert b"ResolveMatches" in ours
    assert other is None


@settings(deadline=None)  # other work on this machine is no fault
@given(st.binary(max_size=400))
def test_no_datagram_breaks_it(data: bytes) -> None:
    assert Responder(identity()).answer(data) is None
