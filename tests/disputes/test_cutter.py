"""The contract cuts every text where Python does, and knows every code point's class."""

import re
from random import Random

import pytest
from disputes.stand import called, deploy
from exact.test_tokenizer import SCRIPTS, SIGNS, SPACES, WORDS
from rig.anvil import ROOT, anvil

from oracle.engines.exact import unicode_classes
from oracle.engines.exact.cutter import ALIKE, CUTTER_NUMBERS, CUTTERS
from oracle.engines.exact.unicode_classes import LAST_CODE, ascii_classes, class_of
from oracle.engines.exact.vocabulary import unit_bytes, units

SEED, TEXTS = 15, 120
FOLLOWING = " s12\n\n 're é".encode()
"""What stands behind a text and is no part of it."""
SURROGATES = range(0xD800, 0xE000)


@pytest.fixture(scope="module")
def harness():
    with anvil() as chain:
        chain.rpc("evm_setAutomine", True)
        w3 = chain.w3()
        creation = unicode_classes.table_code()
        receipt = w3.eth.wait_for_transaction_receipt(w3.eth.send_transaction({"data": creation}))
        assert bytes(w3.eth.get_code(receipt["contractAddress"])) == unicode_classes.table()
        yield deploy(w3, "CutterHarness", receipt["contractAddress"])


def borders() -> list[int]:
    """Code points before and after which the class changes, and the first and the last of every length in UTF-8."""
    changes = [code for code in range(1, LAST_CODE + 1) if class_of(code) != class_of(code - 1)]
    sizes = [0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, LAST_CODE]
    return sorted(
        {near for code in [*changes, *sizes] for near in (code - 1, code, code + 1) if 0 <= near <= LAST_CODE}
    )


def test_unit__every_code_point_near_a_border__has_python_s_class(harness):
    codes = [code for code in borders() if code not in SURROGATES]
    assert len(codes) > 3000
    for start in range(0, len(codes), 500):
        some = codes[start : start + 500]
        text = "".join(map(chr, some)).encode()
        assert called(harness, "classesOf", text) == bytes(map(class_of, some))


def test_unit__bytes_that_are_no_utf_8__are_units_of_no_class(harness):
    random = Random(SEED)
    odd = [
        "c080",
        "c1bf",
        "e09fbf",
        "eda080",
        "edbfbf",
        "f08fbfbf",
        "f4908080",
        "f5808080",
        "e282",
        "f09f98",
        "80",
        "ff",
    ]
    some = [*map(bytes.fromhex, odd), b"a", "é".encode(), "😀".encode()]
    for _ in range(60):
        text = b"".join(random.choices(some, k=8)) + random.randbytes(8)
        assert called(harness, "classesOf", text) == bytes(map(class_of, units(text))), text


def test_ascii__of_the_contract__is_python_s():
    (constant,) = re.findall(r"ASCII = (0x[0-9a-f]+);", (ROOT / "contracts/disputes/referee/Cutter.sol").read_text())
    assert int(constant, 16) == ascii_classes()


def cut(cutter: str, text: bytes) -> list[int]:
    codes, ends, end = units(text), [], 0
    for length in CUTTERS[cutter](codes):
        end += sum(len(unit_bytes(code)) for code in codes[:length])
        codes = codes[length:]
        ends.append(end)
    return ends


@pytest.mark.parametrize("cutter", [name for name in ALIKE if name in CUTTER_NUMBERS])
def test_piece_end__texts_of_all_scripts_and_of_any_bytes__is_python_s_whatever_follows(harness, cutter):
    random = Random(SEED)
    for _ in range(TEXTS):
        words = random.choices(WORDS + SPACES + SIGNS + SCRIPTS, k=random.randrange(1, 12))
        text = "".join(words).encode() + random.randbytes(random.randrange(4))
        parts = [(text, b""), (text, FOLLOWING), (text + b"'", b"s"), (text + b" '", b"ll" + FOLLOWING)]
        for start, following in parts:
            found = called(harness, "cut", start + following, len(start), CUTTER_NUMBERS[cutter])
            assert list(found) == cut(cutter, start), (start, following)
