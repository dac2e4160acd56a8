"""What is said of mutants that live is said of the contracts as they stand today."""

import re

from mutants.operators import Schemata
from mutants.run import SURVIVORS
from mutants.schemata import GROUPS, ROOT

NAMED = re.compile(r"`([\w/]+\.sol) (\w+)\.(\w+): (.+?) -> (.+?) \(([^`]+)\)`")


def survivors():
    """(key, file, function, words that are changed) of each."""
    text = SURVIVORS.read_text()
    return [(match[0].strip("`"), match[1], match[3], match[4]) for match in NAMED.finditer(text)]


def unspaced(text):
    return " ".join(text.split())


def test_survivors__each_named__its_words_stand_in_its_function():
    for key, file, function, before in survivors():
        source = unspaced((ROOT / "contracts" / file).read_text())
        heads = [source.index(head) for head in (f"function {function}(", f"{function}(") if head in source]
        assert heads, f"{key}: there is no such function"
        assert before in source[heads[0] :], f"{key}: the contract says something else now"


def test_survivors__named_at_all__are_of_contracts_that_are_changed():
    files = {file for group in GROUPS.values() for file in group}
    assert {file for _, file, _, _ in survivors()} <= files


def test_survivors__in_the_list__are_named_as_the_run_names_them():
    text = SURVIVORS.read_text()
    listed = re.findall(r"^- `(.+)`$", text, re.MULTILINE)
    assert listed == [key for key, *_ in survivors()]
    assert len(set(listed)) == len(listed)


def test_key__words_over_several_lines__is_one_line():
    schemata = Schemata("A.sol", b"a\n    + b", 1)
    node = {"nodeType": "BinaryOperation", "src": "0:9:0"}
    schemata._number(node, "+ -", "(a\n - b)")
    assert schemata.mutants[0].key == "A.sol : a + b -> (a - b) (+ -)"
