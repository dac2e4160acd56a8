"""`didyma dev --mode tee`: first answers are attested, and the pages' Python blocks run against it as they stand."""

import io
import json
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from e2e.network import Dev, dev, didyma, first_answer, said_by
from rig.samples import BY_APE, Sample, compiled, samples

from oracle.client import devnet
from oracle.client.choices import Choices
from oracle.client.private import question
from oracle.engines.exact.text_prompts import text_prompt
from oracle.errors import BadType
from oracle.models.store import ModelStore

PYTHON = [sample for sample in samples("python") if BY_APE not in sample.code and sample.page.name == "dapps.md"]
TOO_LONG = 5000
AT_ONCE = ["RequestPosted", "AnswerPosted", "AnswerAttested", "RequestFinalized"]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    with dev(tmp_path_factory.mktemp("tee") / "my net", "--mode", "tee", "--nodes", "2") as running:
        yield running


def test_u4_dev__in_a_tee_says_ready__first_answer_is_within_one_turn_and_attested(network, tmp_path):
    assert "AnswerAttested" in first_answer(network, tmp_path)
    kept = didyma(*network.hint("In private"), cwd=tmp_path)
    assert "negative  (nobody else can read it)" in kept.stdout, kept.stderr


REVIEW = "The soup was cold and the waiter was rude."
CHOICES = ["--choice", "positive", "--choice", "negative"]


def test_choice__asked_shown_and_verified__is_a_word_with_its_margin(network, tmp_path):
    where = ["--deployment", str(network.folder / "deployment.json")]
    store = ["--store", str(network.folder / "models")]
    asked = didyma("ask", REVIEW, *CHOICES, "--margin", "1.5", "--json", *where, cwd=tmp_path)
    assert asked.returncode == 0, asked.stderr
    told = json.loads(asked.stdout)
    assert told["answer"] == "negative"
    assert told["margin"] > 1.5
    shown = said_by("request", "show", told["request"], *where)
    assert f"choice 1 of 2, margin {told['margin']:.4f} logits" in shown.stdout, shown.stderr
    assert f"2 choices, '{REVIEW}'" in shown.stdout
    found = didyma("verify", told["request"], *where, *store, cwd=tmp_path)
    assert f"'negative', choice 1 of 2, margin {told['margin']:.4f} logits" in found.stdout, found.stderr
    as_json = said_by("request", "show", told["request"], "--json", *where)
    (answer,) = json.loads(as_json.stdout)["answers"]
    assert (answer["choice"]["choice"], answer["choice"]["margin"]) == (1, told["margin"])


def test_choice__in_private_and_after_other_turns__is_heard_by_the_asker_alone(network, tmp_path):
    where = ["--deployment", str(network.folder / "deployment.json")]
    asked = didyma("ask", REVIEW, *CHOICES, "--private", *where, cwd=tmp_path)
    assert re.search(r"negative, by \d+\.\d{4} logits  \(nobody else can read it\)", asked.stdout), asked.stderr
    turns = ["--system", "Judge.", "--after", "The soup was hot.", "--after", "positive"]
    asked = didyma("ask", REVIEW, *CHOICES, "--margin", "60000", *turns, *where, cwd=tmp_path)
    assert re.search(r"unknown, by \d+\.\d{4} logits", asked.stdout), asked.stderr


NOT_FITTING = {
    "too few tokens": (["--max-tokens", "1"], "BadType: an answer of this type may need 2 tokens; --max-tokens 1"),
    "a word twice": (["--choice", "negative"], "'negative' is there twice"),
    "no room in the context": ([], "does not hold it: ask in fewer words"),
}


@pytest.mark.parametrize("name", NOT_FITTING)
@pytest.mark.parametrize("command", ["ask", "quote"])
def test_choice__that_would_not_fit__is_refused_in_one_line(network, command, name):
    more, says = NOT_FITTING[name]
    where = ["--deployment", str(network.folder / "deployment.json")]
    words = "~" * 507 if name == "no room in the context" else REVIEW
    done = said_by(command, words, *CHOICES, *more, *where)
    assert done.returncode == 1, done.stdout
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_client__choice_that_the_model_cannot_answer__is_refused_before_it_is_paid_for(network):
    client = network.client()
    (service,) = client.services()
    manifest = client.manifest(client.terms(service)["model"])
    made = Choices.of(["positive", "negative"], manifest, ModelStore(network.folder / "models").file(manifest).path)
    prompt = made.asking(text_prompt(b"?"))
    assert client.quote(service, prompt, client.params(2)).total_wei
    for wrong, tokens, why in ((prompt, 1, "may need 2 tokens"), (prompt[:9], 2, "longer than the prompt")):
        with pytest.raises(BadType, match=why):
            client.quote(service, wrong, client.params(tokens))
        with pytest.raises(BadType, match=why):
            client.ask(service, wrong, client.params(tokens))
        with pytest.raises(BadType, match=why):
            question(client, service, wrong, client.params(tokens, is_private=True))


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
    if "follow" in sample.code and "forms.of" not in sample.code:
        assert "negative" in said
    if "print(step.name" in sample.code:
        assert [line.split()[0] for line in said.splitlines()[1:]] == AT_ONCE


def members_of(lines: str) -> Sample:
    """A contract that has what `didyma type council` prints."""
    each = "\n".join(f"members[{number}] = {line};" for number, line in enumerate(lines.splitlines()))
    code = f"""// SPDX-License-Identifier: MIT
        pragma solidity ^0.8.30;
        import {{Council}} from "didyma/contracts/examples/Council.sol";
        import {{ServiceId}} from "didyma/contracts/interfaces/Ids.sol";
        contract Members {{
            function made() external pure returns (Council.Member[] memory members) {{
                members = new Council.Member[]({len(lines.splitlines())});
                {each}
            }}
        }}"""
    return Sample(Path("Members.sol"), 1, "solidity", code)


def test_council__of_three_services__has_a_member_for_each(network):
    """The last test here: the network then has several services."""
    client = network.client()
    (first,) = client.services()
    terms = client.terms(first)
    for price_wei in (1, 2):
        client.send(client.oracle.functions.createService(tuple({**terms, "basePriceWei": price_wei}.values())))
    manifest = client.manifest(terms["model"])
    made = Choices.of(["positive", "negative"], manifest, ModelStore(network.folder / "models").file(manifest).path)
    services = [f"0x{service.hex()}" for service in client.services()]
    named = [word for service in services for word in ("--service", service)]
    where = ["--deployment", str(network.folder / "deployment.json"), "--store", str(network.folder / "models")]

    def council(*more: str) -> Any:
        return said_by("type", "council", "positive", "negative", *named, *more, *where)

    done = council("--margin", "1.5")
    assert done.stdout.splitlines() == [
        f'Council.Member(ServiceId.wrap({service}), hex"{made.type_bytes.hex()}", 98304, 1)' for service in services
    ], done.stderr
    assert "Members" in compiled([members_of(done.stdout)])
    told = json.loads(council("--weight", "3", "--weight", "2", "--weight", "2", "--json").stdout)
    assert [(member["weight"], member["minimum_margin"]) for member in told["members"]] == [(3, 0), (2, 0), (2, 0)]
    assert told["least_max_tokens"] == made.least_tokens
    assert "one for all, or one for each" in council("--weight", "1", "--weight", "2").stderr
    assert "a service is there twice" in council(*named[:2]).stderr
