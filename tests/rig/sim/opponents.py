"""The other side in dispute games: a liar on the fifth seat, and puppets who challenge right answers.

They move in each block, whatever happens to the daemon, and stop its clocks as soon as the contract lets them: a move
of its that comes too late costs it an answer or a game. They take part again after a reorganisation, from where the
chain then stands.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from e2e.world import ACCOUNTS
from eth_account.signers.local import LocalAccount

from oracle.chain.requests import Answer
from oracle.chain.units import GWEI
from oracle.demo.false_pass import FalsePass
from oracle.disputes.game import Claim as Matter
from oracle.disputes.game import Game, Stage, defend, reveal
from oracle.disputes.passes import Pass
from oracle.engines.base import Completion, Params, TokenId
from oracle.merkle.tokens import Tokens
from oracle.merkle.tree import Tree
from rig.anvil import CHAIN_ID
from rig.sim.arena import GAME, OUTPUT, Arena, Told
from rig.sim.strangers import STRANGER, Strangers

PUPPETS = (ACCOUNTS[6], ACCOUNTS[7])
LISTS = (Stage.STEPS, Stage.OPERATORS, Stage.NODES)
CHALLENGE_GAS, MOVE_GAS = 1_000_000, 1_000_000
NUMBERS = ((1, "attn_norm"), (1, "score"), (1, "down"), (2, "logits"))
"""Steps of a pass, and their operators, of which a liar changes a number."""
LIES = ("choice", "number", "silence", "end", "nobody's")
"""Another token than the model's, which its logits show; a number that would lead to it; another token, and no move;
an answer that ends early; tokens that nobody can tell from the text."""


@dataclass
class Lie:
    """A wrong answer and how it is defended."""

    kind: str
    tokens: Tokens
    number: tuple[int, str] | None
    moves: int


class LiarsEngine:
    """Answers falsely, in one of the ways of LIES."""

    def __init__(self, arena: Arena, kind: str) -> None:
        self._arena, self._kind = arena, kind
        self.tokens: Tokens | None = None
        """Of the last answer."""

    def tokenize(self, prompt: bytes) -> list[TokenId]:
        return self._arena.engine.tokenize(prompt)

    def generate(self, prompt: list[TokenId], params: Params) -> Completion:
        engine = self._arena.engine
        first, second, *_ = engine.generate(prompt, params).tokens
        tokens: tuple[TokenId, ...] = (first,)
        if self._kind != "end":
            tokens = (first, TokenId(second + 1 if second < 100 else 10))
            tokens = (*tokens, *engine.generate([*prompt, *tokens], params).tokens)[: params.max_tokens]
        lengths = [len(engine.detokenize([token])) for token in tokens]
        self.tokens = Tokens.spelled(prompt, tokens, lengths)
        root = b"\x77" * 32 if self._kind == "nobody's" else self.tokens.root
        return Completion(tokens, engine.detokenize(tokens), root)


class Opponents:
    """`move` before each block."""

    def __init__(self, arena: Arena, strangers: Strangers, chance: random.Random) -> None:
        """strangers: who ask in the arena."""
        self.arena, self.strangers, self._chance = arena, strangers, chance
        self.lies: dict[int, Lie] = {}
        """By request."""
        self._picks: dict[int, int] = {}
        """By a puppet's game: how many picks are left to it."""
        self._next_picks = 0
        self._open: tuple[bytes, list[tuple[Told, Game]]] = (b"", [])
        """The head at which games were asked for, and what was open there."""
        self.moves = 0

    # -- what begins a dispute -------------------------------------------------------------------------------------

    def lie(self, request: int, kind: str) -> bool:
        """By the fifth seat, if it is its turn. Returns whether it was."""
        engine = LiarsEngine(self.arena, kind)
        if not self.strangers.answers(request, engine):
            return False
        assert engine.tokens is not None
        number = self._chance.choice(NUMBERS) if kind == "number" else None
        self.lies[request] = Lie(kind, engine.tokens, number, 0 if kind in ("silence", "nobody's") else 100)
        return True

    def challenge(self, games: int, picks: int, *, unread: bool) -> bool:
        """Opens games about the last answer, if it is the daemon's. Returns whether it is and can be challenged.

        picks: after which a puppet falls silent. unread: it says that it cannot tell the tokens.
        """
        answers = [told for told in self.arena.told("AnswerPosted") if told.args["requestId"] in self.strangers.asked]
        if not answers or answers[-1].args["requestId"] not in self.strangers.among("answered", "disputed"):
            return False
        claim, tokens = self._claim(answers[-1])
        if answers[-1].args["operator"] == STRANGER.address or self._is_closed(answers[-1]):
            return False
        for puppet in PUPPETS[:games]:
            if unread:
                data = self._encoded("challengeUnread", claim.request, claim.answer)
            else:
                position = self._chance.randrange(len(tokens.prompt), len(tokens.ids))
                data = self._encoded("challenge", claim.request, claim.answer, tokens.words, position)
            self._send(puppet, data, CHALLENGE_GAS, GAME.ceiling_wei)
        self._next_picks = picks
        return True

    # -- what goes on ----------------------------------------------------------------------------------------------

    def open_games(self) -> list[tuple[Told, Game]]:
        """Those that are not over, as opened and as they stand."""
        head = self.arena.sim.head.hash
        if self._open[0] != head:
            ended = {told.args["gameId"] for told in self.arena.told("GameEnded", "GameSettled")}
            going = [told for told in self._opened() if told.args["gameId"] not in ended]
            states = [self.arena.state(told.args["gameId"]) for told in going]
            self._open = head, [pair for pair in zip(going, states, strict=True) if pair[1].stage is not Stage.OVER]
        return self._open[1]

    def is_silent(self) -> bool:
        """Whether all open games wait for opponents that will not move."""
        return all(self._waits_in_vain(told, state) for told, state in self.open_games())

    def is_fought(self, request: int) -> bool:
        """Whether somebody does something against the last answer to a request."""
        if self.strangers.ruled(request) or self.arena.earth.status(request) == "disputed":
            return True
        is_answered = False
        for told in self.arena.told("AnswerPosted", "RefutationPosted"):
            if told.name == "RefutationPosted" and is_answered:
                return True
            is_answered |= told.name == "AnswerPosted" and told.args["requestId"] == request
        return False

    def move(self) -> None:
        """Each opponent makes the moves that it has."""
        for told, state in self.open_games():
            self._move(told, state)

    def _move(self, told: Told, state: Game) -> None:
        game, request = told.args["gameId"], told.args["requestId"]
        answer = self._answer(request, told.args["caseId"])
        if answer is None:
            return
        claim, tokens = self._claim(answer)
        puppet = next((each for each in PUPPETS if each.address == told.args["challenger"]), None)
        now = self.arena.sim.head.header.timestamp
        if puppet is not None:
            if state.node_to_move:
                if now > state.deadline:
                    self._send(puppet, self._encoded("timeout", game, claim.request, claim.answer), MOVE_GAS)
            else:
                self._pick(puppet, game, state, claim, tokens)
        elif request in self.lies and answer.args["operator"] == STRANGER.address:
            lie = self.lies[request]
            if not state.node_to_move:
                if now > state.deadline:
                    self._send(STRANGER, self._encoded("timeout", game, claim.request, claim.answer), MOVE_GAS)
            elif lie.moves and now <= state.deadline:
                if not state.positions:
                    made = reveal(state, claim, lie.tokens)
                else:
                    made = defend(state, self._false(lie, state.positions))
                self._send(STRANGER, self._encoded(made.function, *made.words("", game)), MOVE_GAS)

    def _false(self, lie: Lie, positions: int) -> Pass | FalsePass:
        honest = self.arena.pass_over(lie.tokens, positions)
        return honest if lie.number is None else FalsePass(honest, *lie.number, 0, 0)

    def _pick(self, puppet: LocalAccount, game: int, state: Game, claim: Matter, tokens: Tokens) -> None:
        """Any child of what is open."""
        if not self._picks.setdefault(game, self._next_picks):
            return
        if state.stage is Stage.TOKENS:
            position = self._chance.randrange(len(tokens.prompt), len(tokens.ids))
            data = self._encoded("pickPosition", game, claim.request, claim.answer, tokens.words, position)
        elif state.stage in LISTS and state.place in (openings := self.arena.openings()):
            nodes = openings[state.place]
            child = self._chance.randrange(len(nodes))
            data = self._encoded("pick", game, child, nodes[child], Tree(nodes).proof(child))
        else:
            return
        if self._send(puppet, data, MOVE_GAS):
            self._picks[game] -= 1

    def _waits_in_vain(self, told: Told, state: Game) -> bool:
        if told.args["challenger"] in [puppet.address for puppet in PUPPETS]:
            silent = not self._picks.get(told.args["gameId"], 1) or state.stage is Stage.VALUES
            return silent and not state.node_to_move
        lie = self.lies.get(told.args["requestId"])
        return state.node_to_move and lie is not None and not lie.moves

    # -- what it is about ------------------------------------------------------------------------------------------

    def _opened(self) -> Iterator[Told]:
        return (told for told in self.arena.told("GameOpened") if told.args["requestId"] in self.strangers.asked)

    def _answer(self, request: int, case: Any) -> Told | None:
        """The answer that a game is about."""
        words = self.arena.earth.request(request).words
        for told in self.arena.told("AnswerPosted"):
            if told.args["requestId"] == request:
                answer = Answer.from_abi(told.args["answer"]).words
                if self.arena.view("caseIdOf", words, answer) == case:
                    return told
        return None

    def _claim(self, answered: Told) -> tuple[Matter, Tokens]:
        request = answered.args["requestId"]
        posted, answer = self.arena.earth.request(request), Answer.from_abi(answered.args["answer"])
        prompt = self.strangers.asked[request]
        said = prompt, answered.args["output"], self.arena.manifest
        claim = Matter(posted.words, answer.words, Params(OUTPUT), *said)
        return claim, self.arena.spelled(prompt, self.arena.answer(prompt))

    def _is_closed(self, answered: Told) -> bool:
        return Answer.from_abi(answered.args["answer"]).closes_at <= self.arena.sim.head.header.timestamp + 1

    def _encoded(self, function: str, *arguments: Any) -> bytes:
        return self.arena.contracts.playing("DisputeGame").encode(function, *arguments)

    def _send(self, account: LocalAccount, data: bytes, gas: int, value_wei: int = 0) -> bool:
        """For the next block, unless something of this account's waits already."""
        sender, sim = bytes.fromhex(account.address[2:]), self.arena.sim
        if any(each.tx.sender == sender for each in sim.pool):
            return False
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": CHAIN_ID,
            "nonce": sim.head.state.accounts[sender][0],
            "to": self.arena.contracts.playing("DisputeGame").address,
            "value": value_wei,
            "data": data,
            "gas": gas,
            "maxFeePerGas": 10_000 * GWEI,
            "maxPriorityFeePerGas": GWEI,
        }
        sim.send(bytes(account.sign_transaction(fields).raw_transaction))
        self.moves += 1
        return True
