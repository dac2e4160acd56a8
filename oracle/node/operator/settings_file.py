"""The settings file that `didyma node init` writes: every setting with its meaning, those that stay as they are as
comments."""

import ast
import inspect
import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from oracle.errors import BadSettings
from oracle.node import settings
from oracle.node.settings import Settings

WIDTH = 100
"""Of a comment's lines."""


@dataclass(frozen=True)
class Choices:
    """What was asked for. keys: "operator", "dispute" or both; their files lie beside the settings file."""

    rpc_urls: tuple[str, ...]
    deployment: Path
    services: tuple[str, ...]
    data_dir: Path
    withdraw_to: str | None
    keys: tuple[str, ...]


def write(path: Path, choices: Choices) -> None:
    """Writes a new file, readable by its owner only: the RPC URL may hold a credential. Raises BadSettings."""
    values: dict[str, object] = {
        "rpc_urls": list(choices.rpc_urls),
        "deployment": str(choices.deployment.resolve()),
        "services": list(choices.services),
        "data_dir": str(choices.data_dir),
    }
    for name in choices.keys:
        prefix = "" if name == "operator" else "dispute_"
        values[f"{prefix}keystore"] = f"{name}.json"
        values[f"{prefix}password_file"] = f"{name}.password"
    if choices.withdraw_to is not None:
        values["withdraw_to"] = choices.withdraw_to
    try:
        text = _text(values).encode()
    except UnicodeEncodeError:
        raise BadSettings("a path here is no UTF-8: name another") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise BadSettings(f"{path} exists and is not overwritten") from None
    path.write_bytes(text)


def meanings() -> dict[str, dict[str, str]]:
    """What stands below each setting in its class, by section and name."""
    source = inspect.getsource(settings)
    lines = source.splitlines()
    (body,) = [
        node.body
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == Settings.__name__
    ]
    found: dict[str, dict[str, str]] = {}
    section = ""
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        for above in reversed(lines[: node.lineno - 1]):
            if above.strip().startswith("# -- "):
                section = above.strip().removeprefix("# -- ")
            if above.strip():
                break
        assert isinstance(after, ast.Expr), f"{node.target.id} has no meaning"
        assert isinstance(after.value, ast.Constant), f"{node.target.id} has no meaning"
        found.setdefault(section, {})[node.target.id] = " ".join(str(after.value.value).split())
    return found


def _text(values: Mapping[str, object]) -> str:
    lines = ["# Settings of a Didyma node. Times in seconds, amounts in wei, relative paths from this file."]
    lines += ["# Lines that begin with #name are not set: what they show is what holds. Unknown names are errors."]
    for section, named in meanings().items():
        lines += ["", f"# ---- {section} ----"]
        for name, meaning in named.items():
            lines += ["", *textwrap.wrap(meaning, WIDTH, initial_indent="# ", subsequent_indent="# ")]
            if name in values:
                lines.append(f"{name} = {json.dumps(values[name], ensure_ascii=False)}")
            else:
                lines.append(f"#{name} = {_default(name)}".rstrip())
    return "\n".join(lines) + "\n"


def _default(name: str) -> str:
    """As TOML; nothing where there is none."""
    value: Any = Settings.model_fields[name].get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return ""
    return json.dumps(str(value) if isinstance(value, Path) else value)
