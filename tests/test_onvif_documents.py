"""The library behind the adapter: loaded once, in a thread, and without its side effects."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading

from simpang_onvif import xml
from simpang_onvif.documents import Documents, documents

_ASK = """
import asyncio, json, logging, sys
from simpang_onvif import adapter
early = "onvif" in sys.modules or "zeep" in sys.modules
logging.getLogger().setLevel(logging.ERROR)
asyncio.run(adapter.warm())
root = logging.getLogger()
print(json.dumps([early, "zeep" in sys.modules, len(root.handlers), root.level]))
"""


def test_library_is_imported_late_and_leaves_logging_alone() -> None:
    """In a process of its own: here another test may have imported it."""
    done = subprocess.run(
        [sys.executable, "-c", _ASK], capture_output=True, text=True, check=True, timeout=60
    )

    assert json.loads(done.stdout) == [False, True, 0, 40]


async def test_documents_are_loaded_once_for_all_who_ask_together() -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(documents()) for _ in range(8)]

    assert len({id(task.result()) for task in tasks}) == 1


def test_documents_are_loaded_once_for_all_threads() -> None:
    loaded: list[Documents] = []
    threads = [threading.Thread(target=lambda: loaded.append(Documents.load())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(loaded) == 8
    assert len({id(each) for each in loaded}) == 1


async def test_our_media2_document_writes_what_the_specification_names() -> None:
    written: list[xml.Element] = []

    class Keep:
        async def post_xml(self, _address: str, envelope: xml.Element, _headers: dict[str, str]) -> None:
            written.append(envelope)

    proxy = (await documents()).proxy("media2", "http://127.0.0.1/", Keep(), None)
    await proxy.GetProfiles(Type=["VideoSource", "VideoEncoder"])
    await proxy.GetStreamUri(Protocol="RTSP", ProfileToken=' <"odd"> ')

    profiles, uri = (xml.find(envelope, "Body") for envelope in written)
    assert profiles is not None
    assert uri is not None
    assert profiles[0].tag == "{http://www.onvif.org/ver20/media/wsdl}GetProfiles"
    assert [child.text for child in profiles[0]] == ["VideoSource", "VideoEncoder"]
    assert [(xml.local(child), child.text) for child in uri[0]] == [
        ("Protocol", "RTSP"),
        ("ProfileToken", ' <"odd"> '),
    ]


async def test_reply_comes_back_as_it_came_and_never_reaches_the_librarys_parser() -> None:
    came = object()

    class Answers:
        async def post_xml(self, _address: str, _envelope: xml.Element, _headers: dict[str, str]) -> object:
            return came

    proxy = (await documents()).proxy("device", "http://127.0.0.1/", Answers(), None)

    assert await proxy.GetDeviceInformation() is came
