"""The shape of the source tree: who may import whom, and what only one place may import."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "simpang": ROOT / "gateway" / "simpang",
    "simpang_onvif": ROOT / "onvif" / "simpang_onvif",
    "simpang_buffer": ROOT / "buffer" / "simpang_buffer",
}
MAY_IMPORT = {
    "simpang": {"simpang_onvif", "simpang_buffer"},
    "simpang_onvif": set[str](),
    "simpang_buffer": set[str](),
}
# Libraries with one owner: a package, or a folder in it.
OWNERS = {
    "av": ("simpang", "picture"),
    "PIL": ("simpang", "picture"),
    "zeep": ("simpang_onvif", ""),
    "onvif": ("simpang_onvif", ""),
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_down(package: str) -> None:
    others = set(PACKAGES) - {package} - MAY_IMPORT[package]

    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in PACKAGES[package].rglob("*.py")
        for name in imports(path)
        if name in others
    ]

    assert not wrong


@pytest.mark.parametrize("library", OWNERS)
def test_library_is_imported_by_its_owner_alone(library: str) -> None:
    package, folder = OWNERS[library]
    home = PACKAGES[package] / folder

    wrong = [
        str(path.relative_to(ROOT))
        for source in PACKAGES.values()
        for path in source.rglob("*.py")
        if library in imports(path) and not path.is_relative_to(home)
    ]

    assert not wrong


def test_source_roots_are_no_packages() -> None:
    for root in ("gateway", "onvif", "buffer", "images", "tests"):
        assert not (ROOT / root / "__init__.py").exists()
    assert not (ROOT / "tests" / "onvif").exists()


def test_onvif_is_the_installed_library() -> None:
    spec = importlib.util.find_spec("onvif")

    assert spec is not None and spec.origin is not None
    assert not Path(spec.origin).is_relative_to(ROOT / "onvif")


def test_modules_can_be_read_in_one_sitting() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for source in PACKAGES.values()
        for path in source.rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }

    assert not long


def test_python_is_one_that_we_promise() -> None:
    assert sys.version_info >= (3, 11)
