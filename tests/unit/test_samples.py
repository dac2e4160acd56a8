"""The code blocks of the pages, as far as no network is needed.

Python blocks run in `tests/e2e/test_dev_samples.py` against a network, those for Ape in
`tests/contracts/test_samples.py`.
"""

import ast
import importlib
import re
import tomllib

import pytest
from rig.samples import BY_APE, PAGES, ROOT, blocks, compiled, samples

from oracle.client.choices import Choices, Reader
from oracle.client.devnet import read_description
from oracle.client.patterns import forms
from oracle.models.shipped import SHIPPED_MODEL

BY_HAND = "by-hand.md"
"""Its blocks are files of three projects, which tests/e2e/test_new_projects.py writes and runs."""
SOLIDITY = [sample for sample in samples("solidity") if sample.page.name != BY_HAND]
PYTHON = [sample for sample in samples("python") if sample.page.name != BY_HAND]
RUN_HERE = {"docs/dapps.md", "docs/operators.md"}
"""Whose Python blocks the two tests named above, and tests/e2e/test_inference.py, know how to run."""


def by_name(sample):
    return sample.name


def test_pages__languages_of_their_blocks__are_those_that_a_test_reads():
    here = {block.language for page in PAGES for block in blocks(page) if page.name != BY_HAND}
    assert here == {"", "solidity", "python", "toml"}
    assert SOLIDITY
    assert PYTHON


def test_pages__blocks_without_a_language__hold_no_python_and_no_solidity():
    """A block that no test runs must not look like one that is run."""
    unmarked = [block for page in PAGES for block in blocks(page) if block.language == ""]
    assert not [
        block.name for block in unmarked if re.search(r"^(from \S+ import|import \w)", block.code, re.MULTILINE)
    ]
    assert not [block.name for block in unmarked if re.search(r"^(contract|pragma) ", block.code, re.MULTILINE)]


def test_solidity__all_blocks__compile_without_a_warning_as_a_dapp_s_project_would_find_the_files():
    assert len(compiled(SOLIDITY)) >= len(SOLIDITY)


def test_critic__of_the_page__names_the_type_that_the_command_it_quotes_makes():
    (sample,) = [sample for sample in SOLIDITY if "contract Critic" in sample.code]
    constant, words = re.search(r'hex"(\w+)"; // didyma type choice ([\w ]+)$', sample.code, re.MULTILINE).groups()
    made = Choices.of(words.split(), *read_description(SHIPPED_MODEL))
    assert made.type_bytes.hex() == constant
    assert len(sample.code.split("contract Critic")[1].splitlines()) <= 12  # ten lines and its braces


def test_thermometer__of_the_page__names_the_type_that_the_command_it_quotes_makes():
    (sample,) = [sample for sample in SOLIDITY if "contract Thermometer" in sample.code]
    low, high, constant = re.search(r'didyma type integer (\S+) (\S+)\n +hex"(\w+)";', sample.code).groups()
    made = Reader.of(*read_description(SHIPPED_MODEL)).pattern(forms.integer(int(low), int(high)))
    assert made.type_bytes.hex() == constant
    assert f"Answers.integer(output, {low}, {high})" in sample.code


@pytest.mark.parametrize("sample", PYTHON, ids=by_name)
def test_python__what_it_imports__exists(sample):
    assert str(sample.page.relative_to(ROOT)) in RUN_HERE
    for node in ast.walk(ast.parse(sample.code)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


def test_python__some_blocks__are_for_ape():
    assert len([sample for sample in PYTHON if BY_APE in sample.code]) == 1


@pytest.mark.parametrize("sample", samples("toml"), ids=by_name)
def test_toml__is_read(sample):
    assert tomllib.loads(sample.code)
