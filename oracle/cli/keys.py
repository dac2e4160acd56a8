"""`didyma keys`: keystores for nodes. Commands print addresses, never keys."""

import json
import os
import secrets
from pathlib import Path
from typing import Annotated

import typer
from eth_account import Account

from oracle.chain.keys import load_keystore
from oracle.cli.report import JsonOption, print_json, reported
from oracle.errors import InsecureKeyFile

app = typer.Typer(help="Keystores: encrypted files that hold a node's hot keys.", no_args_is_help=True)

LEAST_PASSWORD = 8


@app.command()
def new(
    path: Annotated[Path, typer.Argument(help="Where to write the keystore; it must not exist yet.")],
    password_file: Annotated[
        Path | None,
        typer.Option(help="Password file; made with a random password if it does not exist. Asked for if not given."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new key."""
    with reported():
        _print(create_keystore(path, password_file), as_json)


@app.command()
def address(
    path: Annotated[Path, typer.Argument(help="The keystore.")],
    as_json: JsonOption = False,
) -> None:
    """Print the address a keystore claims to be of, without decrypting it."""
    with reported():
        _print(claimed_address(path), as_json)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="The keystore.")],
    password_file: Annotated[Path | None, typer.Option(help="File with the password; asked for if not given.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Decrypt a keystore and print its address: file modes, password and lock are right."""
    with reported():
        signer = load_keystore(
            path, password_file, prompt=lambda text: str(typer.prompt(text, hide_input=True, err=True))
        )
        signer.close()
        _print(signer.address, as_json)


def _print(found: str, as_json: bool) -> None:
    if as_json:
        print_json({"address": found})
    else:
        typer.echo(found)


def create_keystore(path: Path, password_file: Path | None) -> str:
    """Writes a keystore (and a password file, if that is named and missing); returns the address.

    Raises InsecureKeyFile rather than overwrite anything.
    """
    if path.exists():
        raise InsecureKeyFile(f"{path} exists and is not overwritten")
    if password_file is None:
        password = str(typer.prompt("Password for the new key", hide_input=True, err=True, confirmation_prompt=True))
    elif password_file.exists():
        password = password_file.read_text().removesuffix("\n").removesuffix("\r")
    else:
        password = secrets.token_urlsafe(24)
        write_private(password_file, password + "\n")
    if len(password) < LEAST_PASSWORD:
        raise InsecureKeyFile(f"the password must have at least {LEAST_PASSWORD} characters")
    account = Account.create()
    write_private(path, json.dumps(Account.encrypt(account.key, password), indent=2) + "\n")
    return str(account.address)


def claimed_address(path: Path) -> str:
    """The address in a keystore's clear text. Raises InsecureKeyFile."""
    try:
        digits = str(json.loads(path.read_text())["address"]).removeprefix("0x")
        if len(bytes.fromhex(digits)) != 20:
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError):
        raise InsecureKeyFile(f"{path} is not a keystore") from None
    return "0x" + digits


def write_private(path: Path, text: str) -> None:
    """A new file that only its owner can read. Raises InsecureKeyFile if it exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InsecureKeyFile(f"{path} exists and is not overwritten") from None
    with os.fdopen(handle, "w") as file:
        file.write(text)
