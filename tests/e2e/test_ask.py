"""`didyma ask` against real contracts: what cannot be asked is refused in one line, and nothing is sent."""

import json
from pathlib import Path

import pytest
from e2e.world import ETHER, World
from eth_account import Account
from typer.testing import CliRunner

from oracle.cli import app
from oracle.cli.connection import Network, Wallet
from oracle.cli.report import reported
from oracle.client import Step, devnet
from oracle.ids import ServiceId


@pytest.fixture
def ask(earth: World, tmp_path: Path):
    """Asks; blocks come by themselves."""
    Network(earth.deployment, earth.chain.url).save(tmp_path / "deployment.json")
    earth.chain.rpc("evm_setAutomine", True)
    earth.chain.rpc("anvil_setBalance", devnet.account(devnet.ASKER).address, hex(100 * ETHER))

    def run(*words: object):
        where = ["--deployment", str(tmp_path / "deployment.json")]
        return CliRunner().invoke(app, ["ask", *where, *map(str, words)])

    yield run
    earth.chain.rpc("evm_setAutomine", False)


def sent(earth: World) -> int:
    return earth.chain.transactions(devnet.account(devnet.ASKER).address)


IMPOSSIBLE = {
    "prompt too long": (["a" * 5000], ["the prompt has 5,001 bytes, the service takes"]),
    "empty prompt": ([""], ["the prompt is empty"]),
    "blank prompt": ([" \n\t"], ["the prompt is empty"]),
    "unknown service": (["Hello?", "--service", "0x" + "ab" * 32], ["no service", "didyma service list"]),
    "malformed service": (["Hello?", "--service", "0x12"], ["is not an id"]),
    "too many tokens": (["Hello?", "--max-tokens", 1 << 20], ["--max-tokens 1,048,576: the service gives at most"]),
    "late deadline": (
        ["Hello?", "--deadline", 1 << 31],
        ["DeadlineOutOfRange(", "latest=", "between the two"],
    ),
    "too much at stake": (["Hello?", "--value", 99_999_999], ["at most 16,777.2 ether"]),
    "half a wei at stake": (["Hello?", "--value", "1e-19"], ["is not an amount of ether"]),
    "private, without TEEs": (["Hello?", "--private"], ["no key inside a TEE is admitted"]),
    "platform alone": (["Hello?", "--private", "--platform", "0x" + "ab" * 32], ["--measurement"]),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_u5_ask__impossible__one_line_that_says_what_to_do_and_nothing_sent(earth, ask, name):
    words, says = IMPOSSIBLE[name]
    before = sent(earth)
    done = ask(*words)
    assert done.exit_code == 1, done.output
    assert len(done.output.splitlines()) == 1, done.output
    for each in says:
        assert each in done.output
    assert sent(earth) == before


def test_u5_ask__payer_without_ether__says_what_to_do(earth, ask, tmp_path):
    (tmp_path / "poor.json").write_text(
        json.dumps(Account.encrypt("0x" + "77" * 32, "word", kdf="pbkdf2", iterations=1))
    )
    (tmp_path / "password").write_text("word\n")
    done = ask("Hello?", "--keystore", tmp_path / "poor.json", "--password-file", tmp_path / "password")
    assert done.exit_code == 1, done.output
    assert len(done.output.splitlines()) == 1, done.output
    assert "send the account ether" in done.output


def test_u5_wallet__wrong_fee__is_named_with_both_amounts(earth, ask, tmp_path, capsys):
    network = Network.find(tmp_path / "deployment.json", None)
    wallet = Wallet(network, network.client(devnet.account(devnet.ASKER)), dry_run=False)
    params = wallet.client.params(8)
    fee_wei, *_ = wallet.client.oracle.functions.quote(earth.service, 6, params).call()
    with pytest.raises(BaseException, match="1"), reported():
        wallet.send(wallet.client.oracle.functions.request(ServiceId(earth.service), b"Hello?", params), fee_wei - 1)
    said = capsys.readouterr().err
    assert f"WrongFee(expectedWei={fee_wei}, givenWei={fee_wei - 1})" in said
    assert "quote" in said


def test_ask__nobody_answers__says_so_and_ends_with_1(earth, ask, monkeypatch):
    def refunded(_client, asked, block, **_rest) -> None:
        asked.steps.append(Step("RequestRefunded", {}, block + 700, "0x", 40_000))

    monkeypatch.setattr("oracle.cli.ask._follow", refunded)
    done = ask("Hello?", "--json")
    assert done.exit_code == 1, done.output
    told = json.loads(done.stdout)
    assert (told["final"], told["answer"]) == (False, None)
    assert "nobody answered" in told["outcome"]
    assert told["fee_wei"] > 0
