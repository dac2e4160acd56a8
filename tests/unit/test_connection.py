"""One way to a chain: which deployment a command means, and what it says when the endpoint misbehaves."""

import base64
import contextlib
import gzip
import http.server
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr
from rig.anvil import ROOT, Anvil, anvil, free_port
from rig.stack import make_rpc
from typer.testing import CliRunner
from web3 import Web3
from web3.exceptions import ContractLogicError, Web3ValidationError

from oracle.chain import refusals
from oracle.chain.connect import Endpoint, connect
from oracle.chain.deployment import Deployment, artifact, artifact_names
from oracle.chain.rpc import Rpc
from oracle.chain.rpc_errors import MOST_REPLY_BYTES, MOST_WORDS, quoted, refusal_of
from oracle.cli import app, connection
from oracle.cli.connection import Network
from oracle.client import OracleClient, devnet
from oracle.errors import CallReverted, Refused, RpcRefused, RpcUnavailable

DEPLOYMENT = Deployment(31337, 1, *("0x" + digits * 20 for digits in ("11", "22", "33", "44", "55")))
PAGE = "<html><script>var a = 1</script><h1>Just a moment...</h1></html>"
QUOTA = json.dumps({"jsonrpc": "2.0", "error": {"code": -32005, "message": "daily request count exceeded"}})

TROUBLES = [
    # scripted, what is said: method, status or code, words; and what to do
    ("status", (429, "Too many requests"), ["HTTP status 429", '"Too many requests"', "limits requests"]),
    ("status", (429, QUOTA), ["HTTP status 429", "-32005 daily request count exceeded", "limits requests"]),
    ("status", (401, '{"message": "invalid project"}'), ["HTTP status 401", "invalid project", "credential"]),
    ("status", (502, PAGE), ["HTTP status 502", '"Just a moment..."', "in trouble"]),
    ("error", {"code": -32602, "message": "block range too large"}, ["error -32602", '"block range too large"']),
    ("error", {"code": "x", "message": "odd"}, ["error 0", '"odd"', "another endpoint"]),
    ("error", "odd", ["a reply that is not JSON-RPC"]),
    ("html", None, ["a reply that is not JSON", '"Just a moment..."', "not an Ethereum node"]),
    ("truncate", None, ["a reply that is not JSON"]),
    ("drop", None, ["no connection, or it broke", "check that the node runs"]),
]


@pytest.fixture(scope="module")
def chain() -> Iterator[Anvil]:
    with anvil() as running:
        running.mine(2)
        yield running


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A machine on which no `didyma dev` runs yet."""
    for name in ("DIDYMA_RPC_URLS", "DIDYMA_DEPLOYMENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def in_no_hurry(monkeypatch):
    monkeypatch.setattr("oracle.chain.connect.PAUSES_SECONDS", (0.0, 0.0))


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


# -- N9: what endpoints say ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "value", "says"), TROUBLES)
async def test_n9_reader__endpoint_in_trouble__is_told_by_number_method_code_and_words(chain, proxy, kind, value, says):
    proxy.script("eth_getBlockByNumber", kind, value)
    rpc = make_rpc(proxy.url, rounds=1)
    with pytest.raises(RpcUnavailable) as caught:
        await rpc.head()
    for words in ["endpoint 0: eth_getBlockByNumber", *says]:
        assert words in str(caught.value)
    assert rpc.health()[0].said in str(caught.value)
    await rpc.close()


async def test_n9_reader__two_endpoints_in_trouble__tells_both(proxy):
    proxy.script("*", "status", (429, "slow down"))
    rpc = make_rpc(f"http://127.0.0.1:{free_port()}", proxy.url, rounds=1)
    with pytest.raises(RpcUnavailable, match=r"endpoint 0: .*no connection.*; endpoint 1: .*429, .slow down"):
        await rpc.block(1)
    await rpc.close()


@pytest.mark.parametrize(("kind", "value", "says"), TROUBLES)
def test_n9_commands__endpoint_in_trouble__one_line_with_method_code_and_words(home, proxy, kind, value, says):
    proxy.script("eth_chainId", kind, value)
    Network(DEPLOYMENT, proxy.url).save(home / "there.json")
    status, output = run("service", "list", "--deployment", home / "there.json")
    assert status == 1
    assert len(output.splitlines()) == 1
    for words in ["the RPC endpoint fails at eth_chainId", *says]:
        assert words in output


MALFORMED = [
    ("eth_chainId", "soon"),
    ("eth_chainId", []),
    ("eth_chainId", None),
    ("eth_blockNumber", {}),
    ("eth_getLogs", {"a": 1}),
    ("eth_getLogs", [{"topics": 7}]),
    ("eth_getLogs", None),
    ("eth_getBlockByNumber", "0x"),
    ("eth_getBlockByNumber", {"number": "soon"}),
    ("eth_call", 7),
    ("eth_call", "0xzz"),
    ("eth_gasPrice", "0x" + "z"),
    ("eth_gasPrice", "0x1" + "0" * 64),
    ("eth_chainId", "0x" + "f" * 10_000),  # too long for Python to print
    ("eth_getLogs", [{"blockNumber": "0x" + "f" * 10_000}]),
    ("eth_getBlockByNumber", {}),
    ("eth_getBlockByNumber", {"number": "0x1", "timestamp": None}),
    ("eth_getBlockByNumber", {"number": "0x1", "timestamp": "0x" + "f" * 10_000}),
    ("eth_getTransactionReceipt", {"status": "0x1"}),
    ("eth_getTransactionByHash", {"hash": "0x" + "11" * 32}),
]


@pytest.mark.parametrize(("method", "result"), MALFORMED)
def test_n9_commands__result_that_makes_no_sense__is_trouble(proxy, method, result):
    proxy.script(method, "result", result)
    eth = connect(proxy.url).eth
    asks = {
        "eth_chainId": lambda: eth.chain_id,
        "eth_blockNumber": lambda: eth.block_number,
        "eth_getLogs": lambda: eth.get_logs({}),
        "eth_getBlockByNumber": lambda: eth.get_block("latest"),
        "eth_call": lambda: eth.call({"to": DEPLOYMENT.oracle}),
        "eth_gasPrice": lambda: eth.gas_price,
        "eth_getTransactionReceipt": lambda: eth.get_transaction_receipt("0x" + "11" * 32),
        "eth_getTransactionByHash": lambda: eth.get_transaction("0x" + "11" * 32),
    }
    with pytest.raises(RpcUnavailable, match=rf"{method}: a reply that makes no sense"):
        asks[method]()


def test_n9_commands__contract_sends_us_to_its_own_url__we_do_not_go(proxy):
    lookup = Web3.keccak(text="OffchainLookup(address,string[],bytes,bytes4,bytes)")[:4].hex()
    proxy.script("eth_call", "error", {"code": 3, "message": "execution reverted", "data": "0x" + lookup + "00" * 160})
    with pytest.raises(CallReverted, match="does not know"):
        connect(proxy.url).eth.call({"to": DEPLOYMENT.oracle, "data": "0x01"})


def test_n9_commands__panic_of_an_unknown_kind__is_a_refusal(proxy):
    proxy.script("eth_call", "error", {"code": 3, "message": "execution reverted", "data": "0x4e487b71" + "ee" * 32})
    with pytest.raises(CallReverted, match=r"Panic\(code="):
        connect(proxy.url).eth.call({"to": DEPLOYMENT.oracle, "data": "0x01"})


def test_n9_commands__silent_endpoint__gives_up_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        w3 = connect(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_seconds=0.2)
        with pytest.raises(RpcUnavailable, match="no reply in time: something listens there but says nothing"):
            w3.eth.chain_id  # noqa: B018


@contextlib.contextmanager
def sending(head: bytes, pieces: Callable[[], Iterator[bytes]]) -> Iterator[str]:
    """The URL of an endpoint that sends this, whatever it is asked, until the pieces end or nobody listens."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with contextlib.suppress(OSError):
                self.rfile.read(int(self.headers["content-length"]))  # else closing resets the connection
                self.wfile.write(head + b"\r\n\r\n")
                for piece in pieces():
                    self.wfile.write(piece)

        def log_message(self, *_args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def drip() -> Iterator[bytes]:
    for _ in range(100):
        time.sleep(0.05)
        yield b" "


def zeros(size: int) -> Callable[[], Iterator[bytes]]:
    return lambda: (b"0" * 65_536 for _ in range(size // 65_536))


def test_n9_commands__reply_drips_for_ever__gives_up_in_time():
    with sending(b"HTTP/1.0 200 OK", drip) as url:
        began = time.monotonic()
        with pytest.raises(RpcUnavailable, match="eth_chainId: no reply in time"):
            connect(url, timeout_seconds=0.2).eth.chain_id  # noqa: B018
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("status", ["200 OK", "500 No"])
async def test_n9__reply_without_end__is_cut_off(monkeypatch, status):
    for module in ("connect", "endpoint"):
        monkeypatch.setattr(f"oracle.chain.{module}.MOST_REPLY_BYTES", 1 << 20)
    with sending(f"HTTP/1.0 {status}".encode(), zeros(1 << 30)) as url:
        with pytest.raises(RpcRefused, match=r"a reply of more than .* MiB: ask it for less"):
            connect(url).eth.chain_id  # noqa: B018
        rpc = make_rpc(url, rounds=1)
        with pytest.raises(RpcUnavailable, match=r"more than .* MiB" if status == "200 OK" else "status 500"):
            await rpc.head()
        await rpc.close()


def test_n9_commands__packed_reply_that_unpacks_without_end__is_cut_off():
    packed = gzip.compress(b" " * (MOST_REPLY_BYTES + 1), 1)
    head = b"HTTP/1.0 200 OK\r\ncontent-encoding: gzip"
    with sending(head, lambda: iter([packed])) as url, pytest.raises(RpcRefused, match="a reply of more than"):
        connect(url).eth.chain_id  # noqa: B018


@pytest.mark.parametrize("page", ["<", "<script", "<a "])
def test_n9__page_of_open_tags__is_read_at_once(page):
    began = time.monotonic()
    refusal_of(page.encode() * 1_000_000)
    assert time.monotonic() - began < 2


async def test_n9__endpoint_sends_us_to_another_url__we_do_not_go(proxy):
    with sending(f"HTTP/1.0 307 Go\r\nlocation: {proxy.url}".encode(), lambda: iter([b""])) as url:
        with pytest.raises(RpcUnavailable, match=r"HTTP status 307.*name that one"):
            connect(url).eth.chain_id  # noqa: B018
        rpc = make_rpc(url, rounds=1)
        with pytest.raises(RpcUnavailable, match="HTTP status 307"):
            await rpc.head()
        await rpc.close()
    assert not proxy.calls


def test_n9_commands__endpoint_changes_its_chain_id__nothing_is_signed_for_that_chain(proxy):
    client = OracleClient(connect(proxy.url), DEPLOYMENT, devnet.account(devnet.ASKER))
    proxy.script("eth_chainId", "result", "0x1")
    with pytest.raises(Web3ValidationError, match="31337"):
        client.send(client.oracle.functions.withdraw(client.address, 1))
    assert proxy.calls["eth_sendRawTransaction"] == 0


def test_n9_commands__busy_endpoint_recovers__is_asked_again(proxy):
    proxy.script("*", "status", 429, times=2)
    assert connect(proxy.url).eth.chain_id == 31337


def test_n9_commands__busy_endpoint__gets_no_transaction_twice(proxy):
    proxy.script("eth_sendRawTransaction", "status", 429)
    with pytest.raises(RpcUnavailable):
        connect(proxy.url).eth.send_raw_transaction(b"\x02raw")
    assert proxy.calls["eth_sendRawTransaction"] == 1


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8545", "http://", "http://[::1", "nonsense", "http://a..b"])
def test_n9_commands__not_a_url__says_how_one_looks(home, url):
    DEPLOYMENT.save(home / "there.json")
    status, output = run("service", "list", "--deployment", home / "there.json", "--rpc-url", url)
    assert status == 1
    assert "http://HOST:PORT" in output


@pytest.mark.parametrize("proxy", ["http://me:s3cr3t@127.0.0.1:{port}", "http://", "socks5://127.0.0.1:{port}"])
def test_n9_commands__proxy_of_the_environment_fails__is_named_and_not_shown(home, monkeypatch, proxy):
    monkeypatch.setenv("https_proxy", proxy.format(port=free_port()))
    DEPLOYMENT.save(home / "there.json")
    status, output = run(
        "service", "list", "--deployment", home / "there.json", "--rpc-url", "https://rpc.invalid/key99"
    )
    assert status == 1
    assert "no way through the proxy: check HTTPS_PROXY" in output
    assert not re.search("s3cr3t|key99", output)


def test_n9_commands__account_without_ether__says_what_to_do(proxy):
    proxy.script("eth_sendRawTransaction", "error", {"code": -32003, "message": "Insufficient funds for gas"})
    with pytest.raises(RpcUnavailable, match="send the account ether"):
        connect(proxy.url).eth.send_raw_transaction(b"\x02raw")


async def test_n9__endpoint_repeats_our_secrets__they_are_not_shown(proxy, capsys, home):
    key, password = "s3cr3t-project-key", "pa%20ss"
    url = f"http://me:{password}@{proxy.url.removeprefix('http://')}/v3/{key}?token=abcdefgh"
    basic = base64.b64encode(b"me:pa ss").decode()
    told = f"{url} {key} {key.upper()} pa%20ss 'pa ss' abcdefgh {basic}"
    for kind, value in (("status", (403, told)), ("error", {"code": -32602, "message": told})):
        proxy.heal()
        proxy.script("*", kind, value)
        rpc = Rpc([SecretStr(url)], 31337, rounds=1)
        with pytest.raises(RpcUnavailable) as caught:
            await rpc.block(1)
        await rpc.close()
        DEPLOYMENT.save(home / "there.json")
        _, output = run("service", "list", "--deployment", home / "there.json", "--rpc-url", url)
        for text in (str(caught.value), repr(rpc.health()), output):
            assert "[...]" in text
            for secret in (key, password, "pa ss", "abcdefgh", basic, "127.0.0.1"):
                assert secret.lower() not in text.lower()


def test_n9_quoted__host_that_is_a_credential__is_not_shown():
    url = "https://frosty-silent-sky.node.example/0123456789abcdef/"
    said = quoted("frosty-silent-sky and frosty-silent-sky.node.example have no 0123456789ABCDEF", url)
    assert said == "[...] and [...] have no [...]"


def test_n9_quoted__page_of_control_characters__is_one_short_printable_line():
    said = quoted("\x1b[2J\r\n" + "a" * 10_000, "http://127.0.0.1:1")
    assert len(said) == MOST_WORDS
    assert said.startswith("\\x1b[2J aaa")
    assert said.isprintable()


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"result": ' + b"[" * 100_000, b"9" * 10_000, b"\xff", b"[]", b""])
async def test_n9__reply_made_to_break_parsers__is_trouble_like_any_other(proxy, monkeypatch, body):
    monkeypatch.setattr(proxy, "_answer", lambda *_: _reply(body))
    with pytest.raises(RpcUnavailable):
        connect(proxy.url).eth.chain_id  # noqa: B018
    rpc = make_rpc(proxy.url, rounds=1)
    with pytest.raises(RpcUnavailable):
        await rpc.head()
    await rpc.close()


async def _reply(body: bytes) -> tuple[int, bytes]:
    return 200, body


# -- N10: headers of proof of authority ----------------------------------------------------------------------------


def test_n10_connect__header_with_97_extra_bytes__is_read(chain, proxy):
    block = chain.rpc("eth_getBlockByNumber", "latest", False) | {"extraData": "0x" + "ab" * 97}
    proxy.script("eth_getBlockByNumber", "result", block)
    assert connect(proxy.url).eth.get_block("latest")["number"] == 2


def test_n10_package__reaches_chains_in_one_way():
    makers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "oracle").rglob("*.py")
        if re.search(r"\bHTTPProvider\b", path.read_text())
    }
    assert makers == {"oracle/chain/connect.py"}


# -- which deployment ----------------------------------------------------------------------------------------------


def test_network__no_dev_network__says_what_starts_one(home):
    with pytest.raises(Refused, match="didyma dev"):
        Network.find(None, None)


def test_network__dev_network_runs__is_found_with_its_endpoint_and_models(home):
    running = Network(DEPLOYMENT, "http://127.0.0.1:9999", home / "models")
    running.save(connection.dev_deployment())
    assert Network.find(None, None) == running


def test_network__deployment_is_named__its_file_tells_the_endpoint(home):
    Network(DEPLOYMENT, "http://127.0.0.1:9999").save(home / "there.json")
    assert Network.find(home / "there.json", None).rpc_url == "http://127.0.0.1:9999"
    assert Network.find(home / "there.json", "http://127.0.0.1:2").rpc_url == "http://127.0.0.1:2"
    DEPLOYMENT.save(home / "there.json")
    assert Network.find(home / "there.json", None).rpc_url == connection.LOCAL_RPC_URL


def test_network__environment__names_deployment_and_endpoints(home, chain, monkeypatch):
    chain.rpc("anvil_setCode", DEPLOYMENT.oracle, "0xfe")
    DEPLOYMENT.save(home / "there.json")
    monkeypatch.setenv("DIDYMA_DEPLOYMENT", str(home / "there.json"))
    monkeypatch.setenv("DIDYMA_RPC_URLS", f"{chain.url}, http://127.0.0.1:1")
    assert run("service", "list") == (0, "")


def test_network__endpoint_of_another_chain__says_which_and_what_to_do(home, proxy):
    proxy.script("eth_chainId", "result", "0x1")
    Network(DEPLOYMENT, proxy.url).save(connection.dev_deployment())
    status, output = run("service", "list")
    assert status == 1
    assert "serves chain 1, and the deployment is on chain 31337" in output
    assert "--deployment" in output


def test_network__its_endpoint__is_in_no_representation():
    assert "secret" not in repr(Network(DEPLOYMENT, "http://secret"))
    assert "secret" not in str(Endpoint("http://secret"))


# -- what contracts refuse with ------------------------------------------------------------------------------------


def _errors(*names: str) -> set[str]:
    return {entry["name"] for name in names for entry in artifact(name)["abi"] if entry["type"] == "error"}


def test_refusals__advice__is_about_errors_that_exist():
    assert set(refusals.ADVICE) - _errors(*artifact_names()) == set()


NO_COMMAND = {
    *("AnswerMismatch", "SeedMismatch", "NotYourTurn", "NotArbiter", "NoAttester", "OutputTooLong", "PayoutsTooLarge"),
    *("SlashTooLarge", "ReentrancyGuardReentrantCall"),
    *("AddressEmptyCode", "FailedCall", "SafeCastOverflowedUintDowncast"),
}
"""Errors that only nodes and arbiters cause; the last three nobody: `Seats` has code, and blocks are below 2^48."""


def test_refusals__errors_that_commands_can_cause__say_what_to_do():
    assert _errors("Oracle", "ModelRegistry") - set(refusals.ADVICE) == NO_COMMAND


def test_refusals__known_error__is_named_with_arguments_and_advice():
    data = connect("http://127.0.0.1:1").eth.contract(abi=artifact("Oracle")["abi"])
    selector = data.w3.keccak(text="WrongFee(uint256,uint256)")[:4]
    told = refusals.explain(selector + (7).to_bytes(32, "big") + (6).to_bytes(32, "big"))
    assert "WrongFee(expectedWei=7, givenWei=6)" in told
    assert refusals.ADVICE["WrongFee"] in told


@pytest.mark.parametrize("data", [b"\1\2\3\4", b"\1\2\3\4" * 9, b"\1"])
def test_refusals__unknown_error__asks_about_the_deployment(data):
    assert "deployment file" in refusals.explain(data)


def test_refusals__error_of_web3__carries_words_and_data():
    found = refusals.reverted(ContractLogicError("execution reverted: no", data=None))
    assert "(execution reverted: no)" in str(found)
    assert refusals.reverted(ContractLogicError("", data="0x01020304")).data == b"\1\2\3\4"
    assert refusals.reverted(ContractLogicError("", data="nonsense")).data == b""
