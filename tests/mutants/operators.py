"""What is changed in a contract to see whether a test notices: a list of operators over the compiler's syntax tree.

A mutant is one change of one expression or statement. All mutants of a file stand in it side by side, each behind a
switch (a schema): `a + b` becomes `(on(7) ? a - b : a + b)`, so that one build holds them all, and the tests turn one
on at a time. Left alone: declarations and constants' values, inline assembly, what events and errors say, and literals
that are not part of an operation.
"""

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

Node = dict[str, Any]
SWAPS = {
    "+": ["-"],
    "-": ["+"],
    "*": ["/"],
    "/": ["*"],
    "%": ["/"],
    "<<": [">>"],
    ">>": ["<<"],
    "&": ["|"],
    "|": ["&"],
    "<": ["<=", ">="],
    "<=": ["<", ">"],
    ">": [">=", "<="],
    ">=": [">", "<"],
    "==": ["!="],
    "!=": ["=="],
    "&&": ["||"],
    "||": ["&&"],
}
CALLS = {"min": "max", "max": "min"}
BARE = ("ExpressionStatement", "RevertStatement", "EmitStatement", "Return", "Continue", "Break")
PARTS = {
    "Assignment": ("rightHandSide",),
    "VariableDeclarationStatement": ("initialValue",),
    "ForStatement": ("condition", "body"),
    "IfStatement": ("condition", "trueBody", "falseBody"),
}
"""What may be changed of a node that has other parts as well."""
VALUES = ("t_bool", "t_uint", "t_int", "t_address", "t_bytes32", "t_userDefinedValueType")
MONEY = re.compile(
    r"[wW]ei\b|credit|[bB]alance|bond|Bond|deadline|Deadline|[cC]losesAt|readyAt|[sS]econds|msg\.(value|sender)|[pP]ay"
    r"|shares|openAnswers|\.open\b|[bB]acklog|deposit|withdraw|_setStatus|_state\[|status|stage = "
)
"""What a line names that moves money, or says who may move it and until when."""
JUDGE = "disputes/referee/"
"""Files here move no money, whatever their lines name."""


@dataclass(frozen=True)
class Mutant:
    """One change. line: of the source, from one. money: whether it is of a line that moves money."""

    file: str
    line: int
    function: str
    operator: str
    before: str
    after: str
    money: bool

    @property
    def key(self) -> str:
        """Names it, also when lines above it move."""
        before, after = (" ".join(text.split()) for text in (self.before, self.after or "nothing"))
        return f"{self.file} {self.function}: {before} -> {after} ({self.operator})"


@dataclass
class Schemata:
    """A file with all its mutants. first: number of the first of them."""

    file: str
    source: bytes
    first: int
    left_out: Set[str] = frozenset()
    """Keys of those that do not compile."""
    wanted: Set[str] | None = None
    """Keys of those to build; None is all."""
    mutants: list[Mutant] = field(default_factory=list)
    function: str = ""

    def text(self, node: Node) -> str:
        """As it stands in the source."""
        start, length, _ = map(int, node["src"].split(":"))
        return self.source[start : start + length].decode()

    def _number(self, node: Node, operator: str, after: str) -> int | None:
        start = int(node["src"].split(":")[0])
        line = self.source[:start].count(b"\n") + 1
        before = self.text(node)
        named = MONEY.search(self.source.splitlines()[line - 1].decode()) or MONEY.search(before)
        money = bool(named) and not self.file.startswith(JUDGE)
        mutant = Mutant(self.file, line, self.function, operator, before, after, money)
        if mutant.key in self.left_out or (self.wanted is not None and mutant.key not in self.wanted):
            return None
        self.mutants.append(mutant)
        return self.first + len(self.mutants) - 1

    def rewritten(self, tree: Node) -> str:
        """The source with every mutant in it."""
        edits: list[tuple[int, int, str]] = []
        for contract in (each for each in tree["nodes"] if each["nodeType"] == "ContractDefinition"):
            for member in contract["nodes"]:
                if member["nodeType"] in ("FunctionDefinition", "ModifierDefinition") and member.get("body"):
                    self.function = f"{contract['name']}.{member['name'] or member['kind']}"
                    body = member["body"]
                    start, length, _ = map(int, body["src"].split(":"))
                    edits.append((start, length, self._rebuilt(body)))
        source = self.source
        for start, length, new in sorted(edits, reverse=True):
            source = source[:start] + new.encode() + source[start + length :]
        return source.decode()

    # -- the tree, from the inside out ---------------------------------------------------------------------------

    def _rebuilt(self, node: Node) -> str:
        """The node's text with mutants inside it, and around it."""
        kind = node["nodeType"]
        if kind in ("InlineAssembly", "EmitStatement", "RevertStatement", "Literal", "Identifier", "Continue", "Break"):
            return self._spliced(node, [])
        parts = [(child, self._rebuilt(child)) for child in _children(node)]
        if kind == "IfStatement":
            parts[0] = (parts[0][0], self._condition(node, parts[0][1]))
        text = self._spliced(node, parts)
        if kind == "ExpressionStatement":
            return self._statement(node, text)
        for operator, after in self._changes(node):
            if (number := self._number(node, operator, after)) is not None:
                text = f"(on({number}) ? {after} : {text})"
        return text

    def _condition(self, node: Node, text: str) -> str:
        """Of an `if`: never met; and always, unless that would only refuse everything."""
        body = node["trueBody"]
        refuses = body["nodeType"] == "RevertStatement" or any(
            each["nodeType"] == "RevertStatement" for each in body.get("statements", [])
        )
        for after in ("false",) if refuses else ("false", "true"):
            if (number := self._number(node["condition"], f"if ({after})", after)) is not None:
                text = f"(on({number}) ? {after} : {text})"
        return text

    def _spliced(self, node: Node, parts: list[tuple[Node, str]]) -> str:
        start, length = _span(node)
        data, offset = self.source[start : start + length], start
        for child, new in sorted(parts, key=lambda part: -_span(part[0])[0]):
            first, size = _span(child)
            data = data[: first - offset] + new.encode() + data[first - offset + size :]
        return data.decode()

    def _changes(self, node: Node) -> Iterator[tuple[str, str]]:
        """Other expressions of the same type."""
        kind, typed = node["nodeType"], node.get("typeDescriptions", {}).get("typeIdentifier", "")
        if not typed.startswith(VALUES) or node.get("isConstant"):
            return
        if kind == "BinaryOperation":
            left, right = node["leftExpression"], node["rightExpression"]
            a, b = self.text(left), self.text(right)
            for other in SWAPS.get(node["operator"], []):
                if not (other == "-" and left["typeDescriptions"]["typeIdentifier"].startswith("t_rational")):
                    yield f"{node['operator']} {other}", f"({a} {other} {b})"
            for side, whole in ((left, f"({{}} {node['operator']} {b})"), (right, f"({a} {node['operator']} {{}})")):
                literal = side["nodeType"] == "Literal" and side.get("kind") == "number" and "e" not in side["value"]
                constant = side["nodeType"] == "Identifier" and side["name"].isupper() and "_" in side["name"]
                if (literal or constant) and node["operator"] not in ("**", "&", "|"):
                    yield "constant + 1", whole.format(f"({self.text(side)} + 1)")
                    if self.text(side) != "0":
                        yield "constant - 1", whole.format(f"({self.text(side)} - 1)")
        elif kind == "UnaryOperation" and node["operator"] == "!":
            yield "! removed", self.text(node["subExpression"])
        elif kind == "Conditional":
            yield (
                "branches swapped",
                f"({self.text(node['condition'])} ? {self.text(node['falseExpression'])} : "
                f"{self.text(node['trueExpression'])})",
            )
        elif kind == "FunctionCall" and node["expression"].get("memberName") in CALLS:
            callee = node["expression"]
            name = self.text(callee)
            changed = name[: -len(callee["memberName"])] + CALLS[callee["memberName"]]
            yield f"{callee['memberName']} {CALLS[callee['memberName']]}", changed + self.text(node)[len(name) :]
        elif kind == "FunctionCall" and node["kind"] == "functionCall":
            yield from self._swapped(node)

    def _swapped(self, call: Node) -> Iterator[tuple[str, str]]:
        """The call with two neighbours of one type in each other's place."""
        given = call["arguments"]
        first = int(call["src"].split(":")[0])
        for left, right in pairwise(given):
            types = [each["typeDescriptions"]["typeIdentifier"] for each in (left, right)]
            if types[0] != types[1] or self.text(left) == self.text(right):
                continue
            (start, size), (second, length) = _span(left), _span(right)
            text = self.text(call)
            between = text[start + size - first : second - first]
            rest = text[second + length - first :]
            swapped = f"{text[: start - first]}{self.text(right)}{between}{self.text(left)}{rest}"
            yield "arguments swapped", swapped

    def _statement(self, node: Node, text: str) -> str:
        """An assignment, a step or a call: changed, or not made."""
        inner = node["expression"]
        changes: list[tuple[str, str]] = []
        if inner["nodeType"] == "Assignment":
            changes.append(("assignment removed", ""))
            if inner["operator"] in ("+=", "-="):
                other = "-=" if inner["operator"] == "+=" else "+="
                left, right = self.text(inner["leftHandSide"]), self.text(inner["rightHandSide"])
                changes.append((f"{inner['operator']} {other}", f"{left} {other} {right};"))
        elif inner["nodeType"] == "UnaryOperation":
            changes.append(("step removed", ""))
        elif inner["nodeType"] == "FunctionCall":
            changes.append(("call removed", ""))
            changes += [(operator, f"{after};") for operator, after in self._swapped(inner)]
        for operator, after in changes:
            if (number := self._number(node, operator, after)) is not None:
                text = f"if (on({number})) {{ {after} }} else {{ {text} }}"
        return text


def _span(node: Node) -> tuple[int, int]:
    """Where a node begins and how long it is, with the semicolon that the compiler leaves out."""
    start, length, _ = map(int, node["src"].split(":"))
    last = node
    while last["nodeType"] in ("IfStatement", "ForStatement", "WhileStatement"):
        last = last.get("falseBody") or last.get("trueBody") or last["body"]
    return start, length + (last["nodeType"] in BARE)


def _children(node: Node) -> list[Node]:
    """What may be changed inside a node: not what is assigned to, nor types, nor names."""
    kind = node["nodeType"]
    if kind == "TryStatement" or (kind == "UnaryOperation" and node["operator"] in ("++", "--", "delete")):
        return []
    if kind == "FunctionCall":
        return list(node["arguments"])
    if kind in PARTS:
        return [node[key] for key in PARTS[kind] if node.get(key)]
    children = []
    for key, value in node.items():
        if key in ("typeDescriptions", "typeName", "documentation"):
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict) and "nodeType" in each and "src" in each:
                children.append(each)
    return children
