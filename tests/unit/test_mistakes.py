"""Every command, and what people, endpoints and disks get wrong: one line that says what to do, and nothing else.

The commands are found by walking the tree, and so are their parameters: a new one fails here until it has a line in
`LINES`, and a mistake in `MISTAKES` or a reason in `HARMLESS`.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from eth_account import Account
from rig.anvil import Anvil, anvil, free_port
from rig.fault_rpc import FaultRpc, fault_rpc
from typer.testing import CliRunner
from web3 import Web3

from oracle.attestation.dev import MACHINE
from oracle.chain.deployment import Deployment
from oracle.chain.refusals import ADVICE
from oracle.cli import app
from oracle.cli.connection import Network
from oracle.models.shipped import SHIPPED_MODEL

ID, ADDRESS = "0x" + "ab" * 32, "0x" + "cd" * 20
TREE = typer.main.get_command(app)  # made once: the tests' runner makes all commands anew for each call
MISTYPED = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD"
"""An address whose last capital is none in its checksum."""
DEPLOYMENT = Deployment(31337, 0, *(Web3.to_checksum_address("0x" + digit * 40) for digit in "123456789"))


@dataclass
class World:
    """Files and endpoints that are right, for mistakes to spoil one of them."""

    folder: Path
    chain: Anvil
    proxy: FaultRpc

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o600)
        return path

    @property
    def config(self) -> Path:
        deployment = self.folder / "deployment.json"
        settings = {"rpc_urls": [self.proxy.url], "deployment": str(deployment), "services": [ID]}
        settings |= {"data_dir": str(self.folder / "data"), "models": str(self.folder / "models"), "api_port": 0}
        text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
        return self.file("didyma.toml", text)


@pytest.fixture(scope="module")
def chain() -> Iterator[Anvil]:
    with anvil(mining=True) as running:
        running.rpc("anvil_setCode", DEPLOYMENT.oracle, "0xfe")  # something is there; what it says, the proxy makes up
        yield running


@pytest.fixture(scope="module")
def endpoint(chain: Anvil) -> Iterator[FaultRpc]:
    with fault_rpc(chain.url) as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, chain: Anvil, endpoint: FaultRpc, monkeypatch: pytest.MonkeyPatch) -> World:
    endpoint.heal()
    monkeypatch.setattr("typer.testing._get_command", lambda _: TREE)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("DIDYMA_RPC_URLS", "DIDYMA_DEPLOYMENT", "DIDYMA_CONFIG", "DIDYMA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("oracle.chain.connect.PAUSES_SECONDS", ())
    monkeypatch.setattr("oracle.chain.connect.TIMEOUT_SECONDS", 1.0)
    Network(DEPLOYMENT, endpoint.url).save(tmp_path / "deployment.json")
    keystore = Account.encrypt("0x" + "11" * 32, "word", kdf="pbkdf2", iterations=1)
    made = World(tmp_path, chain, endpoint)
    made.file("cold.json", json.dumps(keystore))
    made.file("password", "word\n")
    made.file("schema.json", json.dumps({"type": "boolean"}))
    made.file("fleet_url", f"postgresql://127.0.0.1:{free_port()}/nowhere")
    made.file("quote", MACHINE.quote(bytes(64)).raw)
    return made


# -- the commands --------------------------------------------------------------------------------------------------

LINES: dict[str, list[str]] = {
    "ask": ["Hello?"],
    "demo": [],
    "dev": [],
    "fleet prepare": ["--url-file", "{folder}/fleet_url"],
    "fleet status": ["--url-file", "{folder}/fleet_url"],
    "fleet work": ["--url-file", "{folder}/fleet_url"],
    "keys address": ["{folder}/cold.json"],
    "keys check": ["{folder}/cold.json"],
    "keys new": ["{folder}/new.json"],
    "model add": [str(SHIPPED_MODEL.with_suffix(".gguf"))],
    "model list": [],
    "model register": ["0xab"],
    "model show": ["0xab"],
    "model tokens": ["0xab", "Hello?"],
    "model verify": ["0xab"],
    "new": ["{folder}/my-dapp"],
    "node check": [],
    "node init": ["--service", ID, "--rpc-url", "http://127.0.0.1:1", "--config", "{folder}/node/new.toml"],
    "node jobs": [],
    "node prune": [],
    "node rebuild": [],
    "node report": [],
    "node run": [],
    "node status": [],
    "node withdraw": [],
    "quote": ["Hello?"],
    "request cancel": [ID],
    "request refund": [ID],
    "request retry": [ID],
    "request show": [ID],
    "seat join": [ID, ADDRESS],
    "seat leave": [ID, "0"],
    "seat operator": [ID, "0", ADDRESS],
    "seat top-up": [ID, "0", "1"],
    "service create": ["{folder}/terms.toml"],
    "service list": [],
    "service show": [ID],
    "tee admit": [ID, ADDRESS],
    "tee collateral": ["{folder}/quote", "--dev", "--post"],
    "tee quote": ["--dev"],
    "tee revoke": [ADDRESS],
    "tee shrink": [ID, "--cap", "1"],
    "tee status": [],
    "tee verify": ["{folder}/quote", "--dev-root"],
    "type address": ["--model", "0xab"],
    "type date": ["2026-01-01", "2026-12-31", "--model", "0xab"],
    "type integer": ["0", "100", "--model", "0xab"],
    "type pattern": ["yes|no", "--model", "0xab"],
    "type schema": ["{folder}/schema.json", "--model", "0xab"],
    "type council": ["yes", "no", "--service", ID],
    "type choice": ["yes", "no", "--model", "0xab"],
    "verify": [ID],
    "watch": [ID],
    "withdraw": [ADDRESS],
}
"""Arguments that are right as far as they go."""


def tree(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command by its words."""
    command = TREE if command is None else command
    for name, sub in getattr(command, "commands", {}).items():
        yield from tree(sub, (*path, name))
    if not hasattr(command, "commands"):
        yield " ".join(path), command


COMMANDS = dict(tree())
PARAMETERS = {
    name: {each.name: each for each in command.params if each.name != "help"} for name, command in COMMANDS.items()
}


def test_tree__every_command__has_a_line_here():
    assert set(COMMANDS) == set(LINES)


def test_help__every_command_and_parameter__explains_itself():
    def walk(command: Any, path: str) -> Iterator[str]:
        if not command.help:
            yield path
        for each in command.params:
            if not getattr(each, "help", None):
                yield f"{path} {each.name}"
        for name, sub in getattr(command, "commands", {}).items():
            yield from walk(sub, f"{path} {name}")

    assert list(walk(TREE, "didyma")) == []


NO_JSON = {
    "demo": "a story; its exit status tells",
    "dev": "runs until it is stopped; its deployment file is JSON",
    "fleet work": "runs until it is stopped",
    "model show": "prints JSON without being asked",
    "new": "makes files",
    "node run": "runs until it is stopped; `log_format` makes its log JSON",
}


def test_tree__every_command__takes_json_or_has_a_reason():
    assert {name for name, parameters in PARAMETERS.items() if "as_json" not in parameters} == set(NO_JSON)


def test_version__is_the_packages():
    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0
    assert re.fullmatch(r"didyma \d+\.\d+\.\d+\n", done.output)


def test_watch__keystore_without_its_password_s_file__is_refused_before_anything_is_asked():
    done = CliRunner().invoke(app, ["watch", ID, "--keystore", "cold.json"])
    assert done.exit_code == 1
    assert "--password-file" in done.output
    assert "Password:" not in done.output


# -- the mistakes --------------------------------------------------------------------------------------------------

Spoil = Callable[[World], list[str]]
MISTAKES: dict[str, dict[str, tuple[Spoil, list[str]]]] = {}
"""By the parameter that they concern, then by name: what is added to the line, and words of which one must be said."""


def mistake(parameter: str, name: str, *says: str) -> Callable[[Spoil], Spoil]:
    def add(spoil: Spoil) -> Spoil:
        MISTAKES.setdefault(parameter, {})[name] = (spoil, list(says))
        return spoil

    return add


WRONG_FEE = Web3.keccak(text="WrongFee(uint256,uint256)")[:4].hex() + "00" * 64
REVERTED = {"code": 3, "message": "execution reverted"}
ENDPOINTS: dict[str, tuple[list[tuple[Any, ...]], list[str]]] = {
    "busy": ([("*", "status", (429, "slow down"))], ["limits requests"]),
    "wants a key": ([("*", "status", (401, '{"error": "no key"}'))], ["credential"]),
    "in trouble": ([("*", "status", (503, "<html>down</html>"))], ["in trouble"]),
    "refuses parameters": ([("*", "error", {"code": -32602, "message": "range too large"})], ["without such limits"]),
    "web page": ([("*", "html")], ["not an Ethereum node"]),
    "half a reply": ([("*", "truncate")], ["not JSON"]),
    "nonsense": ([("*", "result", "soon")], ["makes no sense"]),
    "hangs up": ([("*", "drop")], ["check that the node runs"]),
    "silent": ([("*", "delay", 3)], ["says nothing"]),
    "another chain": ([("eth_chainId", "result", "0x1")], ["serves chain 1"]),
    "nothing deployed": ([("eth_getCode", "result", "0x")], ["deployment"]),
    "nonsense from contracts": ([("eth_call", "result", "0x01")], ["deployment"]),
    "nonsense as logs": ([("eth_getLogs", "result", [{"topics": [7]}])], ["makes no sense", "does not fit"]),
    "contract refuses": ([("eth_call", "error", {**REVERTED, "data": "0x" + WRONG_FEE})], [ADVICE["WrongFee"]]),
    "contract refuses strangely": ([("eth_call", "error", {**REVERTED, "data": "0xdeadbeef"})], ["deployment file"]),
    "contract refuses silently": ([("eth_call", "error", REVERTED)], ["deployment file"]),
    "no ether": (
        [
            ("eth_estimateGas", "error", {"code": -32003, "message": "Insufficient funds for gas * price + value"}),
            ("eth_call", "result", "0x" + "00" * 31 + "01" + "00" * 31 * 32),
        ],
        ["send the account ether", "deployment", "no policy", "revoked"],
    ),
}
"""What an endpoint does wrong: scripts for it, and what must be said."""

for _name, (_scripts, _says) in ENDPOINTS.items():

    @mistake("rpc_url", _name, *_says)
    def _(world: World, scripts: Any = _scripts) -> list[str]:
        for script in scripts:
            world.proxy.script(*script)
        world.proxy.calls.clear()
        return []


@mistake("rpc_url", "nobody there", "check that the node runs")
def _(world: World) -> list[str]:
    return ["--rpc-url", f"http://127.0.0.1:{free_port()}"]


@mistake("rpc_url", "not a URL", "http://HOST:PORT")
def _(world: World) -> list[str]:
    return ["--rpc-url", "localhost"]


def with_deployment(world: World) -> list[str]:
    return ["--deployment", str(world.folder / "deployment.json")]


@mistake("deployment", "none runs", "didyma dev")
def _(_world: World) -> list[str]:
    return []


@mistake("deployment", "no such file", "didyma dev")
def _(world: World) -> list[str]:
    return ["--deployment", str(world.folder / "none.json")]


for _name, _content in {
    "empty": "",
    "a list": "[]",
    "no addresses": "{}",
    "bytes": b"\xff\x00",
    "deep": "[" * 9999,
}.items():

    @mistake("deployment", f"file is {_name}", "not a deployment file")
    def _(world: World, content: Any = _content) -> list[str]:
        return ["--deployment", str(world.file("bad.json", content))]


@mistake("deployment", "is a folder", "not a deployment file")
def _(world: World) -> list[str]:
    return ["--deployment", str(world.folder)]


@mistake("keystore", "none given", "--keystore", "no policy", "no service", "no key", "no request", "deployment file")
def _(world: World) -> list[str]:
    return with_deployment(world)


for _name, _content in {
    "empty": "",
    "no keystore": "{}",
    "bytes": b"\xff\x00",
    "a list": "[1]",
    "a number": "7",
}.items():

    @mistake("keystore", f"file is {_name}", "cannot be")
    def _(world: World, content: Any = _content) -> list[str]:
        password = ["--password-file", str(world.folder / "password")]
        return [*with_deployment(world), "--keystore", str(world.file("bad.json", content)), *password]


@mistake("keystore", "no such file", "cannot be read")
def _(world: World) -> list[str]:
    password = ["--password-file", str(world.folder / "password")]
    return [*with_deployment(world), "--keystore", str(world.folder / "none.json"), *password]


@mistake("password_file", "no such file", "cannot be read", "no such file")
def _(world: World) -> list[str]:
    return [*with_key(world), "--password-file", str(world.folder / "none")]


@mistake("password_file", "wrong password", "cannot be opened", "password")
def _(world: World) -> list[str]:
    return [*with_key(world), "--password-file", str(world.file("wrong", "another\n"))]


def with_key(world: World) -> list[str]:
    return [*with_deployment(world), "--keystore", str(world.folder / "cold.json")]


@mistake("config", "no such file", "didyma node init")
def _(world: World) -> list[str]:
    return ["--config", str(world.folder / "none.toml")]


for _name, _content in {"no TOML": "= =", "bytes": b"\xff\x00", "empty": "", "another's": 'colour = "red"'}.items():

    @mistake("config", f"file is {_name}", "didyma.toml", "rpc_urls", "colour")
    def _(world: World, content: Any = _content) -> list[str]:
        return ["--config", str(world.file("bad-didyma.toml", content))]


@mistake("config", "names no deployment file", "not a deployment file", "no journal yet", "withdraw_to", "api_port")
def _(world: World) -> list[str]:
    config = world.config
    (world.folder / "deployment.json").unlink()
    return ["--config", str(config)]


@mistake("config", "nobody answers", "check that the node runs", "no journal yet", "withdraw_to", "api_port")
def _(world: World) -> list[str]:
    config = world.config
    config.write_text(config.read_text().replace(world.proxy.url, f"http://127.0.0.1:{free_port()}"))
    return ["--config", str(config)]


@mistake("url_file", "no such file", "no such file")
def _(world: World) -> list[str]:
    return ["--url-file", str(world.folder / "none")]


for _name, _content in {"empty": "", "no URL": "over there", "another kind of URL": "https://example.org/"}.items():

    @mistake("url_file", f"holds {_name}", "no database", "the fleet's database", "no model")
    def _(world: World, content: Any = _content) -> list[str]:
        return ["--url-file", str(world.file("bad_url", content))]


@mistake("models", "no such model", "model")
def _(_world: World) -> list[str]:
    return ["0xabcd"]


@mistake("store", "is a file", "deployment.json", "didyma model add", "have an id", "no such file", "not a GGUF")
def _(world: World) -> list[str]:
    return ["--store", str(world.folder / "deployment.json")]


NO_FILE = ["not", "cannot", "too short", "refused", "exists", "no such", "have an id", "ends in the middle"]
FILES = {"bytes": b"\xff\x00\x01", "empty": b"", "text": b"hello"}

for _parameter in ("file", "terms_file", "path", "source", "collateral", "manifest", "model"):
    for _name, _content in FILES.items():

        @mistake(_parameter, f"file is {_name}", *NO_FILE)
        def _(world: World, parameter: str = _parameter, content: Any = _content) -> list[str]:
            return [f"={parameter}", str(world.file("bad", content))]

    @mistake(_parameter, "no such file", "cannot be read", "no such file", "not", "have an id")
    def _(world: World, parameter: str = _parameter) -> list[str]:
        return [f"={parameter}", str(world.folder / "none")]

    @mistake(_parameter, "is a folder", "cannot be read", "not", "exists", "irectory", "have an id")
    def _(world: World, parameter: str = _parameter) -> list[str]:
        return [f"={parameter}", str(world.folder)]


WORDS = {
    "service": ["", "0x", "0x12", "hello", ID + "00", "0x" + "zz" * 32, "-1", "\x1b[31m", "9" * 5000],
    "identity": ["", "0x", "hello", "0x" + "zz" * 32, "9" * 5000, "0x12"],
    "operator": ["", "0x12", "hello", "0x" + "zz" * 20, "vitalik.eth", MISTYPED],
    "signer": ["", "0x12", "hello"],
    "to": ["", "0x12", "hello", MISTYPED],
    "ether": ["", "-1", "much", "nan", "inf", "1e99999999", "0.0000000000000000001", "1" * 60],
    "value": ["-1", "much", "nan", "inf", "1e99999999", "99999999"],
    "cap": ["-1", "much", "nan"],
    "grace_cap": ["-1", "much"],
    "id_": ["", "hello"],
    "older_than": ["0", "-1", "old"],
    "weeks": ["0", "521", "all"],
    "budget": ["-1", "much", "nan"],
    "seat": ["-1", "65536", "one"],
    "prompt": ["", " \n"],
    "words": ["", "yes"],
    "choice": ["", "yes"],
    "type_": ["integer 1", "integer 9 0", "date today", "number", "pattern (?=a)a", "schema /nowhere", "address of me"],
    "low": ["", "1e5", "0x10", "101", "9" * 80, "one"],
    "high": ["", "1.5", "-1", "9" * 80],
    "first": ["", "1969-12-31", "2026-02-30", "2027-01-01", "31.1.2026"],
    "last": ["", "2025-12-31", "9999-99-99", "today"],
    "regex": ["", "(", "(?i)yes", "a*?", "^a$", "(a)\\1", "((a{0,99}){0,99}){0,99}"],
    "schema_file": ["/nowhere", "/", "/etc/hostname"],
    "weight": ["0", "256", "heavy"],
    "margin": ["-1", "nan", "inf", "much"],
    "temperature": ["-1", "101", "nan", "hot"],
    "max_tokens": ["0", "-1", "many", "99999999999"],
    "size": ["0", "-1", "big", "9" * 80],
    "turn": ["-1", "one"],
    "threads": ["0", "many"],
    "gas": ["0", "lots", "9" * 80],
    "callback_gas": ["-1", "much", "9" * 80],
    "callback_gas_price": ["-1", "nan", "inf", "dear"],
    "deadline": ["0", "99999999999", "soon"],
    "measurement": ["0x12"],
    "platform": ["0x12"],
    "port": ["-1", "65536", "http"],
    "block_time": ["0", "61"],
    "nodes": ["1", "11", "many"],
    "mode": ["magic"],
    "kind": ["truffle"],
    "at": ["-1", "now"],
    "began": ["now"],
    "advisory": ["many"],
    "evaluation": ["-1", "65536", "newest"],
    "grace_days": ["-1", "long", "nan", "inf"],
    "since": ["-1", "now"],
    "context": ["1", "long"],
    "sha256": ["12", "hello"],
}
for _parameter, _words in WORDS.items():
    for _word in _words:

        @mistake(_parameter, f"is {_word[:20]!r}")
        def _(world: World, parameter: str = _parameter, word: str = _word) -> list[str]:
            return [f"={parameter}", word]


HARMLESS = {
    "as_csv": "a switch",
    "as_json": "a switch",
    "dry_run": "a switch",
    "dev": "a switch",
    "dev_root": "a switch",
    "post": "a switch",
    "private": "a switch",
    "liar": "a switch",
    "configuration": "a switch",
    "panel": "a switch",
    "short": "a switch",
    "space": "a switch",
    "dispute_keystore": "a switch, of `node init`",
    "name": "any text does",
    "prefix": "any text does",
    "suffix": "any text does",
    "system": "any text does",
    "after": "any text does",
    "text": "any text does",
    "stop": "tried with models, in test_models_store",
    "state": "another state finds nothing",
    "leave_with": "tried in tests/e2e/test_tee.py",
    "reply": "tried in tests/e2e/test_inference.py",
    "url": "tried in test_tee_cli",
    "node": "tried in tests/fleet/test_hostile.py",
    "worker": "tried in tests/fleet/test_hostile.py",
    "gpu": "any text does: CUDA says what it knows",
    "grace": "any number does",
    "tolerance": "another one has other workers",
    "out": "a file to write",
    "picture": "a file to write",
    "folder": "tried in test_dev",
    "fork": "tried in test_dev",
    "command": "tried in test_dev",
    "data_dir": "a folder to write",
    "withdraw_to": "tried in test_node_init",
}
ELSEWHERE = {
    ("dev", "model"): "a whole network would start first: tried in test_dev",
    ("node init", "rpc_url"): "nobody need answer yet; what is no URL is tried in test_node_init",
    ("node init", "keystore"): "a switch",
    ("node init", "config"): "a file to write",
    ("node init", "deployment", "none runs"): "it asks for one",
    ("node run", "config", "nobody answers"): "it waits for the chain, and says so in its log",
    ("keys new", "path"): "a file to write",
    ("keys new", "password_file"): "a file to write",
    ("tee verify", "rpc_url"): "tried in test_tee_cli",
    ("tee verify", "service"): "has none",
    ("model list", "store"): "a file holds no models, and none are listed",
    ("ask", "store"): "needs a service",
    ("ask", "max_tokens"): "needs a service",
}


def test_tree__every_parameter__has_a_mistake_here_or_a_reason():
    known = set(MISTAKES) | set(HARMLESS)
    assert {each for parameters in PARAMETERS.values() for each in parameters} == known


def line(world: World, command: str, parameter: str, extra: list[str]) -> list[str]:
    """The command's line with a mistake in it."""
    words = [word.format(folder=world.folder) for word in LINES[command]]
    parameters = PARAMETERS[command]
    if extra and extra[0].startswith("="):
        wrong, value = parameters[extra[0][1:]], extra[1]
        if wrong.param_type_name == "argument":
            position = [p.name for p in parameters.values() if p.param_type_name == "argument"].index(wrong.name)
            options = ["--", *words[:position], value, *words[position + 1 :]]
            words, extra = [], [*defaults(world, parameters), *options]
            return [*command.split(), *words, *extra]
        extra = [wrong.opts[0], value, *defaults(world, parameters)]
    elif parameter == "rpc_url":
        extra = [*defaults(world, parameters), *extra]
    return [*command.split(), *words, *extra]


def defaults(world: World, parameters: dict[str, Any]) -> list[str]:
    """Where to find the chain, and who sends."""
    found = with_deployment(world) if "deployment" in parameters else []
    if "password_file" in parameters and "keystore" in parameters:
        found += ["--keystore", str(world.folder / "cold.json"), "--password-file", str(world.folder / "password")]
    return found


CASES = [
    (command, parameter, name)
    for command, parameters in PARAMETERS.items()
    for parameter in parameters
    for name in MISTAKES.get(parameter, {})
    if (command, parameter) not in ELSEWHERE and (command, parameter, name) not in ELSEWHERE
]


@pytest.mark.parametrize(("command", "parameter", "name"), CASES)
def test_u5_mistake__one_line_that_says_what_to_do(world, command, parameter, name):
    spoil, says = MISTAKES[parameter][name]
    words = line(world, command, parameter, spoil(world))
    if "as_json" in PARAMETERS[command]:
        words.insert(len(command.split()), "--json")
    done = CliRunner().invoke(app, words, input="")
    shown = f"{' '.join(words)[:500]}\n{done.output}"
    assert done.exception is None or isinstance(done.exception, SystemExit), shown
    assert "Traceback" not in done.output, shown
    assert len(done.stderr.splitlines()) <= (2 if done.exit_code == 1 else 12), shown
    assert re.search(r"\b0x[0-9a-f]{8}\b", done.output) is None, shown
    assert all(each.isprintable() or each == "\n" for each in done.output), shown
    if (method := ENDPOINTS.get(name, ([("*",)],))[0][0][0]) != "*" and not world.proxy.calls[method]:
        return  # the command has no use for what would have been wrong
    assert done.exit_code in (1, 2, *([4] if command == "verify" else [])), shown  # 4: not checkable
    if "as_json" in PARAMETERS[command]:
        assert not done.stdout.strip() or json.loads(done.stdout), shown
    if says and done.exit_code == 1:
        assert any(each in done.output for each in says), shown
