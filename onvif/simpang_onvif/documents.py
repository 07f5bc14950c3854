"""The ONVIF service documents (WSDL), read from disk once per process.

They come with onvif-zeep-async; the one it lacks, Media2, lies beside this module with the operations used
here. Importing the library and reading them takes about 0.4 s of CPU and 45 MB, all in a thread: an event
loop that did it would stand still. The import is lazy for that reason, and since it configures logging, which
is undone here.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Service:
    """One ONVIF service: its namespace, its document, and the binding in it."""

    namespace: str
    document: str
    binding: str


SERVICES: Mapping[str, Service] = MappingProxyType(
    {
        "device": Service("http://www.onvif.org/ver10/device/wsdl", "devicemgmt.wsdl", "DeviceBinding"),
        "media1": Service("http://www.onvif.org/ver10/media/wsdl", "media.wsdl", "MediaBinding"),
        "media2": Service("http://www.onvif.org/ver20/media/wsdl", "media2.wsdl", "Media2Binding"),
    }
)


class Documents:
    """The loaded documents and the parts of the library that write requests from them."""

    _loaded: ClassVar[Documents | None] = None
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        """Imports and reads; blocks. Use `documents()`."""
        _import_quietly()
        from onvif.client import UsernameDigestTokenDtDiff, ZeepAsyncClient
        from onvif.transport import AsyncSafeTransport
        from zeep.settings import Settings
        from zeep.wsdl import Document

        # raw_response: replies come back as bytes and are read by `xml.py` alone; zeep only writes. The rest
        # would hold if it ever read: it refuses a DOCTYPE, entities, and loading anything over the network.
        self.settings = Settings(
            strict=False,
            raw_response=True,
            forbid_dtd=True,
            forbid_entities=True,
            forbid_external=True,
            xml_huge_tree=False,
        )
        transport = AsyncSafeTransport()  # loads files that exist and nothing else
        self._loaded_documents = {
            name: Document(str(_path(service.document)), transport, settings=self.settings)
            for name, service in SERVICES.items()
        }
        self._client = ZeepAsyncClient
        self.token = UsernameDigestTokenDtDiff

    def proxy(self, service: str, address: str, transport: object, token: object | None) -> Any:
        """An object with one coroutine per operation; each posts through `transport` and returns what it got.

        token: signs the request by WS-Security, or None.
        """
        client = self._client(
            wsdl=self._loaded_documents[service], wsse=token, transport=transport, settings=self.settings
        )
        about = SERVICES[service]
        return client.create_service(f"{{{about.namespace}}}{about.binding}", address)

    @classmethod
    def load(cls) -> Documents:
        """Once per process, whoever asks first; blocks."""
        with cls._lock:
            if cls._loaded is None:
                cls._loaded = cls()
            return cls._loaded


async def documents() -> Documents:
    """The documents, read in a thread the first time."""
    loaded = Documents._loaded
    return loaded if loaded is not None else await asyncio.to_thread(Documents.load)


async def warm() -> None:
    """Reads the documents now, so that the first camera need not wait for it."""
    await documents()


def _path(name: str) -> Path:
    own = Path(__file__).with_name(name)
    if own.exists():
        return own
    import onvif

    return Path(onvif.__file__).parent / "wsdl" / name


def _import_quietly() -> None:
    # `import onvif` calls logging.basicConfig(level=INFO): a handler on the root logger of whoever embeds us.
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    import onvif  # noqa: F401 - for its effects, which end here

    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
