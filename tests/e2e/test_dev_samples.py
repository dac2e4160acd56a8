"""`didyma dev --mode tee`: first answers are attested, and the pages' Python blocks run against it as they stand."""

import io
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from e2e.network import Dev, dev, didyma, first_answer
from rig.samples import BY_APE, samples

from oracle.client import devnet
from oracle.engines.exact.text_prompts import text_prompt
from oracle.models.store import ModelStore

PYTHON = [sample for sample in samples("python") if BY_APE not in sample.code]
TOO_LONG = 5000
AT_ONCE = ["RequestPosted", "AnswerPosted", "AnswerAttested", "RequestFinalized"]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    with dev(tmp_path_factory.mktemp("tee") / "my net", "--mode", "tee") as running:
        yield running


def test_u4_dev__in_a_tee_says_ready__first_answer_is_within_one_turn_and_attested(network, tmp_path):
    assert "AnswerAttested" in first_answer(network, tmp_path)
    kept = didyma(*network.hint("In private"), cwd=tmp_path)
    assert "negative  (nobody else can read it)" in kept.stdout, kept.stderr


@pytest.fixture
def names(network: Dev, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the pages take as given: a folder with the deployment, a client, somebody who pays, a prompt."""
    (tmp_path / "deployment.json").write_bytes((network.folder / "deployment.json").read_bytes())
    monkeypatch.chdir(tmp_path)
    client = network.client()
    (service,) = client.services()
    manifest = client.manifest(client.terms(service)["model"])
    return {
        "manifest": manifest,
        "path": ModelStore(network.folder / "models").file(manifest).path,
        "url": re.search(r"^RPC +(\S+)", network.output, re.MULTILINE)[1],
        "account": devnet.account(devnet.ASKER),
        "client": client,
        "service": service,
        "params": client.params(max_tokens=8),
        "prompt": text_prompt(b"The soup was cold and the waiter was rude."),
    }


@pytest.mark.parametrize("sample", PYTHON, ids=lambda sample: sample.name)
def test_python__block_of_a_page__runs_and_prints_what_the_page_says(names, sample):
    if "PromptTooLong" in sample.code:
        names["prompt"] = bytes(TOO_LONG)
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(sample.code, sample.name, "exec"), names)  # the project's own pages
    said = printed.getvalue()
    assert said.strip()
    assert all(line in said for line in re.findall(r"print\(.*\)  # (.*)$", sample.code, re.MULTILINE))
    if "follow" in sample.code:
        assert "negative" in said
    if "step.name" in sample.code:
        assert [line.split()[0] for line in said.splitlines()[1:]] == AT_ONCE
