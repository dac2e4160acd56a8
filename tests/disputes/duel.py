"""Every move made twice: on the contract, and on the rules in plain Python. Both must agree, refusals included."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from disputes.court import GAME_TERMS, Answered, Court
from disputes.rules import Claim, GameId, Node, Refused, Rules, Terms
from disputes.stand import artifact
from eth_abi import decode
from eth_hash.auto import keccak
from rig.merkle import fold
from web3.exceptions import ContractLogicError
from web3.logs import DISCARD

from oracle.chain.services import GameTerms
from oracle.disputes import graph
from oracle.disputes.game import Game, Move
from oracle.merkle.tokens import LEAF_BYTES, Tokens
from oracle.merkle.tree import Tree, leaf_hash

FAMILIES = ("LinearReferee", "RowReferee", "AttentionReferee")
REFEREES = ("Referee", *FAMILIES, "TokenReferee", "TextReferee", "AnswerReferee")
CONTRACTS = ("DisputeGame", *REFEREES, "Refutations", "Oracle")


def signature(entry: Any) -> str:
    return f"{entry['name']}({','.join(each['type'] for each in entry['inputs'])})"


ERRORS: dict[bytes, Any] = {
    keccak(signature(entry).encode())[:4]: entry
    for name in CONTRACTS
    for entry in artifact(name)["abi"]
    if entry["type"] == "error"
}


def error_of(reverted: ContractLogicError) -> tuple[str, tuple[Any, ...]]:
    """Name and arguments of a custom error."""
    data = bytes.fromhex(str(reverted.data).removeprefix("0x"))
    entry = ERRORS[data[:4]]
    return entry["name"], decode([each["type"] for each in entry["inputs"]], data[4:])


@dataclass
class CourtReferee:
    """The shape of a real model's passes; what is wrong, the contract says."""

    court: Court
    tokens: Tokens

    @property
    def steps(self) -> int:
        return graph.steps(self.court.tracer.architecture)

    token_bytes = LEAF_BYTES

    @property
    def wrapper(self) -> int:
        return len(self.court.manifest.prefix_tokens) + len(self.court.manifest.suffix_tokens)

    @property
    def context(self) -> int:
        return self.court.manifest.context_length

    def token_levels(self, claim: Claim) -> tuple[int, int]:
        tokens = self._tokens(claim)
        return tokens.tree.depth, tokens.below

    def token_nodes(self, claim: Claim) -> Sequence[Node]:
        return self._tokens(claim).upper

    def token_root(self, entries: bytes) -> Node:
        return Tree(leaf_hash(entries[at : at + LEAF_BYTES]) for at in range(0, len(entries), LEAF_BYTES)).root

    def _tokens(self, claim: Claim) -> Tokens:
        """With the ends, which the rules leave out."""
        tokens = self.tokens
        assert (tokens.prompt, tokens.output) == (claim.prompt, claim.output)
        return tokens

    def operators(self, step: int) -> int:
        return len(graph.operators(self.court.tracer.architecture, step, 1))

    def depth(self, positions: int, step: int, operator: int) -> int:
        return graph.operators(self.court.tracer.architecture, step, positions)[operator].depth

    def root(self, nodes: Sequence[Node]) -> Node:
        return fold(nodes)  # type: ignore[arg-type]

    def leaf(self, values: bytes) -> Node:
        return leaf_hash(values)

    def is_wrong(self, claim: Any, game: Any, steps: Any, operators: Any, proof: bool) -> bool:
        return proof

    def is_wrong_choice(self, claim: Any, game: Any, operators: Any, proof: bool) -> bool:
        return proof


@dataclass
class Duel:
    """An answer, its games on both sides, and their money."""

    court: Court
    answered: Answered
    rules: Rules = field(init=False)
    ids: dict[GameId, int] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    _touched: GameId | None = None

    def __post_init__(self) -> None:
        terms = self.court.terms
        assert terms is not None
        challenge, opening, clock, move, first, queue, ceiling = GAME_TERMS
        window = self.answered.request.window_seconds
        own = Terms(terms.bond_wei, window, challenge, opening, clock, move, first, queue, ceiling)
        self.rules = Rules(own, CourtReferee(self.court, self.answered.tokens))
        tokens = self.answered.tokens
        self.rules.answer(self.court.node, Claim(tokens.prompt, tokens.output), 0)
        self.rules.answers[0].closes = self.answered.answer.closes_at
        self.before = self.court.credits()

    def both(self, call: Any, rule: Callable[[int], Any], who: str, value: int = 0) -> tuple[str, Any]:
        """Makes a move on both sides. Returns the error's name, or "" and the receipt."""
        error, given, receipt = "", (), None
        try:
            receipt = self.court.send(call, who, value)
        except ContractLogicError as reverted:
            error, given = error_of(reverted)
        try:
            rule(self.court.now)
            expected = ""
        except Refused as refused:
            expected = refused.error
        assert error == expected, (error, given, expected)
        self.refusals[error] = self.refusals.get(error, 0) + 1
        self.agree()
        return error, receipt

    def agree(self) -> None:
        """The game in question (or all), clocks, prices and money are the same on both sides."""
        rules, court, answered = self.rules, self.court, self.answered
        touched = list(self.ids) if self._touched is None else [self._touched]
        for game in touched:
            on_chain = self.ids[game]
            mine, theirs = rules.game(game), court.state(on_chain)
            for name in Game.__dataclass_fields__:
                if name not in ("case", "disputed"):
                    assert getattr(mine, name) == getattr(theirs, name), (name, mine, theirs)
        answer, case = rules.answers[0], court.case(answered)
        assert rules.price(0) == GameTerms(*GAME_TERMS).price_wei(case[3])
        assert rules.backlog[court.node] == court.backlog(answered)
        assert (answer.open, answer.won, answer.shares, answer.dead) == (case[3], case[4], case[5], case[7])
        for who, credit in court.credits().items():
            if who != court.owner:
                assert credit - self.before[who] == rules.credit[who], who

    # MOVES

    def challenge(
        self, who: str, positions: int | None, *, over: int = 0, paid: int | None = None, tokens: Any = None
    ) -> str:
        """over: wei more than the price. paid: wei whatever the price. tokens: others than the answer's."""
        rules, court, answered = self.rules, self.court, self.answered
        paid = rules.price(0) + over if paid is None else paid
        words = (answered.request.words, answered.answer.words)
        shown = answered.tokens if tokens is None else tokens
        claim = Claim(shown.prompt, shown.output)
        made: list[GameId] = []
        self._touched = None
        if positions is None:
            call = court.game.functions.challengeUnread(*words)
            error, receipt = self.both(
                call, lambda now: made.append(rules.challenge_unread(0, who, paid, now)), who, paid
            )
        else:
            call = court.game.functions.challenge(*words, shown.words, positions)
            error, receipt = self.both(
                call, lambda now: made.append(rules.challenge(0, who, claim, positions, paid, now)), who, paid
            )
        if not error:
            (event,) = court.game.events.GameOpened().process_receipt(receipt, DISCARD)
            self.ids[made[0]] = int(event["args"]["gameId"])
            self.agree()
        return error

    def on(self, game: GameId, function: str, *arguments: Any) -> Any:
        """A call of the contract about a game."""
        self._touched = game
        return self.court.game.functions[function](self.ids[game], *arguments)

    def proof(self, game: GameId, function: str, arguments: tuple[Any, ...]) -> Any:
        """A call of a referee about a game."""
        self._touched = game
        return self.court.call(self.ids[game], Move(function, arguments))

    @property
    def words(self) -> tuple[Any, Any]:
        return self.answered.request.words, self.answered.answer.words

    def pick(self, game: GameId, who: str, child: int, node: bytes, proof: Sequence[bytes]) -> str:
        call = self.on(game, "pick", child, node, proof)
        return self.both(call, lambda now: self.rules.pick(game, who, child, node, now), who)[0]

    def pick_child(self, game: GameId, who: str, child: int) -> str:
        nodes = self.rules.opened(game)
        return self.pick(game, who, child, nodes[child], Tree(nodes).proof(child))

    def pick_position(self, game: GameId, who: str, positions: int) -> str:
        tokens = self.answered.tokens
        call = self.on(game, "pickPosition", *self.words, tokens.words, positions)
        claim = Claim(tokens.prompt, tokens.output)
        return self.both(call, lambda now: self.rules.pick_position(game, who, claim, positions, now), who)[0]

    def open_tokens(self, game: GameId, who: str) -> str:
        tokens = self.answered.tokens
        call = self.on(game, "openTokens", *self.words, len(tokens.prompt), tokens.upper)
        claim = Claim(tokens.prompt, tokens.output)
        return self.both(call, lambda now: self.rules.open_tokens(game, claim, now), who)[0]

    def open_part(self, game: GameId, who: str) -> str:
        """Of the answer's tokens, what was picked."""
        return self.open_values(game, who, self.answered.tokens.part(self.rules.game(game).index))

    def open(self, game: GameId, who: str, nodes: Sequence[bytes]) -> str:
        call = self.on(game, "open", list(nodes))
        return self.both(call, lambda now: self.rules.open(game, who, nodes, now), who)[0]

    def open_values(self, game: GameId, who: str, values: bytes) -> str:
        call = self.on(game, "openValues", values)
        return self.both(call, lambda now: self.rules.open_values(game, values, now), who)[0]

    def prove(self, game: GameId, who: str, arguments: tuple[Any, ...], *, wrong: bool) -> str:
        """arguments: as the contract takes them. wrong: what the referee is to find."""
        call = self.proof(game, "prove", arguments)
        tokens = self.answered.tokens
        claim = Claim(tokens.prompt, tokens.output)
        return self.both(call, lambda now: self.rules.prove(game, claim, arguments[3], wrong, now), who)[0]

    def prove_choice(self, game: GameId, who: str, arguments: tuple[Any, ...], *, wrong: bool) -> str:
        call = self.proof(game, "proveChoice", arguments)
        tokens = self.answered.tokens
        claim = Claim(tokens.prompt, tokens.output)
        return self.both(call, lambda now: self.rules.prove_choice(game, claim, wrong, now), who)[0]

    def timeout(self, game: GameId, who: str) -> str:
        call = self.on(game, "timeout", *self.words)
        return self.both(call, lambda now: self.rules.timeout(game, now), who)[0]

    def settle(self, game: GameId, who: str) -> str:
        return self.both(self.on(game, "settle"), lambda now: self.rules.settle(game), who)[0]
