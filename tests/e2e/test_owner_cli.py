"""`didyma service` and `didyma seat` against a real chain: what they print, send and refuse."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from e2e.world import ACCOUNTS, ETHER, NODES, World
from eth_account import Account
from rig.anvil import ROOT
from typer.testing import CliRunner

from oracle.chain.services import GameTerms, PanelTerms
from oracle.cli import app
from oracle.client.devnet import add_model
from oracle.disputes import commitments
from oracle.engines.exact.device import Device
from oracle.engines.exact.engine import ExactEngine
from oracle.engines.exact.text_prompts import text_prompt
from oracle.errors import CallReverted
from oracle.merkle.tokens import ids_in
from oracle.models.files import ModelFile
from oracle.models.shipped import SHIPPED_MODEL
from oracle.models.store import ModelStore

OWNER = ACCOUNTS[8]
TERMS = """
model = "{model}"
bond_wei = 1000000000000000000
seat_wei = 2000000000000000000
miss_penalty_wei = 1
base_price_wei = 1
byte_price_wei = 1
token_price_wei = 1
max_prompt_bytes = 507
max_tokens = 256
turn_seconds = 120
window_seconds = 3600
lifetime_seconds = 3600
min_owners = {owners}
value_cap_wei = 1
[panel]
challenge_bond_wei = 100000000000000000
vote_fee_wei = 10000000000000000
absence_penalty_wei = 10000000000000000
commit_seconds = 600
reveal_seconds = 600
panel_size = 3
tolerance = 65536
"""


@pytest.fixture
def cli(earth: World, tmp_path: Path):
    """Runs a command as the owner, or as nobody; blocks come by themselves."""
    earth.deployment.save(tmp_path / "deployment.json")
    (tmp_path / "cold.json").write_text(json.dumps(Account.encrypt(OWNER.key, "word", kdf="pbkdf2", iterations=1000)))
    (tmp_path / "password").write_text("word\n")
    earth.chain.rpc("evm_setAutomine", True)

    def run(*words: object, key: bool = True):
        where = ["--rpc-url", earth.chain.url, "--deployment", tmp_path / "deployment.json"]
        who = ["--keystore", tmp_path / "cold.json", "--password-file", tmp_path / "password"] if key else []
        return CliRunner().invoke(app, [str(word) for word in (*words, *where, *who)])

    return run


GAME = """
[game]
challenge_bond_wei = 100000000000000000
opening_wei = 9000000000000000
clock_seconds = 3600
move_seconds = 300
first_move_seconds = 600
queue_seconds = 126
ceiling_percent = 200
"""


def test_model_register__then_a_service_that_the_game_judges__is_created_and_shown(earth, cli, tmp_path):
    """From a manifest without commitments to a service; registered twice, nothing is sent again."""
    store = tmp_path / "models"
    plain = add_model(store, SHIPPED_MODEL)
    done = cli("model", "register", plain.model_id.hex()[:12], "--store", store)
    assert done.exit_code == 0, done.output
    model = re.search(r"model +0x(\w{64})", done.output).group(1)
    assert model != plain.model_id.hex()
    assert len(re.findall(r"^(register|enroll) ", done.output, re.MULTILINE)) == 2
    committed = ModelStore(store).find(model)
    assert committed == add_model(tmp_path / "others", SHIPPED_MODEL, committed=True)
    assert commitments.kept(ModelStore(store).file(committed).path, committed.weights_root) is not None
    again = cli("model", "register", model[:12], "--store", store)
    assert again.exit_code == 0, again.output
    assert "register " not in again.output
    (tmp_path / "terms.toml").write_text(TERMS.format(model=model[:12], owners=2).split("[panel]")[0] + GAME)
    created = cli("service", "create", tmp_path / "terms.toml", "--store", store)
    assert created.exit_code == 0, created.output
    service = re.search(r"service +(0x\w{64})", created.output).group(1)
    assert "game.clock_seconds" in cli("service", "show", service, key=False).output


def test_service_create__model_that_the_referee_does_not_know__is_refused(earth, cli, tmp_path):
    plain = add_model(tmp_path / "models", SHIPPED_MODEL)
    terms = TERMS.format(model=plain.model_id.hex()[:12], owners=2).split("[panel]")[0] + GAME
    (tmp_path / "terms.toml").write_text(terms)
    done = cli("service", "create", tmp_path / "terms.toml", "--store", tmp_path / "models")
    assert_refused(done, "didyma model register")


def test_model_tokens__a_text__is_what_the_exact_engine_reads(tmp_path):
    manifest = add_model(tmp_path, SHIPPED_MODEL, committed=True)
    words = ["model", "tokens", manifest.model_id.hex()[:12], "The soup was cold.", "--store", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    path = ModelStore(tmp_path).file(manifest).path
    engine = ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", 1))
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    ids = ids_in(bytes.fromhex(done.output.strip()[2:])[1:])
    assert told == {"model": f"0x{manifest.model_id.hex()}", "prompt": done.output.strip(), "ids": list(ids)}
    assert [*manifest.prefix_tokens, *ids, *manifest.suffix_tokens] == engine.tokenize(
        text_prompt(b"The soup was cold.")
    )


def pass_time(earth: World, seconds: int) -> None:
    now = earth.client.w3.eth.get_block("latest")["timestamp"]
    earth.chain.rpc("evm_setNextBlockTimestamp", now + seconds)
    earth.chain.mine()


def assert_refused(done, says):
    assert done.exit_code == 1, done.output
    assert says in done.output.replace("\n", ""), done.output


@pytest.mark.parametrize("service", ["0x12", "zz", "0x" + "00" * 31])
def test_show__no_service_id__is_refused(cli, service):
    assert_refused(cli("service", "show", service, key=False), "is not an id")


def test_show__unknown_service__is_refused(cli):
    assert_refused(cli("service", "show", "0x" + "11" * 32, key=False), "didyma service list")


def test_join__no_key_and_no_dry_run__is_refused(earth, cli):
    assert_refused(cli("seat", "join", "0x" + earth.service.hex(), OWNER.address, key=False), "--dry-run")


def test_join__stake_below_the_least__is_refused_with_the_contract_s_reason(earth, cli):
    done = cli("seat", "join", "0x" + earth.service.hex(), OWNER.address, "--ether", "0.5")
    assert_refused(done, "DepositTooSmall")


@pytest.mark.parametrize("ether", ["-1", "much", "0.0000000000000000001"])
def test_join__no_amount__is_refused(earth, cli, ether):
    done = cli("seat", "join", "0x" + earth.service.hex(), OWNER.address, f"--ether={ether}")
    assert_refused(done, "not an amount")


def test_leave__somebody_else_s_seat__is_refused(earth, cli):
    assert_refused(cli("seat", "leave", "0x" + earth.service.hex(), 0), "NotSeatOwner")


def test_withdraw__no_credit__is_refused(cli):
    assert_refused(cli("withdraw", OWNER.address), "no credit")


@pytest.mark.parametrize("text", ["", "model = 1", "[panel]\npanel_size = 3", TERMS.replace("bond_wei", "bind_wei", 1)])
def test_create__file_that_holds_no_terms__is_refused(cli, tmp_path, text):
    (tmp_path / "terms.toml").write_text(text.format(model="0x", owners=5))
    done = cli("service", "create", tmp_path / "terms.toml", "--store", tmp_path / "models")
    assert done.exit_code == 1
    assert "Traceback" not in done.output


@pytest.mark.parametrize(("judged", "longest"), [("panel", 507), ("game", 507)])
def test_create__longest_prompt__is_said_and_what_may_not_fit_is_refused(earth, cli, tmp_path, judged, longest):
    """The shipped model's context is 512, its wrapper four tokens."""
    store = tmp_path / "models"
    manifest = add_model(store, SHIPPED_MODEL, committed=True)
    assert cli("model", "register", manifest.model_id.hex()[:12], "--store", store).exit_code == 0
    terms = TERMS.format(model=manifest.model_id.hex()[:12], owners=5)
    terms = terms if judged == "panel" else terms.split("[panel]")[0] + GAME
    for size in (longest + 1, longest):
        (tmp_path / "terms.toml").write_text(terms.replace("max_prompt_bytes = 507", f"max_prompt_bytes = {size}"))
        done = cli("service", "create", tmp_path / "terms.toml", "--store", store)
        if size > longest:
            assert_refused(done, f"the largest that fits is {longest:,}")
            if judged == "panel":
                own = {**earth.client.terms(earth.service), "model": manifest.model_id, "maxPromptBytes": size}
                with pytest.raises(CallReverted, match=r"PromptMayNotFit\(tokens=512, contextLength=512\)"):
                    earth.client.send(earth.client.oracle.functions.createService(tuple(own.values())))
        else:
            assert done.exit_code == 0, done.output
            assert f"at most {longest:,} bytes; up to {longest:,} would fit" in done.output


def test_create__terms_of_the_operators_page__make_a_service(earth, cli, tmp_path):
    manifest = add_model(tmp_path / "models", SHIPPED_MODEL)
    page, game, attested = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/operators.md").read_text(), re.DOTALL)[-3:]
    assert GameTerms(**tomllib.loads(game)["game"]).clock_seconds == 3600
    (tmp_path / "terms.toml").write_text(page.replace("0x…", "0x" + manifest.model_id.hex()[:12]))
    done = cli("service", "create", tmp_path / "terms.toml", "--store", tmp_path / "models")
    assert done.exit_code == 0, done.output
    made = done.output.rsplit(maxsplit=1)[-1]
    listed = cli("service", "list", key=False).output
    assert made in listed
    assert "0 of 0 seats are live" in listed
    assert "windowSeconds      3600" in cli("service", "show", made, key=False).output

    guardian, listed = attested.replace("0x…", OWNER.address, 1), "0x" + "11" * 32
    (tmp_path / "terms.toml").write_text((tmp_path / "terms.toml").read_text() + guardian.replace("0x…", listed))
    done = cli("service", "create", tmp_path / "terms.toml", "--store", tmp_path / "models")
    assert_refused(done, "keys inside TEEs vouch for the exact engine")
    exact = (tmp_path / "terms.toml").read_text().replace("tolerance = 65536", "tolerance = 0")
    (tmp_path / "terms.toml").write_text(exact)
    done = cli("service", "create", tmp_path / "terms.toml", "--store", tmp_path / "models")
    assert done.exit_code == 0, done.output
    shown = cli("service", "show", done.output.rsplit(maxsplit=1)[-1], key=False).output
    assert f"attested.guardian          {OWNER.address}" in shown
    assert f"attested.measurements      {listed}" in shown


def test_list_and_show__the_service__has_its_terms_and_seats(earth, cli):
    service = "0x" + earth.service.hex()
    listed = cli("service", "list", key=False).output
    assert service in listed
    assert "5 of 5 seats are live" in listed
    shown = cli("service", "show", service, key=False).output
    assert "panel.panel_size" in shown
    assert NODES[4].address in shown


def test_join__dry_run__prints_the_transaction_and_sends_nothing(earth, cli):
    done = cli("seat", "join", "0x" + earth.service.hex(), OWNER.address, "--dry-run", key=False)
    assert f"value      {2 * ETHER}" in done.output
    assert earth.client.oracle.functions.counts(earth.service).call()[0] == 5


def test_seat__from_join_to_withdrawal__stake_comes_back(earth, cli):
    service = "0x" + earth.service.hex()
    assert cli("seat", "join", service, NODES[0].address).exit_code == 0
    assert list(earth.seat(5))[:3] == [OWNER.address, NODES[0].address, 2 * ETHER]
    assert cli("seat", "top-up", service, 5, "0.5").exit_code == 0
    assert cli("seat", "operator", service, 5, NODES[1].address).exit_code == 0
    assert list(earth.seat(5))[1:3] == [NODES[1].address, 5 * ETHER // 2]
    pass_time(earth, 601)
    earth.act(NODES[0], "activate", earth.service, 5)
    earth.chain.rpc("evm_setAutomine", True)
    assert "then leave again" in cli("seat", "leave", service, 5).output
    pass_time(earth, 10 * 3600)
    assert cli("seat", "leave", service, 5).exit_code == 0
    before = earth.chain.balance(ACCOUNTS[7].address)
    assert cli("withdraw", ACCOUNTS[7].address).exit_code == 0
    assert earth.chain.balance(ACCOUNTS[7].address) == before + 5 * ETHER // 2
    assert earth.client.oracle.functions.credit(OWNER.address).call() == 0


def test_init__chain_answers__says_what_to_fund_from_the_services_terms(cli, earth, tmp_path):
    """Every key its gas, the one that challenges the bond of a challenge too, the cold key the stake of a seat."""
    words = ["node", "init", "--config", tmp_path / "node" / "didyma.toml", "--service", f"0x{earth.service.hex()}"]
    done = cli(*words, "--data-dir", tmp_path / "data", "--dispute-keystore", "--json", key=False)
    assert done.exit_code == 0, done.output
    terms = earth.client.terms(earth.service)
    bond_wei = PanelTerms.decoded(terms["arbiterTerms"]).challenge_bond_wei
    assert bond_wei > 0
    funds = {need["whom"]: need["least_wei"] for need in json.loads(done.stdout)["funds"]}
    reserve_wei = 10**16
    assert funds == {
        "operator key": 2 * reserve_wei,
        "dispute key": 2 * reserve_wei + bond_wei,
        "cold key": terms["seatWei"],
    }
