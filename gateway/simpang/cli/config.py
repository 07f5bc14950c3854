"""`simpang config check | show`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simpang.cli.exits import CliError, Exit
from simpang.cli.verbs import Verbs, verb

if TYPE_CHECKING:
    from simpang.config.lines import Location
    from simpang.config.model import Config


# Xiongmai and its kin want the password in the path: user=admin&password=... or user=admin_password=...
_IN_PATH = re.compile(r"((?:pass\w*?|pwd|psw)=)[^&/?]*", re.IGNORECASE)


def add(verbs: Verbs, shared: argparse.ArgumentParser) -> None:
    group = verb(verbs, shared, "config", None, summary="check and show simpang.toml")
    inner = group.add_subparsers(title="verbs", metavar="VERB", required=True)
    parser = verb(
        inner,
        shared,
        "check",
        check,
        summary="name every fault in the configuration, each with its line and what to try",
        text="Faults go to stderr, one a line: FILE:LINE: key: what; try this. Exit code 2 if there is any. "
        "Secrets that the file names are looked at too.",
        examples="""
            simpang config check
            simpang config check /boot/site.toml
        """,
    )
    parser.add_argument(
        "file", metavar="FILE", nargs="?", type=Path, help="the file (default: as for --config)"
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        help="data folder whose secrets/ to look in (default: [buffer].path)",
    )
    parser.add_argument(
        "--no-secrets",
        action="store_true",
        help="do not look at secrets: for a file made for another machine",
    )
    parser = verb(
        inner,
        shared,
        "show",
        show,
        summary="print every setting that is in force, defaults included",
        text="No password is ever in it: the configuration only names the files that hold them.",
    )
    parser.add_argument(
        "--origin", action="store_true", help="say where each setting comes from: FILE:LINE, or default"
    )


def check(arguments: argparse.Namespace) -> int:
    from simpang.config.boot import default_file
    from simpang.config.faults import ConfigFaults
    from simpang.config.load import parse, read
    from simpang.config.secrets import Secrets, secret_faults, secret_folders

    file = arguments.file or arguments.config or default_file()
    try:
        text = read(file)
        config = parse(text, file)
        if not arguments.no_secrets:
            given = os.environ.get("CREDENTIALS_DIRECTORY")
            secrets = Secrets(
                secret_folders(arguments.data or config.buffer.path, file),
                credentials=Path(given) if given else None,
                on_read=lambda secret: None,
            )
            if faults := secret_faults(config, text, file, secrets):
                raise ConfigFaults(faults)
    except ConfigFaults as error:
        if arguments.json:
            from simpang.cli.output import print_json

            print_json({"faults": [_fault(fault) for fault in error.faults]})
        for fault in error.faults:
            sys.stderr.write(f"{fault}\n")
        return Exit.USAGE
    if arguments.json:
        from simpang.cli.output import print_json

        print_json({"faults": []})
    else:
        print(
            f"{file}: good: site {config.site.id}, {len(config.camera)} cameras listed, {_adoption(config)}"
        )
    return Exit.DONE


def show(arguments: argparse.Namespace) -> int:
    from simpang.config.boot import default_file
    from simpang.config.faults import ConfigFaults, name
    from simpang.config.lines import key_lines
    from simpang.config.load import parse, read
    from simpang.disks.flush import flush_of

    file = arguments.config or default_file()
    try:
        text = read(file)
        config = parse(text, file)
    except ConfigFaults as error:
        raise CliError(Exit.USAGE, str(error)) from None
    if arguments.json:
        from simpang.cli.output import print_json

        print_json(_plain(config.model_dump()))
        return Exit.DONE
    lines = key_lines(text)
    values = config.model_dump()
    derived: dict[Location, str] = {}
    if config.buffer.flush_s is None:
        chosen = flush_of(config, config.buffer.path / "media")
        values["buffer"]["flush_s"] = chosen.flush_s
        derived[("buffer", "flush_s")] = chosen.why
    for location, value in _settings(values, ()):
        setting = f"{name(location)} = {_toml(value)}"
        if arguments.origin:
            origin = f"{file}:{lines[location]}" if location in lines else derived.get(location, "default")
            setting = f"{setting:<56} # {origin}"
        print(setting)
    return Exit.DONE


def _adoption(config: Config) -> str:
    if not config.discovery.enabled:
        return "discovery is off"
    if config.discovery.adopt == "all":
        return "every camera found that accepts the credentials is recorded"
    return "cameras found are shown only"


def _fault(fault: Any) -> dict[str, object]:
    return {
        "file": fault.file,
        "line": fault.line,
        "key": fault.key,
        "what": fault.what,
        "try": fault.try_this,
    }


def _settings(value: Any, location: Location) -> list[tuple[Location, Any]]:
    """Every leaf with its location; what is not set is left out."""
    if isinstance(value, dict) and not _is_value(value):
        return [leaf for key, inner in value.items() for leaf in _settings(inner, (*location, key))]
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], dict) and not _is_value(value[0]):
        return [leaf for at, inner in enumerate(value) for leaf in _settings(inner, (*location, at))]
    return [] if value is None else [(location, value)]


def _is_value(value: dict[str, Any]) -> bool:
    """A value type of ours (size, address, window), which pydantic dumps as a dictionary."""
    return {"size_bytes", "percent"} <= value.keys() or "port" in value or "start_minute" in value


def _plain(value: Any) -> Any:
    """JSON for a dumped configuration: values as people write them, addresses without userinfo."""
    from simpang.config.values import Listen, Size, Window

    if isinstance(value, dict):
        for kind, key in ((Size, "percent"), (Listen, "port"), (Window, "start_minute")):
            if key in value and _is_value(value):
                return str(kind(**value))
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str) and "://" in value:
        scheme, _, rest = value.partition("://")
        shown = _IN_PATH.sub(r"\1...", rest.rpartition("@")[2])
        return f"{scheme}://{shown}"
    return value


def _toml(value: Any) -> str:
    import json

    # Strings, numbers, booleans and lists of them are written in TOML as in JSON.
    return json.dumps(_plain(value), ensure_ascii=False)
