"""The command line: what it does with bad input. One line that says what to do, exit status 1, nothing changed."""

import io
import json
import stat
import sys
import time

import pytest
from rich.console import Console
from typer.testing import CliRunner

from oracle.cli import app, ask, main
from oracle.cli.report import waiting
from oracle.client import Step
from oracle.errors import RpcUnavailable
from oracle.ids import RequestId, ServiceId

ADDRESSES = {
    "chain_id": 31337,
    "block": 1,
    "registry": "0x" + "11" * 20,
    "oracle": "0x" + "22" * 20,
    "seats": "0x" + "44" * 20,
    "lens": "0x" + "55" * 20,
    "panel": "0x" + "33" * 20,
}
SERVICE = "0x" + "ab" * 32


@pytest.fixture
def cli():
    def run(*words, **more):
        return CliRunner().invoke(app, [str(word) for word in words], **more)

    return run


@pytest.fixture
def deployment(tmp_path):
    path = tmp_path / "deployment.json"
    path.write_text(json.dumps(ADDRESSES))
    return path


@pytest.fixture
def config(cli, tmp_path, deployment):
    """Settings as `init` writes them."""
    path = tmp_path / "node" / "didyma.toml"
    done = cli(
        "node", "init", "--config", path, "--rpc-url", "http://127.0.0.1:1", "--deployment", deployment,
        "--service", SERVICE, "--data-dir", tmp_path / "data",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return path


def assert_refused(done, *says):
    assert done.exit_code == 1, done.output
    assert "Traceback" not in done.output
    for words in says:
        assert words in done.output.replace("\n", ""), done.output


@pytest.mark.parametrize("command", ["check", "run", "jobs", "report", "withdraw", "rebuild", "prune"])
def test_node__settings_file_missing__says_what_writes_one(cli, tmp_path, command):
    assert_refused(cli("node", command, "--config", tmp_path / "none.toml"), "didyma node init")


def test_node__unknown_setting__is_refused_by_name(cli, config):
    config.write_text(config.read_text() + 'colour = "red"\n')
    assert_refused(cli("node", "check", "--config", config), "colour")


def test_init__settings_exist__are_not_overwritten(cli, config):
    before = config.read_text()
    assert_refused(cli("node", "init", "--config", config), "not overwritten")
    assert config.read_text() == before


def test_init__deployment_file_is_none__writes_nothing(cli, tmp_path):
    bad = tmp_path / "deployment.json"
    bad.write_text("{}")
    done = cli("node", "init", "--config", tmp_path / "a.toml", "--rpc-url", "http://x", "--deployment", bad)
    assert_refused(done, "deployment")
    assert not (tmp_path / "a.toml").exists()
    assert not list(tmp_path.glob("*.password"))


def test_init__done__keys_and_passwords_are_private(cli, config):
    for name in ("operator.json", "operator.password", "didyma.toml"):
        assert stat.S_IMODE((config.parent / name).stat().st_mode) == 0o600, name


def test_init__chain_does_not_answer__says_what_gas_needs_and_what_is_not_known(cli, tmp_path, deployment):
    done = cli(
        "node", "init", "--config", tmp_path / "a.toml", "--rpc-url", "http://127.0.0.1:1", "--deployment", deployment,
        "--service", SERVICE, "--dispute-keystore",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "operator key: 0.02 ether or more, for gas" in done.output
    assert "dispute key: 0.02 ether or more, for gas" in done.output
    assert "not known (RpcUnavailable): didyma service show SERVICE" in done.output


def test_init__json__asks_aside_and_names_what_it_wrote(cli, tmp_path, deployment):
    path = tmp_path / "node" / "didyma.toml"
    words = ["node", "init", "--json", "--config", path, "--deployment", deployment, "--data-dir", tmp_path / "data"]
    done = cli(*words, input=f"http://127.0.0.1:1\n{SERVICE}\n\n")
    assert done.exit_code == 0, done.output
    assert "Services:" in done.stderr
    assert "Services" not in done.stdout
    told = json.loads(done.stdout[done.stdout.index("{") :])  # before it, the runner echoes what is typed
    assert told["funds"] == [{"whom": "operator key", "least_wei": 2 * 10**16, "what": "for gas"}]
    assert (told["settings"], told["services"], list(told["keys"])) == (str(path), [SERVICE], ["operator"])
    key = told["keys"]["operator"]
    checked = cli("keys", "check", key["keystore"], "--password-file", key["password_file"])
    assert checked.output.strip() == key["address"]


def test_jobs__journal_not_made_yet__says_so(cli, config):
    done = cli("node", "jobs", "--config", config)
    assert done.exit_code in (0, 1)
    assert "Traceback" not in done.output


def test_withdraw__no_cold_address__is_refused(cli, config):
    assert_refused(cli("node", "withdraw", "--config", config), "withdraw_to")


def test_keys_new__file_exists__is_not_overwritten(cli, tmp_path):
    path = tmp_path / "key.json"
    path.write_text("precious")
    assert_refused(cli("keys", "new", path), "not overwritten")
    assert path.read_text() == "precious"


def test_keys_new__short_password__is_refused(cli, tmp_path):
    assert_refused(cli("keys", "new", tmp_path / "key.json", input="short\nshort\n"), "8 characters")


def test_keys__made_with_a_password_file__checks_and_shows_its_address(cli, tmp_path):
    path, password = tmp_path / "key.json", tmp_path / "password"
    made = cli("keys", "new", path, "--password-file", password)
    address = made.output.strip()
    assert address.startswith("0x")
    assert len(address) == 42
    assert cli("keys", "address", path).output.strip().lower() == address.lower()
    assert cli("keys", "check", path, "--password-file", password).output.strip() == address
    password.write_text("another one\n")
    assert_refused(cli("keys", "check", path, "--password-file", password), "password")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"address": "0x12"}'])
def test_keys_address__no_keystore__is_refused(cli, tmp_path, text):
    path = tmp_path / "key.json"
    path.write_text(text)
    assert_refused(cli("keys", "address", path), "not a keystore")


def test_ask__no_chain__says_what_starts_one(cli, deployment):
    done = cli("ask", "Hello?", "--rpc-url", "http://127.0.0.1:1", "--deployment", deployment)
    assert_refused(done, "didyma dev")


def test_ask__plain_prompt_left_with_a_node__is_refused(cli, deployment):
    done = cli("ask", "Hello?", "--leave-with", "http://127.0.0.1:1", "--deployment", deployment)
    assert_refused(done, "--private")


def test_ask__machines_without_builds__are_refused(cli, deployment):
    done = cli("ask", "Hello?", "--private", "--platform", SERVICE, "--deployment", deployment)
    assert_refused(done, "--measurement")


def test_model_add__no_such_file__is_refused(cli, tmp_path):
    assert_refused(cli("model", "add", tmp_path / "none.gguf", "--store", tmp_path / "store"))


def test_help__every_command__explains_itself(cli):
    for words in (("node",), ("keys",), ("model",), ("dev",), ("ask",)):
        done = cli(*words, "--help")
        assert done.exit_code == 0
        assert "Usage" in done.output


class Flaky:
    """A client whose endpoint fails at these calls."""

    def __init__(self, failing):
        self.calls, self.failing = 0, failing

    def follow(self, _request, _block):
        self.calls += 1
        yield Step("RequestPosted", {}, 1, "0xaa", 1)
        if self.calls in self.failing:
            raise RpcUnavailable("no connection")
        yield Step("RequestFinalized", {}, 2, "0xbb", 1)


def test_ask__endpoint_fails_while_a_request_is_followed__goes_on_and_shows_each_step_once(monkeypatch, capsys):
    monkeypatch.setattr(ask, "PAUSE_SECONDS", 0)
    asked = ask.Asked(RequestId(7), ServiceId(bytes(32)), 1, None, None, 0.0)
    ask._follow(Flaky({1, 2}), asked, 0, quiet=False)
    assert [step.name for step in asked.steps] == ["RequestPosted", "RequestFinalized"]
    assert capsys.readouterr().out.count("RequestPosted") == 1


def test_ask__endpoint_stays_away__says_where_the_request_can_be_looked_at(monkeypatch):
    monkeypatch.setattr(ask, "PAUSE_SECONDS", 0)

    class Gone(Flaky):
        def follow(self, _request, _block):
            raise RpcUnavailable("no connection")
            yield

    asked = ask.Asked(RequestId(7), ServiceId(bytes(32)), 1, None, None, 0.0)
    with pytest.raises(RpcUnavailable, match=rf"no connection; .*`didyma request show {7:#066x}`"):
        ask._follow(Gone(set()), asked, 0, quiet=True)


@pytest.mark.parametrize(
    "words",
    [
        ("model", "list", "--store", "~nosuch/models"),
        ("model", "add", "~nosuch/model.gguf"),
        ("quote", "hello", "--deployment", "~nosuch/deployment.json"),
        ("dev", "--port", "1", "--folder", "~nosuch/dev"),
    ],
)
def test_paths__home_of_nobody__is_one_line(cli, monkeypatch, words):
    monkeypatch.setattr("oracle.cli.dev._refuse_taken", lambda _port: None)
    done = cli(*words)
    assert_refused(done, "~nosuch/", "set HOME")
    assert len(done.output.splitlines()) == 1


def test_network__account_without_a_home__is_one_line(cli, monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("DIDYMA_DEPLOYMENT", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _uid: {}["nobody"])
    assert_refused(cli("quote", "hello"), "set HOME")


def test_output__terminal_of_another_encoding__shows_escapes(monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(out, "latin-1"))
    main()
    ask.console.print("caf\u00e9 \u2603")
    sys.stdout.flush()
    assert out.getvalue() == b"caf\xe9 \\u2603\n"


def test_waiting__strangers_words__are_neither_markup_nor_control():
    out = io.StringIO()
    with waiting("x", Console(file=out, force_terminal=True, width=200)) as say:
        say("its last words: [/usr/lib] [bold]\x1b]0;title\x07")
        time.sleep(0.5)
    assert r"[/usr/lib] [bold]\x1b]0;title\x07" in out.getvalue()
