"""Prompts of token ids: any bytes have one reading, the same in Solidity and Python, and no proof touches it."""

from dataclasses import astuple, replace
from random import Random

import pytest
from disputes.claims import typed
from disputes.court import ANSWERED, Court
from disputes.stand import Stand, called, refused
from eth_hash.auto import keccak
from exact.random_model import Shape, write
from rig.anvil import anvil

from oracle.chain.requests import Answer, Request
from oracle.disputes import token_referee
from oracle.disputes.commitments import longest_asked
from oracle.disputes.inputs import ModelInputs, Spelling, entry_input
from oracle.disputes.token_referee import Fault, Refutation
from oracle.engines.answer_types import proper
from oracle.engines.exact.text_prompts import asked
from oracle.engines.prompts import FULL_OUTPUT_BYTES, MOST_STOPS
from oracle.merkle.tokens import ENTRIES, Tokens, prompt_bytes
from oracle.models.manifest import Manifest

SHAPE = Shape(layers=1, width=32, hidden=32, heads=2, kv_heads=1, gain=0.05)
VOCABULARY = 377
REPLACEMENT = 3
WRAPPERS = {"both": ((1,), (5, 6)), "prefix": ((1,), ()), "suffix": ((), (5,)), "none": ((), ())}
SEED, PROMPTS = 20, 60
"""Of the fuzz; so many prompts of each wrapper."""
FINAL = 4


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("model") / "model.gguf", SHAPE)


@pytest.fixture(scope="module")
def model(path):
    return ModelInputs(path)


@pytest.fixture(scope="module", params=WRAPPERS)
def manifest(request, stand, path):
    prefix, suffix = WRAPPERS[request.param]
    return stand.register(path, prefix_tokens=prefix, suffix_tokens=suffix, replacement_token=REPLACEMENT)


def malformed(
    stand: Stand,
    manifest: Manifest,
    prompt: bytes,
    tokens: Tokens,
    shown: Refutation,
    output: bytes = b"",
    most: int = 1,
) -> bool:
    """What the referee says of a proof. most: tokens that were asked for."""
    request = Request(bytes(32), keccak(prompt), 0, most, 0)
    answer = Answer(len(tokens.output) << 96, keccak(output), tokens.root, bytes(32))
    words = (request.words, answer.words, manifest.model_id, tokens.words, int(shown.fault), shown.index)
    return called(stand.tokens, "isMalformed", *words, shown.prompt, shown.output, list(shown.inputs))


def hostile(random: Random, manifest: Manifest) -> bytes:
    """Bytes of any length that a service may take, ids around the vocabulary's border among them."""
    ids = [0, VOCABULARY - 1, VOCABULARY, VOCABULARY + 1, 1 << 16, (1 << 24) - 1]
    longest = longest_asked(manifest)
    length = random.choice([*range(8), random.randrange(longest), longest])
    made = b"".join(random.choice([*ids, random.randrange(1 << 24)]).to_bytes(3, "big") for _ in range(length))
    return typed(random, made[: length // 2])[:longest] if random.random() < 0.2 else made[:length]


def other_readings(random: Random, manifest: Manifest, prompt: bytes, right: list[int]) -> list[list[int]]:
    """Readings of a prompt that somebody else might think right, or a liar pick."""
    said = proper(prompt)
    raw = [int.from_bytes(said[at : at + 3], "big") for at in range(1, len(said), 3)]
    wrapped = [*manifest.prefix_tokens, *raw, *manifest.suffix_tokens]
    at = random.randrange(len(right))
    changed = [*right[:at], (right[at] + 1) % VOCABULARY, *right[at + 1 :]]
    dropped = [token for token in wrapped if token < VOCABULARY]
    whole = asked(b"\1" + prompt, None, manifest, VOCABULARY)  # of a typed prompt, the type as well
    made = [changed, whole, wrapped, dropped, right[:-1], [*right, REPLACEMENT], [*right, 0], right[::-1]]
    return [each for each in made if each != right]


def test_prompt__any_bytes__has_one_reading_that_no_proof_touches(stand, manifest, model):
    random, wrong, replaced, rests, empty = Random(SEED), 0, 0, 0, 0
    for prompt in [b"", b"\0", b"\xff\xff", *(hostile(random, manifest) for _ in range(PROMPTS))]:
        read = asked(prompt, None, manifest, VOCABULARY)
        right = Tokens.spelled(read, [7], [1])
        replaced += REPLACEMENT in read
        rests += len(proper(prompt)) % 3 != 1
        empty += read == [REPLACEMENT]
        assert read
        assert max(read) < VOCABULARY
        assert len(read) < manifest.context_length
        for index in range(len(read)):
            shown = Refutation(Fault.PROMPT, index, prompt, b"", (entry_input(right, index),))
            assert not malformed(stand, manifest, prompt, right, shown), (prompt, index)
        for claimed in other_readings(random, manifest, prompt, read):
            lie = Tokens.spelled(claimed, [7], [1])
            found = token_referee.find(lie, prompt, b"x", manifest, model, 1)
            assert found is not None, (prompt, claimed)
            assert found.fault is Fault.PROMPT
            assert malformed(stand, manifest, prompt, lie, found), (prompt, claimed)
            wrong += 1
    assert wrong > 4 * PROMPTS
    assert replaced > PROMPTS // 3
    assert rests > PROMPTS // 4
    assert (empty > 0) == (not manifest.prefix_tokens and not manifest.suffix_tokens)


def test_unfold__tokens_that_fill_the_context__are_taken_and_one_more_is_refused(stand, manifest):
    context, least = manifest.context_length, len(manifest.prefix_tokens) + len(manifest.suffix_tokens)
    for count in (context - 1, context):
        tokens = Tokens((9,) * count, (7,), (1,))
        answer = Answer(1 << 96, keccak(b"x"), tokens.root, bytes(32))
        call = stand.tokens.functions.unfold(manifest.model_id, answer.words, count, [tokens.tree.root])
        if count < context:
            assert call.call() == [tokens.tree.root, tokens.tree.depth]
        else:
            refused(call, "PromptOutOfRange(uint256,uint256,uint256)", count, least, context - 1)


# OUTPUTS


@pytest.mark.parametrize("length", range(9))
def test_text__prompt_of_few_bytes__wrong_spelling_is_shown(stand, manifest, model, length):
    """Whether it is too short to say what its answer's type is or not."""
    prompt, token = bytes(length), 105
    tokens = Tokens.spelled([9], [token], [1])
    entries = (entry_input(tokens, 1), token_referee.NOTHING, model.input(Spelling(token)))
    right = model.entries[token].spelled
    assert len(right) == 1
    for output in (right, b"\xf0"):
        shown = Refutation(Fault.TEXT, 1, prompt, output, entries)
        assert malformed(stand, manifest, prompt, tokens, shown, output) == (output != right)


def test_choice__token_that_the_vocabulary_lacks__is_wrong_whatever_else_is_shown(stand, manifest):
    for token in (VOCABULARY, VOCABULARY + 1, (1 << 32) - 1):
        tokens = Tokens((9,), (token,), (1,))
        request, answer = Request(bytes(32), keccak(b""), 0, 1, 0), Answer(1 << 96, keccak(b""), tokens.root, bytes(32))
        words = (request.words, answer.words, manifest.model_id, tokens.words)
        shown = [entry_input(tokens, 1), token_referee.NOTHING, token_referee.NOTHING]
        assert called(stand.tokens, "isWrongChoice", *words, 1, bytes(32), b"", 0, shown) is True


def padded(spare: int) -> tuple[Tokens, bytes]:
    """Tokens that claim an output of FULL_OUTPUT_BYTES and so many more."""
    size = FULL_OUTPUT_BYTES + spare
    return Tokens((1,), (7, 8, 9), (5, size - 1, size)), bytes(size)


@pytest.mark.parametrize(("spare", "stands"), [(-1, False), (0, True), (1, False)])
def test_output__ends_with_the_token_that_fills_it(stand, path, model, spare, stands):
    """One byte less and it goes on; where the token before has filled it already, it must not."""
    manifest = stand.register(path, name=f"full {spare}", prefix_tokens=(1,), suffix_tokens=(), replacement_token=3)
    tokens, output = padded(spare)
    last = Refutation(Fault.END, 3, b"", output, (entry_input(tokens, 3),))
    before = Refutation(Fault.END, 2, b"", output, (entry_input(tokens, 2),))
    said = [malformed(stand, manifest, b"", tokens, each, output, most=9) for each in (before, last)]
    assert said == [spare > 0, spare < 0]
    found = token_referee.find(tokens, b"", output, manifest, model, 9)
    assert found is not None
    assert (found.fault is not Fault.END) == stands  # the output is not what these tokens spell, but ends where it must


def test_full_output__is_one_number_on_both_sides(stand):
    assert stand.tokens.functions.FULL_OUTPUT_BYTES().call() == FULL_OUTPUT_BYTES


# MODELS AND SERVICES


def test_frame__of_an_exact_model__is_what_the_referee_reads_by(stand, manifest):
    frame = stand.registry.functions.frameOf(manifest.model_id).call()
    counts = (len(manifest.prefix_tokens), len(manifest.suffix_tokens))
    assert tuple(frame) == (manifest.context_length, *counts, REPLACEMENT)


@pytest.mark.parametrize("change", ["prefix_tokens", "suffix_tokens", "stop_tokens", "replacement_token"])
def test_enroll__manifest_that_names_no_token__is_refused(stand, path, change):
    known = stand.register(path, name=f"whole {change}")
    bad = VOCABULARY if change == "replacement_token" else (VOCABULARY,)
    made = replace(known, **{change: bad})
    stand.send(stand.registry.functions.register(astuple(made)))
    refused(stand.referee.functions.enroll(astuple(made)), "NoSuchToken(uint256,uint256)", VOCABULARY, VOCABULARY)


def test_enroll__more_stop_tokens_than_can_be_judged__is_refused(stand, path):
    known = stand.register(path, name="stops", stop_tokens=(2,) * MOST_STOPS)
    made = replace(known, stop_tokens=(2,) * (MOST_STOPS + 1))
    stand.send(stand.registry.functions.register(astuple(made)))
    refused(stand.referee.functions.enroll(astuple(made)), "TooManyStops(uint256,uint256)", MOST_STOPS + 1, MOST_STOPS)


@pytest.fixture(scope="module")
def court(path):
    with anvil() as chain:
        yield Court.opened(chain, path, prefix_tokens=(), suffix_tokens=(), replacement_token=REPLACEMENT)


def test_adopt__longest_prompt_of_ids__fits_or_the_game_refuses(fresh):
    """At the border: a byte more is another id, and then no room is left for an output."""
    court = fresh
    longest = longest_asked(court.manifest)
    for size in (longest, longest + 1):
        terms = replace(court.terms, max_prompt_bytes=size, base_price_wei=77)
        call = court.oracle.functions.createService(astuple(terms))
        if size == longest:
            court.send(call, court.people[0])
        else:
            context = court.manifest.context_length
            refused(call, "PromptMayNotFit(uint256,uint256)", context, context)


HOSTILE = {
    "a rest alone": b"\x01\x01",
    "a rest": prompt_bytes([9, 4]) + b"\x00\x07",
    "ids beyond the vocabulary": prompt_bytes([VOCABULARY, 9, (1 << 24) - 1]),
    "the longest": prompt_bytes([9] * 63) + b"\xff\xff",
}


@pytest.mark.parametrize("prompt", HOSTILE.values(), ids=HOSTILE)
def test_hostile_prompt__is_answered_no_proof_kills_it_and_nobody_loses(fresh, prompt):
    """The longest leaves room for one token, though more were asked for: the output ends with the context."""
    court = fresh
    assert len(prompt) <= court.terms.max_prompt_bytes
    before = court.oracle.functions.seatOf(court.service, 0).call()[2]
    right = court.answered(prompt, lambda params: court.honest(prompt, params.max_tokens, params), max_tokens=4)
    tokens = right.tokens
    assert len(tokens.output) == min(4, court.manifest.context_length - len(tokens.prompt)) or (
        tokens.output[-1] in court.manifest.stop_tokens
    )
    assert token_referee.find(tokens, prompt, right.output, court.manifest, court.model, 4) is None
    words = (right.request.words, right.answer.words, tokens.words)
    for index in range(len(tokens.ids)):
        entry = entry_input(tokens, index)
        for fault in Fault:
            inputs = (entry,)
            if fault is Fault.TEXT:
                before_it = entry_input(tokens, index - 1) if index > len(tokens.prompt) else token_referee.NOTHING
                inputs = (entry, before_it, court.model.input(Spelling(tokens.ids[index])))
            call = court.refutations.functions.refute(*words, int(fault), index, prompt, right.output, list(inputs))
            inside = index < len(tokens.prompt)
            if fault is not Fault.PADDING and inside == (fault is Fault.PROMPT):
                refused(call, "NothingWrong()")
            else:
                count = len(tokens.prompt) if fault is Fault.PROMPT else len(tokens.ids)
                refused(call, "NoSuchElement(uint256,uint256)", index, count)
    for index in range(len(tokens.ids), ENTRIES << tokens.tree.depth):
        shown = (int(Fault.PADDING), index, b"", b"", [entry_input(tokens, index)])
        refused(court.refutations.functions.refute(*words, *shown), "NothingWrong()")
    assert court.status(right) == ANSWERED
    court.pass_time(1201)
    item = (right.request.words, right.answer.words, right.output)
    court.send(court.oracle.functions.finalize([item]), court.people[9])
    assert court.oracle.functions.statusOf(right.request.id).call() == FINAL
    assert court.oracle.functions.seatOf(court.service, 0).call()[2] > before
