"""The real oracle with the dispute game as arbiter, on a chain of its own, and games played to their end."""

from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from disputes.rules import WAIT_BLOCKS
from disputes.stand import Stand, artifact, called, called_each, maker
from eth_abi import encode
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address
from rig.anvil import Anvil
from web3.logs import DISCARD

from oracle.chain import wiring
from oracle.chain.requests import Answer, Request
from oracle.chain.services import GameTerms, Terms
from oracle.chain.units import ETHER, NOBODY
from oracle.disputes.commitments import longest_asked
from oracle.disputes.game import Claim, Game, Move, Openings, Stage, attack, defend, reveal
from oracle.disputes.inputs import ModelInputs
from oracle.disputes.passes import Pass, Tracer
from oracle.engines.base import Params
from oracle.engines.exact.text_prompts import asked
from oracle.merkle.tokens import Tokens, prompt_bytes, unmarked
from oracle.models.manifest import Manifest

GAME_TERMS = (ETHER // 10, 9 * ETHER // 1000, 3600, 300, 600, 126, 200)
GAME_TERMS_TYPE = "(uint72,uint72,uint24,uint24,uint24,uint24,uint16)"
WINDOW = 1200
UPHELD, REJECTED = 0, 1
OPEN, ANSWERED, DISPUTED = 1, 2, 3
BURN = "0x000000000000000000000000000000000000dEaD"
LIMIT = 16_000_000


def hash_of(call: Any, who: str) -> bytes:
    """What is posted before a refutation. call: of the contract, to be sent by `who`."""
    return keccak(bytes.fromhex(who[2:] + call._encode_transaction_data()[2:]))


@dataclass
class Answered:
    """An answer on chain."""

    request: Request
    answer: Answer
    tokens: Tokens
    prompt: bytes
    output: bytes
    params: Params
    manifest: Manifest

    @property
    def claim(self) -> Claim:
        said = (self.params, self.prompt, self.output, self.manifest)
        return Claim(self.request.words, self.answer.words, *said)


@dataclass
class Court:
    """The contracts, a model, a node that answers, and challengers."""

    chain: Anvil
    stand: Stand
    oracle: Any
    game: Any
    manifest: Manifest
    model: ModelInputs
    tracer: Tracer
    refutations: Any
    service: bytes = b""
    terms: Terms | None = None
    people: list[str] = field(default_factory=list)

    @classmethod
    def opened(cls, chain: Anvil, path: Path, **changes: Any) -> "Court":
        """changes: of the manifest."""
        stand = Stand.on(chain)
        manifest = stand.register(path, **changes)
        known = {
            "block_millis": 1_000,
            "ModelRegistry": stand.registry.address,
            "Referee": stand.referee.address,
            "TokenReferee": stand.tokens.address,
            "TextReferee": stand.texts.address,
            "AnswerReferee": stand.answers.address,
        }
        made = wiring.deploy(maker(stand.w3), known, ("Seats", "Oracle", "DisputeGame"))
        oracle, game = (
            stand.w3.eth.contract(address=made[name], abi=artifact(name)["abi"]) for name in ("Oracle", "DisputeGame")
        )
        refutations = stand.w3.eth.contract(
            address=game.functions.refutations().call(), abi=artifact("Refutations")["abi"]
        )
        court = cls(chain, stand, oracle, game, manifest, ModelInputs(path), Tracer(path), refutations)
        court.people = list(stand.w3.eth.accounts)
        court._serve()
        return court

    @property
    def node(self) -> str:
        return self.people[1]

    @property
    def owner(self) -> str:
        return self.people[2]

    def _serve(self) -> None:
        self.terms = Terms(
            model=self.manifest.model_id,
            arbiter=self.game.address,
            arbiter_terms=encode([GAME_TERMS_TYPE], [GAME_TERMS]),
            attester=NOBODY,
            attester_terms=b"",
            bond_wei=ETHER,
            seat_wei=2 * ETHER,
            miss_penalty_wei=0,
            base_price_wei=10**12,
            byte_price_wei=0,
            token_price_wei=10**9,
            max_prompt_bytes=longest_asked(self.manifest),
            max_tokens=32,
            turn_seconds=600,
            window_seconds=WINDOW,
            lifetime_seconds=7200,
            min_owners=1,
            value_cap_wei=0,
        )
        self.send(self.oracle.functions.createService(astuple(self.terms)), self.people[0])
        self.service = self.terms.service_id()
        self.send(self.oracle.functions.join(self.service, self.node), self.owner, 20 * ETHER)
        self.pass_time(7201)
        self.send(self.oracle.functions.activate(self.service, 0), self.owner)

    # CHAIN

    def send(self, call: Any, sender: str, value: int = 0) -> Any:
        """Sends and waits. Raises what the contract reverts with."""
        tx = call.transact({"from": sender, "value": value, "gas": LIMIT})
        receipt = self.stand.w3.eth.wait_for_transaction_receipt(tx)
        if receipt["status"] != 1:
            call.call({"from": sender, "value": value, "gas": LIMIT})
            raise AssertionError("reverted once, and not when called again")
        return receipt

    def pass_time(self, seconds: int) -> None:
        self.chain.rpc("evm_increaseTime", seconds)
        self.chain.rpc("evm_mine")

    @property
    def now(self) -> int:
        return int(self.stand.w3.eth.get_block("latest")["timestamp"])

    def credit(self, who: str) -> int:
        return int(self.oracle.functions.credit(who).call())

    def credits(self) -> dict[str, int]:
        """Of all people."""
        found = called_each(self.oracle, "credit", [(who,) for who in self.people])
        return dict(zip(self.people, found, strict=True))

    def status(self, answered: Answered) -> int:
        return int(self.oracle.functions.statusOf(answered.request.id).call())

    # ANSWERS

    def reading(self, prompt: list[int] | bytes) -> list[int]:
        """The tokens before the output, with their marks."""
        given = prompt if isinstance(prompt, bytes) else prompt_bytes(prompt)
        return asked(given, self.model.words, self.manifest, self.model.architecture.vocabulary)

    def honest(self, prompt: list[int] | bytes, count: int, params: Params) -> list[int]:
        """What the model answers. count: most tokens."""
        from oracle.engines.sampling import choice  # noqa: PLC0415

        ids = unmarked(self.reading(prompt))
        count = min(count, self.manifest.context_length - len(ids))
        output: list[int] = []
        while len(output) < count and not (output and output[-1] in self.manifest.stop_tokens):
            *_, residual = self.tracer._reference.residuals(ids + output)
            logits = self.tracer._reference.end(residual[-1:])["logits"][0]
            output.append(choice(logits, params, len(output)))
        return output

    def wrong_at(self, prompt: list[int], index: int) -> Callable[[Params], list[int]]:
        """The same but for the token at `index`."""

        def output(params: Params) -> list[int]:
            ids = self.honest(prompt, params.max_tokens, params)
            ids[index] = next(token for token in range(10, 100) if token != ids[index])
            return ids

        return output

    def answered(
        self,
        prompt: list[int] | bytes,
        output: Callable[[Params], list[int]],
        *,
        max_tokens: int,
        temperature: int = 0,
        cutoff: int = 0,
        tokens: Callable[[Tokens], Tokens] = lambda tokens: tokens,
        text: Callable[[bytes], bytes] = lambda text: text,
    ) -> Answered:
        """Asks, waits, and lets the node answer whatever it is told to. output: from the parameters, seed included."""
        given = prompt if isinstance(prompt, bytes) else prompt_bytes(prompt)
        deadline = self.now + 3600
        wanted = (max_tokens, temperature, cutoff, 0, 0, deadline, 0, False)
        fee, _, _ = self.oracle.functions.quote(self.service, len(given), wanted).call()
        receipt = self.send(self.oracle.functions.request(self.service, given, wanted), self.people[0], fee)
        (event,) = self.oracle.events.RequestPosted().process_receipt(receipt, DISCARD)
        request = Request.from_abi(event["args"]["request"])
        self.chain.rpc("anvil_mine", "0x3")
        seed = self.stand.w3.eth.get_block(request.seed_block)
        params = request.engine_params(bytes(seed["mixHash"]), given)
        ids = output(params)
        pieces = self.model.tokenizer.pieces
        spelled = [b"" if token in self.manifest.stop_tokens else pieces[token] for token in ids]
        whole = self.reading(prompt)
        made = tokens(Tokens.spelled(whole, ids, [len(piece) for piece in spelled]))
        said = text(b"".join(spelled))
        call = self.oracle.functions.answer(request.words, said, len(made.output), made.root, bytes(seed["hash"]))
        receipt = self.send(call, self.node)
        (event,) = self.oracle.events.AnswerPosted().process_receipt(receipt, DISCARD)
        return Answered(request, Answer.from_abi(event["args"]["answer"]), made, given, said, params, self.manifest)

    # GAMES

    def price(self, answered: Answered) -> int:
        return GameTerms(*GAME_TERMS).price_wei(self.case(answered)[3])

    def backlog(self, answered: Answered) -> int:
        return int(self.game.functions.backlogOf(self.service, answered.answer.seat).call())

    def challenge(self, answered: Answered, positions: int, who: str) -> int:
        call = self.game.functions.challenge(
            answered.request.words, answered.answer.words, answered.tokens.words, positions
        )
        return self._game_of(self.send(call, who, self.price(answered)))

    def challenge_unread(self, answered: Answered, who: str) -> int:
        call = self.game.functions.challengeUnread(answered.request.words, answered.answer.words)
        return self._game_of(self.send(call, who, self.price(answered)))

    def _game_of(self, receipt: Any) -> int:
        (event,) = self.game.events.GameOpened().process_receipt(receipt, DISCARD)
        return int(event["args"]["gameId"])

    def state(self, game: int) -> Game:
        challenger, *rest = called(self.game, "gameOf", game)
        return Game.from_abi((to_checksum_address(challenger), *rest))

    def case(self, answered: Answered) -> Any:
        case_id = self.game.functions.caseIdOf(answered.request.words, answered.answer.words).call()
        return self.game.functions.caseOf(case_id).call()

    def openings(self) -> Openings:
        """All that nodes ever opened, from events alone."""
        found: dict[bytes, list[bytes]] = {}
        for log in self.game.events.ListOpened().get_logs(from_block=0):
            found[bytes(log["args"]["place"])] = [bytes(node) for node in log["args"]["nodes"]]
        for log in self.game.events.TokensOpened().get_logs(from_block=0):
            promised = log["args"]["promptCount"].to_bytes(32, "big")
            found[bytes(log["args"]["place"])] = [promised, *(bytes(node) for node in log["args"]["nodes"])]
        for log in self.game.events.ValuesOpened().get_logs(from_block=0):
            found[bytes(log["args"]["place"])] = [bytes(log["args"]["values"])]
        return found

    def call(self, game: int, move: Move) -> Any:
        """The call of the contract that takes a move."""
        others = {
            "Referee": self.stand.referee,
            "TokenReferee": self.stand.tokens,
            "AnswerReferee": self.stand.answers,
            "Refutations": self.refutations,
        }
        contract = others.get(move.contract, self.game)
        return contract.functions[move.function](*move.words(self.game.address, game))

    def move(self, game: int, move: Move, who: str) -> Any:
        return self.send(self.call(game, move), who)

    def refute(self, move: Move, who: str) -> Any:
        """Refutes as somebody does who wants nobody to earn by copying it."""
        call = self.call(0, move)
        self.send(self.refutations.functions.post(hash_of(call, who)), who)
        self.chain.rpc("anvil_mine", hex(WAIT_BLOCKS))
        return self.send(call, who)

    def timeout(self, game: int, answered: Answered) -> Any:
        """Waits until the clock has run out, and stops it."""
        left = self.state(game).deadline - self.now
        self.pass_time(max(left, 0) + 1)
        call = self.game.functions.timeout(game, answered.request.words, answered.answer.words)
        return self.send(call, self.people[9])

    def view(self, answered: Answered, positions: int) -> Pass:
        """The honest view."""
        return Pass(self.model, self.tracer, answered.tokens, positions)

    def play(self, game: int, answered: Answered, node: Any, challenger: Any, who: str) -> list[Any]:
        """To the end. node, challenger: views, or functions from a game to a move; None: silence. Returns receipts."""
        receipts, case = [], self.state(game).case
        while (state := self.state(game)).stage is not Stage.OVER and not called(self.game, "caseOf", case)[7]:
            if state.node_to_move:
                if not state.positions:
                    move: Move | None = reveal(state, answered.claim, answered.tokens)
                else:
                    move = node(state) if callable(node) else defend(state, node)
                mover = self.node
            else:
                mover = who
                if callable(challenger):
                    move = challenger(state)
                else:
                    move = attack(state, self.openings(), challenger, answered.claim)
            if move is None:
                receipts.append(self.timeout(game, answered))
            else:
                receipts.append(self.move(game, move, mover))
        return receipts
