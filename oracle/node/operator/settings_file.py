"""The settings file that `didyma node init` writes."""

import json
from dataclasses import dataclass
from pathlib import Path

from oracle.errors import BadSettings


@dataclass(frozen=True)
class Choices:
    """What was asked for. keys: "operator", "dispute" or both; their files lie beside the settings file."""

    rpc_url: str
    deployment: Path
    services: tuple[str, ...]
    data_dir: Path
    withdraw_to: str | None
    keys: tuple[str, ...]


def write(path: Path, choices: Choices) -> None:
    """Writes a new file, readable by its owner only: the RPC URL may hold a credential. Raises BadSettings."""
    values: dict[str, object] = {
        "rpc_urls": [choices.rpc_url],
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
    lines = ["# Settings of a Didyma node. docs/operators.md lists them all; unknown names are errors.", ""]
    lines += [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise BadSettings(f"{path} exists and is not overwritten") from None
    path.write_text("\n".join(lines) + "\n")
