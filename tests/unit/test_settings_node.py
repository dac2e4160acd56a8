"""The node's settings: what is refused, which source wins, and that no secret shows."""

import os
import re

import pytest

from oracle.errors import BadSettings
from oracle.node.operator.settings_file import Choices, write
from oracle.node.settings import Settings, load

SERVICE = "0x" + "ab" * 32
MINIMAL = f'rpc_urls = ["http://user:hunter2@node.example"]\ndeployment = "deployment.json"\nservices = ["{SERVICE}"]\n'


@pytest.fixture
def config(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("DIDYMA_")]:
        monkeypatch.delenv(name)

    def make(more: str = "", base: str = MINIMAL):
        path = tmp_path / "didyma.toml"
        path.write_text(base + more)
        return path

    return make


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("pol_seconds = 2", "pol_seconds"),
        ("poll_seconds = 0", "poll_seconds"),
        ("confirmations = 64", "confirmations"),
        ('api_host = "0.0.0.0"', "api_token"),
        ('api_host = "192.168.0.1"', "api_token"),
        ('api_token = "short"', "api_token"),
        ('api_token = "0123456789 abcdef"', "api_token must have at least 16 characters, all visible"),
        ('api_token = "0123456789abcdef\\n\\n"', "api_token"),
        ('api_token = "0123456789abcdeé"', "api_token"),
        ('withdraw_to = "0x1234"', "withdraw_to"),
        ('withdraw_to = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD"', "mistyped"),
        ("prompts_port = 8548", "prompts_port needs tee"),
        ('signer_url = "http://127.0.0.1:8550"', "signer_url"),
        ('dispute_keystore = "d.json"', "dispute_keystore"),
        ("watch_percent = 101", "watch_percent"),
        ('gpus = ["0", "1+"]', "gpus: '1\\+' leaves a device without a name"),
        ('tee = "dev"\ngpus = ["0+1"]', "gpus: joined devices exclude tee"),
        ('log_format = "xml"', "log_format"),
        ("poll_seconds = [", "didyma.toml"),
    ],
)
def test_load__bad_value__is_refused_by_name(config, more, named):
    with pytest.raises(BadSettings, match=named):
        load(config(more))


@pytest.mark.parametrize("missing", ["rpc_urls", "deployment", "services"])
def test_load__required_value_missing__is_refused_by_name(config, missing):
    lines = [line for line in MINIMAL.splitlines() if not line.startswith(missing)]
    with pytest.raises(BadSettings, match=missing):
        load(config(base="\n".join(lines) + "\n"))


def test_load__bad_url_list__message_never_quotes_it(config):
    with pytest.raises(BadSettings) as refusal:
        load(config(base='rpc_urls = [1, "http://user:hunter2@x"]\nservices = ["0x12"]\n'))
    assert "hunter2" not in str(refusal.value)
    assert "0x12" not in str(refusal.value)


def test_load__unknown_name_in_the_environment__is_refused(config, monkeypatch):
    monkeypatch.setenv("DIDYMA_RPC_URL", "http://other")
    with pytest.raises(BadSettings, match=r"DIDYMA_RPC_URL$"):
        load(config())


def test_load__unknown_name_in_the_secrets_folder__is_refused(config, monkeypatch, tmp_path):
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "DIDYMA_PASSWORD").write_text("x")
    monkeypatch.setenv("DIDYMA_SECRETS_DIR", str(secrets))
    with pytest.raises(BadSettings, match="DIDYMA_PASSWORD"):
        load(config())


def test_load__no_such_file__says_what_writes_one(tmp_path):
    with pytest.raises(BadSettings, match="didyma node init"):
        load(tmp_path / "absent.toml")


def test_load__environment_secrets_and_file__win_in_that_order(config, monkeypatch, tmp_path):
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "DIDYMA_RPC_URLS").write_text("http://from-secrets")
    (secrets / "DIDYMA_POLL_SECONDS").write_text("3")
    monkeypatch.setenv("DIDYMA_SECRETS_DIR", str(secrets))
    monkeypatch.setenv("DIDYMA_POLL_SECONDS", "4")
    found = load(config("finality = 32"))
    assert [url.get_secret_value() for url in found.rpc_urls] == ["http://from-secrets"]
    assert (found.poll_seconds, found.finality) == (4, 32)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("place", ["environment", "folder"])
def test_load__secret_from_a_file_with_a_line_end__is_without_it(config, monkeypatch, tmp_path, place, end):
    if place == "environment":  # as Kubernetes makes it of a secret's file
        monkeypatch.setenv("DIDYMA_API_TOKEN", f"0123456789abcdef{end}")
    else:
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets/DIDYMA_API_TOKEN").write_bytes(f"0123456789abcdef{end}".encode())
        monkeypatch.setenv("DIDYMA_SECRETS_DIR", str(tmp_path / "secrets"))
    assert load(config()).api_token.get_secret_value() == "0123456789abcdef"


def test_load__relative_paths__are_beside_the_file(config, tmp_path):
    found = load(config('keystore = "k.json"\ndata_dir = "~/data"'))
    assert found.deployment == tmp_path / "deployment.json"
    assert found.keystore == tmp_path / "k.json"
    assert found.data_dir.is_absolute()
    assert "~" not in str(found.data_dir)


def test_load__lists_in_the_environment__are_separated_by_commas(config, monkeypatch):
    monkeypatch.setenv("DIDYMA_GPUS", "0, 1")
    assert load(config()).gpus == ["0", "1"]


def test_settings__shown__hold_no_secret(config):
    found = load(config('api_token = "0123456789abcdef"'))
    assert "hunter2" not in repr(found)
    assert "0123456789abcdef" not in repr(found)
    assert "hunter2" not in found.model_dump_json()


def test_settings__api_with_token__may_listen_beyond_loopback(config):
    assert not load(config('api_host = "0.0.0.0"\napi_token = "0123456789abcdef"')).api_is_local


def test_settings__frozen(config):
    with pytest.raises(ValueError, match="frozen"):
        load(config()).poll_seconds = 3


def test_written_file__loads_again_and_is_private(tmp_path):
    path = tmp_path / "node.toml"
    urls = ('http://x/"quoted"',)
    write(path, Choices(urls, tmp_path / "d.json", (SERVICE,), tmp_path, None, ("operator", "dispute")))
    found = load(path)
    assert found.rpc_urls[0].get_secret_value() == 'http://x/"quoted"'
    assert found.dispute_keystore == tmp_path / "dispute.json"
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(BadSettings, match="not overwritten"):
        write(path, Choices(("http://x",), tmp_path / "d.json", (SERVICE,), tmp_path, None, ()))


def test_settings__every_name__has_a_documented_default_or_is_required():
    required = {name for name, field in Settings.model_fields.items() if field.is_required()}
    assert required == {"rpc_urls", "deployment", "services"}


CHOICES = {"services": (SERVICE,), "rpc_urls": ("http://127.0.0.1:1",), "withdraw_to": None, "keys": ()}


def test_write__every_setting__stands_there_with_its_meaning_and_default(tmp_path, config):
    file = tmp_path / "new.toml"
    write(file, Choices(deployment=tmp_path / "deployment.json", data_dir=tmp_path / "data", **CHOICES))
    lines = file.read_text().splitlines()
    for name in Settings.model_fields:
        (at,) = [at for at, line in enumerate(lines) if line.startswith((f"{name} = ", f"#{name} ="))]
        assert lines[at - 1].startswith("# "), f"{name} has no meaning"
        assert not lines[at - 1].startswith("# ----"), f"{name} has no meaning"
    assert max(map(len, lines)) <= 130


def test_write__comments_of_defaults_taken_away__is_the_same_node(tmp_path, config):
    file, whole = tmp_path / "new.toml", tmp_path / "whole.toml"
    write(file, Choices(deployment=tmp_path / "deployment.json", data_dir=tmp_path / "data", **CHOICES))
    text = re.sub(r"^#(\w+ = .+)$", r"\1", file.read_text(), flags=re.MULTILINE)
    assert text.count("\nreserve_wei = 10000000000000000\n") == 1
    whole.write_text(text)
    assert load(whole).model_dump() == load(file).model_dump()
