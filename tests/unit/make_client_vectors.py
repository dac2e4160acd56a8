"""Write what both clients must agree on: `python tests/unit/make_client_vectors.py`. pytest and node's runner read it.

Numbers that may exceed 2^53 are decimal strings; where anything may stand, {"whole": "7"} is a whole number and
{"bytes": "0x07"} are bytes.
"""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from eth_abi.abi import encode
from web3 import Web3

from oracle.chain import refusals
from oracle.chain.deployment import artifact, artifact_names
from oracle.chain.requests import Request
from oracle.chain.units import NOBODY
from oracle.client.choices import Choices
from oracle.client.client import OracleClient, Quote
from oracle.client.given import FIELDS
from oracle.client.patterns import forms
from oracle.client.patterns.automaton import ANY_BYTE
from oracle.client.patterns.patterned import pattern
from oracle.engines.answer_types import Verdict, choice_type, type_of, typed_prompt
from oracle.engines.exact.text_prompts import PromptKind, parts_prompt, text_prompt
from oracle.errors import BadArgument, BadType
from oracle.merkle.tokens import Tokens, id_bytes, marked, prompt_bytes, tokens_root

FILE = Path(__file__).resolve().parents[1] / "vectors/clients.json"
TEXTS = ("", "The soup was cold.", "né\u0301 ☕ \x00", "\x01\x02\x03", "яблоко 林檎 🍎", "a" * 300)
COUNT = 12
SNAKES = {
    "maxTokens": "max_tokens",
    "deadlineSeconds": "deadline_seconds",
    "valueWei": "value_wei",
    "isPrivate": "is_private",
    "callbackGas": "callback_gas",
    "amountWei": "amount_wei",
}
MALFORMED: tuple[tuple[str, str, Any], ...] = (
    *(("quote", "service", {"bytes": "0x" + "07" * size}) for size in (0, 2, 31, 33)),
    *(("quote", "service", value) for value in (None, 7.5, {"whole": "7"})),
    *(("quote", "promptBytes", {"whole": str(value)}) for value in (-1, 1 << 256)),
    *((call, "maxTokens", {"whole": str(value)}) for call in ("quote", "params") for value in (-1, 1 << 24)),
    *((call, "maxTokens", value) for call in ("quote", "params") for value in (None, 0.5, "8", True)),
    *(("quote", name, {"whole": str(1 << bits)}) for name, bits in FIELDS.items()),
    *((call, "isPrivate", value) for call in ("quote", "params") for value in ("no", {"whole": "1"})),
    *(("params", "temperature", value) for value in (-0.5, 65_536.5, "warm", True)),
    *(("params", "deadlineSeconds", value) for value in (0.5, "soon")),
    *(("params", "valueWei", value) for value in ({"whole": "-1"}, {"whole": str(1 << 256)}, 0.5, "1")),
    ("params", "callbackGas", {"whole": str(1 << 32)}),
    *(("ask", "prompt", value) for value in ("The soup was cold.", None)),
    *(
        (call, "requestId", value)
        for call in ("steps", "cancel", "refund", "retry")
        for value in ({"whole": "-1"}, {"whole": str(1 << 256)}, "0x07", 0.5, None)
    ),
    *(("retry", "callbackGas", value) for value in ({"whole": "-1"}, 0.5)),
    *(
        (call, name, value)
        for call, name in (("credit", "account"), ("withdraw", "to"))
        for value in ("0x", "0x07", "somebody.eth", "0x" + "zz" * 20, "0x" + "aB" * 20, "ab" * 20, {"whole": "7"})
    ),
    *(("withdraw", "amountWei", value) for value in ({"whole": "-1"}, {"whole": str(1 << 256)}, 0.5)),
    *(("decided", "leastMargin", value) for value in (-1.5, "1.5")),
)
"""Calls, an argument's name as in contracts, and what cannot be it."""
PARAMS = "(uint24,uint32,uint32,uint32,uint64,uint48,uint24,bool)"


def vectors() -> dict[str, Any]:
    made = (prompts, types, patterns, verdicts, calls, quotes, requests, refused, malformed, tokens)
    return {each.__name__: list(each(random.Random(16))) for each in made}


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def ids(draw: random.Random, most: int) -> list[int]:
    return [draw.randrange(1 << 24) for _ in range(draw.randint(0, most))]


def prompts(draw: random.Random) -> Iterator[dict[str, Any]]:
    for text in TEXTS:
        yield {"text": text, "prompt": hexed(text_prompt(text.encode()))}
    for _ in range(COUNT):
        row = ids(draw, 9)
        yield {"ids": row, "prompt": hexed(prompt_bytes(row))}
        parts = [{"text": draw.choice(TEXTS)} if draw.random() < 0.5 else {"ids": ids(draw, 5)} for _ in range(4)]
        made = [
            (PromptKind.TEXT, part["text"].encode()) if "text" in part else (PromptKind.IDS, id_bytes(part["ids"]))
            for part in parts
        ]
        yield {"parts": parts, "prompt": hexed(parts_prompt(made))}


def types(draw: random.Random) -> Iterator[dict[str, Any]]:
    for _ in range(COUNT):
        rows = [[draw.randrange(1, 1 << 20) for _ in range(draw.randint(1, 16))] for _ in range(draw.randint(2, 16))]
        root, text = draw.randbytes(32), draw.choice(TEXTS)
        made = choice_type(rows, root)
        prompt = typed_prompt(made, text_prompt(text.encode()))
        choice = type_of(prompt, root, 1 << 20, [0], 17)
        yield {
            "rows": rows,
            "root": hexed(root),
            "type": hexed(made),
            "leastTokens": choice.longest,
            "text": text,
            "prompt": hexed(prompt),
        }


def patterns(draw: random.Random) -> Iterator[dict[str, Any]]:
    """JSON schemas, and what becomes of them for a vocabulary; null where they are refused."""
    text, flag = {"type": "string", "maxLength": 9}, {"type": "boolean"}
    large = {"type": "string", "minLength": 600, "maxLength": 600}  # as any text too many states, as ASCII not
    schemas: list[Any] = [
        {"enum": ["yes", "no", "né ☕", 7, -1, True, None]},
        {"type": "string", "minLength": 2, "maxLength": 30, "title": "said"},
        {"type": "string", "maxLength": 0},
        large,
        {"type": "null"},
        _object(label={"enum": ["spam", "ham"]}, score={"type": "integer", "minimum": -9, "maximum": 9}, why=text),
        {**_object(a={"$ref": "#/$defs/A"}, b=flag), "$defs": {"A": {"const": "x"}}, "additionalProperties": False},
        _object(**{f"f{n}": {"enum": [f"{n}", f"{n}{n}", n]} for n in range(9)}),
        {"enum": ["aqa", "bqb", "cqc", "dqa", "eqb", "fqc", "gq", "hq"]},
    ]
    for _ in range(COUNT):
        low, high = sorted(draw.randrange(-(2**53) + 1, 2**53) >> draw.choice([0, 20, 44]) for _ in range(2))
        schemas.append({"type": "integer", "minimum": low, "exclusiveMaximum": high + 1})
    refused: list[Any] = [
        {},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "integer", "minimum": 0.5, "maximum": 2},
        {"type": "string"},
        {"type": "string", "maxLength": 3, "pattern": "a"},
        {"type": "string", "maxLength": 8000},
        {"type": "string", "minLength": None, "maxLength": 3},
        {"type": ["string", "null"]},
        {"oneOf": [flag, flag]},
        _object(a=_object(b=flag)),
        _object(**{'a"': flag}),
        {**_object(a=flag), "required": []},
        {**_object(a=flag), "additionalProperties": True},
        {"enum": ["a", "a"]},
        {"enum": ["a\nb"]},
        {"enum": [1.5]},
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
        {"enum": [chr(97 + n) + "x" * n for n in range(20)]},
    ]
    for schema in [*schemas, *refused]:
        root, unspelled = draw.randbytes(32), draw.choice([b"", b"\xc3\xe2\xf0"])
        unspelled = bytes(range(0x80, 0x100)) if schema is large else unspelled
        case = {"schema": schema, "root": hexed(root), "unspelled": hexed(unspelled)}
        try:
            made = pattern(forms.schema(schema), root, ANY_BYTE - {*unspelled})
        except BadType:
            yield case | {"type": None}
            continue
        yield case | {"type": hexed(made.type_bytes), "least": made.least_tokens, "most": made.most_tokens}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties]}


def verdicts(draw: random.Random) -> Iterator[dict[str, Any]]:
    labels = ["yes", "no", "unknown of sorts"]
    for size in (0, 9, 10, 10, 10, 11, 32):
        output = draw.randbytes(size)
        yield {"output": hexed(output), "verdict": None if size != 10 else _verdict(Verdict.of(output))}
    for index in (0, 1, 2, 3, 255):
        for margin in (0, 1, 65_535, 65_536, 98_304, 2**32 - 1):
            found = Verdict(index, margin, draw.randrange(1 << 16), draw.randrange(1 << 24))
            least = draw.choice([0, 1.5])
            is_known = index < len(labels) and margin >= least * 65_536
            yield {
                "output": hexed(bytes(found)),
                "verdict": _verdict(found),
                "labels": labels,
                "leastMargin": least,
                "label": labels[index] if is_known else "unknown",
            }


def _verdict(found: Verdict) -> dict[str, int]:
    return {"index": found.index, "marginRaw": found.margin, "step": found.step, "other": found.other}


def calls(draw: random.Random) -> Iterator[dict[str, Any]]:
    """Calldata of quotes and requests, from what a dapp wishes."""
    oracle = Web3().eth.contract(abi=artifact("Oracle")["abi"])
    for _ in range(COUNT):
        now, service, prompt = draw.randrange(1 << 31), draw.randbytes(32), draw.randbytes(draw.randint(1, 40))
        seconds, value = draw.choice([None, draw.randrange(1 << 16)]), draw.choice([0, 1, 10**15, draw.getrandbits(80)])
        wishes: dict[str, Any] = {
            "maxTokens": draw.randrange(1 << 24),
            "temperature": draw.choice([0, 1, 0.7, 1 / 3, 1.5 / 65_536, 2.5 / 65_536]),
            "valueWei": str(value),
            "isPrivate": draw.random() < 0.5,
            "callbackGas": draw.choice([0, 60_000]),
            "callbackGasPriceWei": str(draw.randrange(1 << 40)),
        }
        if seconds is not None:
            wishes["deadlineSeconds"] = seconds
        newest = SimpleNamespace(get_block=lambda _, now=now: {"timestamp": now})
        clock = SimpleNamespace(w3=SimpleNamespace(eth=newest))
        params = OracleClient.params(
            clock,
            wishes["maxTokens"],
            wishes["temperature"],
            seconds,
            value_wei=value,
            is_private=wishes["isPrivate"],
            callback_gas=wishes["callbackGas"],
            callback_gas_price_wei=int(wishes["callbackGasPriceWei"]),
        )
        yield {
            "now": now,
            "wishes": wishes,
            "service": hexed(service),
            "prompt": hexed(prompt),
            "params": hexed(encode([PARAMS], [params])),
            "quote": oracle.encode_abi("quote", [service, len(prompt), params]),
            "request": oracle.encode_abi("request", [service, prompt, params]),
        }


def quotes(draw: random.Random) -> Iterator[dict[str, Any]]:
    """What `quote` returns, and what it means in wei."""
    for _ in range(COUNT):
        numbers = [draw.getrandbits(draw.choice([1, 60, 96])) for _ in range(3)]
        quote = Quote(*numbers)
        yield {
            "returned": hexed(encode(["uint256"] * 3, numbers)),
            "feeWei": str(quote.fee_wei),
            "callbackWei": str(quote.callback_wei),
            "forfeitWei": str(quote.forfeit_wei),
            "totalWei": str(quote.total_wei),
        }


def requests(draw: random.Random) -> Iterator[dict[str, Any]]:
    for _ in range(COUNT):
        words = (draw.randbytes(32), draw.randbytes(32), *(draw.getrandbits(249) for _ in range(3)))
        made = Request(*words)
        yield {
            "request": dict(
                zip(
                    ("service", "promptHash", "head", "rules", "money"),
                    (*map(hexed, words[:2]), *map(str, words[2:])),
                    strict=True,
                )
            ),
            "id": str(made.id),
            "callbackGas": made.callback_gas,
        }


def refused(draw: random.Random) -> Iterator[dict[str, Any]]:
    """Every custom error of the contracts whose arguments are plain, as a call would revert with it."""
    seen: set[str] = set()
    for contract in artifact_names():
        for entry in artifact(contract)["abi"]:
            kinds = [each["type"] for each in entry.get("inputs", [])]
            signature = f"{entry.get('name')}({','.join(kinds)})"
            if entry["type"] != "error" or signature in seen or any("tuple" in kind for kind in kinds):
                continue
            seen.add(signature)
            values = [_value(kind, draw) for kind in kinds]
            data = bytes(Web3.keccak(text=signature)[:4]) + encode(kinds, values)
            found = refusals.read(data)
            assert found is not None
            yield {
                "data": hexed(data),
                "name": found.name,
                "args": {name: hexed(v) if isinstance(v, bytes) else str(v) for name, v in found.args.items()},
                "message": str(found),
            }
    yield {"data": "0x", "name": None, "args": {}, "message": "without a reason"}
    yield {"data": "0xdeadbeef", "name": None, "args": {}, "message": "0xdeadbeef"}


def _value(kind: str, draw: random.Random) -> Any:
    if kind == "bytes":
        return draw.randbytes(7)
    if kind == "string":
        return "why not"
    if kind == "bool":
        return True
    if kind == "address":
        return hexed(draw.randbytes(20))
    if kind.startswith("bytes"):
        return draw.randbytes(int(kind[5:]))
    size = int(kind.removeprefix("uint").removeprefix("int"))
    return draw.getrandbits(min(size - 1, 120))


def malformed(_: random.Random) -> Iterator[dict[str, Any]]:
    """Calls with an argument that no contract's type holds: refused before a chain is asked, for here is none."""
    client: Any = object.__new__(OracleClient)
    client.address, client.oracle = NOBODY, Web3().eth.contract(NOBODY, abi=artifact("Oracle")["abi"])
    good: dict[str, Any] = dict.fromkeys(FIELDS, 1) | {"isPrivate": False}
    calls: dict[str, Callable[[str, Any], Any]] = {
        "quote": lambda name, value: client.quote(
            value if name == "service" else bytes(32),
            value if name == "promptBytes" else 5,
            tuple((good | {name: value})[each] for each in good),
        ),
        "ask": lambda _, value: client.ask(bytes(32), value, tuple(good.values())),
        "params": lambda name, value: client.params(**{"max_tokens": 8, SNAKES.get(name, name): value}),
        "steps": lambda _, value: client.steps(value),
        "cancel": lambda _, value: client.cancel(value),
        "refund": lambda _, value: client.refund(value),
        "retry": lambda name, value: client.retry(*((value,) if name == "requestId" else (7, value))),
        "credit": lambda _, value: client.credit(value),
        "withdraw": lambda name, value: client.withdraw(**{"to": NOBODY, SNAKES.get(name, name): value}),
        "decided": lambda _, value: Choices((), (), (), b"").heard(b"", value),
    }
    for call, name, value in MALFORMED:
        try:
            calls[call](name, decoded(value))
        except BadArgument as error:
            yield {"call": call, "name": name, "value": value, "argument": error.argument, "message": str(error)}
        else:
            raise AssertionError(f"{call} takes {value} as {name}")


def decoded(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return int(value["whole"]) if "whole" in value else bytes.fromhex(value["bytes"][2:])


def tokens(draw: random.Random) -> Iterator[dict[str, Any]]:
    for size in (1, 2, 3, 4, 5, 8, 9, 33, 70):
        output = [draw.randrange(1 << 20) for _ in range(size)]
        row = [draw.randrange(1 << 20) for _ in range(draw.randint(0, 40))]
        marks = [(draw.randrange(1 << 20), draw.random() < 0.5) for _ in row] if draw.random() < 0.5 else []
        given = [marked(t, end, begins=b) for t, (end, b) in zip(row, marks, strict=True)] if marks else row
        made = Tokens.spelled(given, output, [draw.randint(0, 6) for _ in output])
        case = {
            "prompt": row,
            "output": output,
            "ends": list(made.ends),
            "root": hexed(made.root),
            "panelRoot": hexed(tokens_root(output)),
        }
        if marks:
            case["marks"] = [{"end": end, "begins": begins} for end, begins in marks]
        yield case


def text() -> str:
    return json.dumps(vectors(), indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
