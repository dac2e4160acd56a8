"""A node's OpenAI-compatible API: the real client asks, whoever has the model's file can judge the reply, what the
chain wants goes first, and bad callers get clear errors."""

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator, Iterator
from fractions import Fraction
from functools import partial
from random import Random
from string import ascii_letters

import httpx
import openai
import pytest
from e2e.test_games import by_game, exact, is_final
from e2e.test_text_service import store  # noqa: F401 - a fixture
from e2e.world import NODES, World, running_node, step, world
from eth_hash.auto import keccak
from rig.samples import samples
from typer.testing import CliRunner

from oracle.api.inference import BODY_BYTES, create_inference_app
from oracle.api.server import listen, serve_app
from oracle.cli import app as command
from oracle.client.replies import Reply, verify_reply
from oracle.engines.base import Params
from oracle.engines.exact.model import Chunk
from oracle.engines.exact.text_prompts import text_prompt
from oracle.errors import Refused
from oracle.merkle.tokens import unmarked
from oracle.models.store import ModelStore
from oracle.node.daemon import Node

TOKEN, POOR = "sk-" + "a" * 40, "sk-" + "b" * 40
MODEL = "words"
WORDS = "the thing is there"
BLOCK_SECONDS = 0.4
"""Of real time."""


@pytest.fixture(scope="module")
def built(store: ModelStore) -> Iterator[World]:  # noqa: F811
    (manifest,) = store.manifests()
    with world(manifest, by_game) as made:
        for seat in range(2, 5):  # the second seat is another's
            made.act(NODES[seat], "setOperator", made.service, seat, NODES[0].address)
        yield made


@pytest.fixture
async def node(earth: World, tmp_path, store) -> AsyncIterator[Node]:  # noqa: F811
    callers = tmp_path / "callers"
    callers.write_text(f"# who may ask\nada {TOKEN} 1000000\npoor {POOR} 40\n")
    changes = {"models": store.root, "inference_port": 1, "inference_callers": callers}
    async with running_node(earth, tmp_path / "node", NODES[0], exact(store), **changes) as made:
        await step(earth, made, blocks=2)
        yield made


@pytest.fixture
async def url(node: Node) -> AsyncIterator[str]:
    listener = listen("127.0.0.1", 0, "")
    server = asyncio.create_task(serve_app(create_inference_app(node), listener, 512))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    server.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await server


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=url, api_key=TOKEN, max_retries=0, timeout=300) as made:
        yield made


def saved(reply, tmp_path):
    file = tmp_path / "reply.json"
    file.write_text(reply if isinstance(reply, str) else reply.model_dump_json())
    return file


async def test_models__listed__are_the_services_names_and_ids(client, earth, store):  # noqa: F811
    names = [model.id async for model in client.models.list()]
    (manifest,) = store.manifests()
    assert set(names) == {MODEL, "0x" + manifest.model_id.hex(), "0x" + earth.service.hex()}


async def test_completion__real_client__is_what_the_model_says_and_can_be_judged(client, tmp_path, store):  # noqa: F811
    reply = await client.completions.create(model=MODEL, prompt=WORDS, max_tokens=20)
    engine = exact(store)
    expected = engine.generate(engine.tokenize(text_prompt(WORDS.encode())), Params(20))
    assert reply.choices[0].text == expected.text.decode("utf-8", "replace")
    assert reply.usage.completion_tokens == len(expected.tokens)
    assert reply.model_extra["didyma"]["tokens_root"] == "0x" + expected.root.hex()
    assert verify_reply(Reply.read(saved(reply, tmp_path)), store, make=lambda *_: exact(store)).correct


async def test_sampled__in_pieces__is_what_a_request_with_that_seed_would_get(client, tmp_path, store):  # noqa: F811
    """Pieces go on where the output stands: the noise of each place is that of one long generation."""
    reply = await client.completions.create(model=MODEL, prompt=WORDS, max_tokens=30, temperature=1.5, seed=7)
    engine = exact(store)
    params = Params(30, round(1.5 * 65536), seed=(7).to_bytes(32, "big"))
    expected = engine.generate(engine.tokenize(text_prompt(WORDS.encode())), params)
    said = reply.model_extra["didyma"]
    assert (said["output"], said["tokens_root"]) == ("0x" + expected.text.hex(), "0x" + expected.root.hex())
    drawn = await client.completions.create(model=MODEL, prompt=WORDS, max_tokens=9, temperature=1)
    assert drawn.model_extra["didyma"]["seed"] != "0x" + bytes(32).hex()
    assert verify_reply(Reply.read(saved(drawn, tmp_path)), store, make=lambda *_: exact(store)).correct


async def test_chat__stream__pieces_are_the_whole_and_the_last_one_judges_it(client, tmp_path, store):  # noqa: F811
    messages = [
        {"role": "system", "content": "so"},
        {"role": "user", "content": "the"},
        {"role": "assistant", "content": "is"},
        {"role": "user", "content": [{"type": "text", "text": "and "}, {"type": "text", "text": "it"}]},
    ]
    whole = await client.chat.completions.create(model=MODEL, messages=messages, max_tokens=12)
    options = {"include_usage": True}
    events = [
        event
        async for event in await client.chat.completions.create(
            model=MODEL, messages=messages, max_tokens=12, stream=True, stream_options=options
        )
    ]
    assert len(events) > 2
    assert "".join(event.choices[0].delta.content or "" for event in events) == whole.choices[0].message.content
    assert events[-1].usage == whole.usage
    assert events[-1].model_extra["didyma"] == whole.model_extra["didyma"]
    assert verify_reply(Reply.read(saved(events[-1], tmp_path)), store, make=lambda *_: exact(store)).correct


async def test_chat__schema_with_words__is_one_of_them_with_its_margin(client, tmp_path, store):  # noqa: F811
    schema = {
        "type": "json_schema",
        "json_schema": {"name": "word", "schema": {"type": "string", "enum": ["is", "the"]}},
    }
    messages = [{"role": "user", "content": WORDS}]
    reply = await client.chat.completions.create(model=MODEL, messages=messages, response_format=schema)
    assert reply.choices[0].message.content in ("is", "the")
    assert len(reply.model_extra["didyma"]["output"]) == 2 + 2 * 10
    assert verify_reply(Reply.read(saved(reply, tmp_path)), store, make=lambda *_: exact(store)).correct


def by_hand(engine, prompt, tokens):
    """(log-probability, ids of the likeliest first) of each token: softmax in plain Python."""
    found = []
    forward = engine._forward
    for position, token in enumerate(tokens):
        ids = [*unmarked(prompt), *tokens[:position]]
        (rows,) = forward.run([Chunk(ids, forward.cache(len(ids)), 1)])
        logits = [Fraction(int(logit), 65536) for logit in rows[0]]
        best = max(logits)
        total = math.fsum(math.exp(logit - best) for logit in logits)
        order = sorted(range(len(logits)), key=lambda each: (-logits[each], each))
        found.append((float(logits[token] - best) - math.log(total), order))
    return found


async def test_logprobs__chat__are_the_softmax_of_the_exact_logits(client, store):  # noqa: F811
    messages = [{"role": "user", "content": WORDS}]
    ask = partial(
        client.chat.completions.create, model=MODEL, messages=messages, max_tokens=12, temperature=1.2, seed=3
    )
    reply = await ask(logprobs=True, top_logprobs=20)
    plain = await ask()
    assert plain.choices[0].logprobs is None
    assert plain.model_extra["didyma"] == reply.model_extra["didyma"], "what is judged does not change"
    engine = exact(store)
    said = reply.model_extra["didyma"]
    prompt = engine.tokenize(bytes.fromhex(said["prompt"][2:]))
    tokens = engine.generate(prompt, Params(12, said["temperature"], seed=bytes.fromhex(said["seed"][2:]))).tokens
    told = [entry for entry in reply.choices[0].logprobs.content]
    assert b"".join(bytes(entry.bytes) for entry in told) == bytes.fromhex(said["output"][2:])
    spelling = [token for token in tokens if engine.detokenize([token])]
    expected = by_hand(engine, prompt, tokens)
    assert len(told) == len(spelling) >= 8
    for entry, (value, order) in zip(told, expected, strict=False):
        assert abs(entry.logprob - value) < 1e-5
        assert [bytes(each.bytes) for each in entry.top_logprobs] == [engine.detokenize([each]) for each in order[:20]]
        assert entry.top_logprobs == sorted(entry.top_logprobs, key=lambda each: -each.logprob)
    without = await ask(logprobs=True)
    assert [entry.top_logprobs for entry in without.choices[0].logprobs.content] == [[]] * len(told)


async def test_logprobs__stream__are_those_of_the_whole_reply(client):
    messages = [{"role": "user", "content": WORDS}]
    ask = partial(client.chat.completions.create, model=MODEL, messages=messages, max_tokens=20, logprobs=True)
    whole = await ask(top_logprobs=2)
    events = [event async for event in await ask(top_logprobs=2, stream=True)]
    told = [
        entry
        for event in events
        for entry in (event.choices[0].logprobs or whole.choices[0].logprobs).content
        if event.choices[0].logprobs is not None
    ]
    assert told == whole.choices[0].logprobs.content
    assert len(told) > 8, "more than one piece"


async def test_logprobs__completion__offsets_point_into_the_text(client):
    for stream in (False, True):
        asked = client.completions.create(model=MODEL, prompt=WORDS, max_tokens=20, logprobs=5, stream=stream)
        replies = [event async for event in await asked] if stream else [await asked]
        text = "".join(reply.choices[0].text for reply in replies)
        told = [reply.choices[0].logprobs for reply in replies if reply.choices[0].logprobs is not None]
        tokens = [token for part in told for token in part.tokens]
        offsets = [offset for part in told for offset in part.text_offset]
        assert len(tokens) > 8
        plain = [(offset, token) for offset, token in zip(offsets, tokens, strict=True) if token.isascii()]
        assert len(plain) > 4, "others begin or end within a letter"
        assert all(text[offset : offset + len(token)] == token for offset, token in plain)
        for part in told:
            for value, best in zip(part.token_logprobs, part.top_logprobs, strict=True):
                assert len(best) <= 5
                assert abs(value - max(best.values())) < 1e-9, "greedy: each is the likeliest"


async def test_chat__schema_of_an_integer__is_one_of_its_range_and_can_be_judged(client, tmp_path, store):  # noqa: F811
    """The service takes prompts of 60 bytes, so the schema is small."""
    schema = {"type": "integer", "minimum": 0, "maximum": 9}
    asked = {"type": "json_schema", "json_schema": {"name": "digit", "strict": True, "schema": schema}}
    messages = [{"role": "user", "content": WORDS}]
    reply = await client.chat.completions.create(model=MODEL, messages=messages, response_format=asked)
    assert 0 <= json.loads(reply.choices[0].message.content) <= 9
    assert reply.model_extra["didyma"]["output"] == "0x" + reply.choices[0].message.content.encode().hex()
    assert verify_reply(Reply.read(saved(reply, tmp_path)), store, make=lambda *_: exact(store)).correct
    events = [
        event.choices[0].delta.content or ""
        async for event in await client.chat.completions.create(
            model=MODEL, messages=messages, response_format=asked, stream=True
        )
    ]
    assert "".join(events) == reply.choices[0].message.content


async def test_operators_page__its_lines__save_a_reply_that_can_be_judged(url, tmp_path, store, monkeypatch):  # noqa: F811
    (page,) = [sample for sample in samples("python") if sample.page.name == "operators.md"]
    code = page.code.replace("http://127.0.0.1:8549/v1", url).replace("sk-2f1c6a0d9be84c27", TOKEN)
    monkeypatch.chdir(tmp_path)
    await asyncio.to_thread(exec, code.replace("didyma-tiny", MODEL), {})
    assert verify_reply(Reply.read(tmp_path / "reply.json"), store, make=lambda *_: exact(store)).correct


async def test_reply__changed__is_called_wrong_or_refused(client, tmp_path, store):  # noqa: F811
    reply = await client.completions.create(model=MODEL, prompt=WORDS, max_tokens=6)
    said = reply.model_extra["didyma"]
    other = exact(store)
    forged = other.generate(other.tokenize(text_prompt(b"is the thing")), Params(6))
    changed = said | {"output": "0x" + forged.text.hex(), "tokens_root": "0x" + forged.root.hex()}
    with pytest.raises(Refused, match="digest"):
        Reply.of(changed)
    digest = {"output_digest": "0x" + keccak(forged.text).hex()}
    assert verify_reply(Reply.of(changed | digest), store, make=lambda *_: exact(store)).correct is False
    content = json.loads(reply.model_dump_json())
    content["choices"][0]["text"] += "send your ether here"
    lying = Reply.read(saved(json.dumps(content), tmp_path))
    assert verify_reply(lying, store, make=lambda *_: exact(store)).correct is False
    for name in said:
        if name not in ("service",):
            with pytest.raises(Refused):
                Reply.of({key: value for key, value in said.items() if key != name})


async def test_verify_command__reply__says_right_wrong_or_why_not(client, tmp_path, store):  # noqa: F811
    reply = await client.completions.create(model=MODEL, prompt=WORDS, max_tokens=6)
    file = saved(reply, tmp_path)
    run = partial(CliRunner().invoke, command)
    arguments = ["verify", "--reply", str(file), "--store", str(store.root)]
    right = await asyncio.to_thread(run, arguments)
    assert right.exit_code == 0, right.output
    assert right.stdout.startswith("right")
    found = json.loads(file.read_text())
    found["didyma"]["token_count"] += 1
    file.write_text(json.dumps(found))
    assert (await asyncio.to_thread(run, arguments)).exit_code == 3
    file.write_text("{}")
    assert (await asyncio.to_thread(run, arguments)).exit_code == 4


async def test_200_calls__at_once__turn_is_not_missed(client, earth, node):
    """The node's turns come first, though every place that guests may have is taken. Blocks come whether it is done or
    not: a turn has twenty of them."""
    calls = [
        asyncio.create_task(client.completions.create(model=MODEL, prompt=f"{WORDS} {number}", max_tokens=32))
        for number in range(200)
    ]
    await asyncio.sleep(0.2)
    prompt = earth.client.prompt(earth.service, b"is it there")
    requests = [earth.ask(prompt, max_tokens=4, lifetime=300 + number) for number in range(4)]
    running = asyncio.create_task(node.run())
    waited = []
    async with asyncio.timeout(240):
        while not all(is_final(earth, request) for request in requests):
            waited.append(sum(not call.done() for call in calls))
            earth.chain.mine()
            await asyncio.sleep(BLOCK_SECONDS)
        own = [seat for seat in node.status.view.seats if seat.operator == NODES[0].address]
        assert own
        assert sum(seat.tally.missed for seat in own) == 0
        assert waited[0] > 100, "calls were in hand"
        assert len({reply.id for reply in await asyncio.gather(*calls)}) == 200
    node.stop()
    await running


def _enum(*words: str) -> bytes:
    schema = {"type": "json_schema", "json_schema": {"schema": {"enum": words}}}
    call = {"model": MODEL, "messages": [{"role": "user", "content": "a"}], "response_format": schema}
    return json.dumps(call).encode()


def _schema(schema: object, **more: object) -> bytes:
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    call = {"model": MODEL, "messages": [{"role": "user", "content": "a"}], "response_format": asked}
    return json.dumps(call | more).encode()


BOUNDED = {"type": "integer", "minimum": 1000, "maximum": 2000}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (_schema({"type": "array"}), 400, "type 'array'"),
        (_schema({"type": "object", "properties": {"a": BOUNDED}}), 400, "required"),
        (_schema({"oneOf": [BOUNDED]}), 400, "keyword 'oneOf'"),
        (_schema({"type": "string"}), 400, "without maxLength"),
        (_schema({"type": "string", "maxLength": 8000}), 400, "too large"),
        (_schema("yes"), 400, "a JSON schema is needed"),
        (_schema(None), 400, "a JSON schema is needed"),
        (_schema(BOUNDED, max_tokens=4), 400, "may need 5 tokens"),
        (b"", 400, "JSON"),
        (b"[]", 400, "object"),
        (b'{"model": "words"}', 400, "messages"),
        (b'{"model": "words", "messages": [], "tools": []}', 400, "messages"),
        (b'{"model": "other", "messages": [{"role": "user", "content": "a"}]}', 404, "/v1/models"),
        (b'{"model": "words", "messages": [{"role": "assistant", "content": "a"}]}', 400, "turns"),
        (b'{"model": "words", "messages": [{"role": "user", "content": "a"}], "n": 2}', 400, "n:"),
        (b'{"model": "words", "messages": [{"role": "user", "content": "a"}], "tools": []}', 400, "tools"),
        (b'{"model": "words", "messages": [{"role": "user", "content": "a"}], "top_logprobs": 3}', 400, "logprobs"),
        (
            b'{"model": "words", "messages": [{"role": "user", "content": "a"}], "logprobs": true, "top_logprobs": 21}',
            400,
            "top_logprobs",
        ),
        (_enum("is", "the").replace(b'"model"', b'"logprobs": true, "model"'), 400, "margin"),
        (b'{"model": "words", "messages": [{"role": "user", "content": "a"}], "temperature": NaN}', 400, ""),
        (b'{"model": "words", "messages": [{"role": "user", "content": "a"}], "max_tokens": 0}', 400, "max_tokens"),
        (b'{"model": "words", "messages": [{"role": "user", "content": "' + b"a " * 9000 + b'"}]}', 400, "bytes"),
        (b'{"model": "words", "messages": [{"role": "user", "content": [' + b"0," * 50_000 + b"0]}]}", 400, "messages"),
        (_enum(*("x" * n for n in range(1, 18))), 400, "16 words"),
        (_enum("x" * 300, "y"), 400, "256 letters"),
        (_enum("yes"), 400, "between 2 and 16"),
        (_enum("yes", "yes"), 400, "twice"),
    ],
)
async def test_bad_call__any__says_which_parameter_and_computes_nothing(url, body, status, said):
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    async with httpx.AsyncClient() as http:
        reply = await http.post(f"{url}/chat/completions", content=body, headers=headers)
    assert reply.status_code == status, reply.text
    assert said in reply.json()["error"]["message"]


async def test_schemas__of_one_caller_take_long__another_waits_for_one_of_them(url):
    """All are refused, some after half a second."""
    words = ["".join(Random(number).choices(ascii_letters, k=15)) for number in range(150)]
    answered, first = list[str](), asyncio.Event()

    async def ask(http: httpx.AsyncClient, token: str, schema: object) -> None:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        reply = await http.post(f"{url}/chat/completions", content=_schema(schema), headers=headers, timeout=60)
        assert reply.status_code == 400, reply.text
        answered.append(token)
        first.set()

    async with httpx.AsyncClient() as http, asyncio.TaskGroup() as asking:
        for number in range(4):
            asking.create_task(ask(http, TOKEN, {"enum": words, "title": str(number)}))
        await first.wait()
        asking.create_task(ask(http, POOR, {"type": "array"}))
    assert answered.index(POOR) <= 2


@pytest.mark.parametrize("given", [None, "Bearer wrong", TOKEN, f"bearer {TOKEN}", f"Bearer {TOKEN[:-1]}"])
@pytest.mark.parametrize("path", ["models", "completions", "chat/completions"])
async def test_token__missing_or_wrong__is_401(url, given, path):
    headers = {} if given is None else {"authorization": given}
    async with httpx.AsyncClient() as http:
        method = "GET" if path == "models" else "POST"
        reply = await http.request(method, f"{url}/{path}", headers={**headers, "content-type": "application/json"})
    assert reply.status_code == 401
    assert reply.json()["error"]["type"] == "authentication_error"


async def test_call__from_a_web_page_or_too_large__is_refused(url):
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient() as http:
        form = await http.post(f"{url}/completions", content=b"{}", headers={**headers, "content-type": "text/plain"})
        huge = await http.post(
            f"{url}/completions",
            content=b"x" * (BODY_BYTES + 1),
            headers={**headers, "content-type": "application/json"},
        )
        preflight = await http.options(f"{url}/completions", headers={"origin": "https://evil.example"})
    assert (form.status_code, huge.status_code, preflight.status_code) == (415, 413, 405)
    assert "access-control-allow-origin" not in preflight.headers


async def test_budget__used_up__is_429_with_the_time_to_wait(url):
    async with openai.AsyncOpenAI(base_url=url, api_key=POOR, max_retries=0) as poor:
        ask = partial(poor.completions.create, model=MODEL, prompt="the", max_tokens=20)
        await ask()
        with pytest.raises(openai.RateLimitError) as refused:
            await ask()
        assert 0 < int(refused.value.response.headers["retry-after"]) <= 60
        with pytest.raises(openai.RateLimitError, match="40 a minute"):
            await poor.completions.create(model=MODEL, prompt="the", max_tokens=50)


async def test_callers__who_leave__hold_nothing_and_are_charged_for_what_was_read(url, node):
    """Streams that nobody reads, replies that nobody waits for."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    body = {"model": MODEL, "prompt": WORDS, "max_tokens": 40}
    for stream in (True, False) * 5:
        async with httpx.AsyncClient() as http:
            with contextlib.suppress(httpx.TimeoutException):
                await http.post(f"{url}/completions", json=body | {"stream": stream}, headers=headers, timeout=0.01)
    async with asyncio.timeout(60):
        while node.workshop._invited or node.workshop._guests:
            await asyncio.sleep(0.1)
    async with openai.AsyncOpenAI(base_url=url, api_key=TOKEN, max_retries=0) as client:
        assert (await client.completions.create(model=MODEL, prompt=WORDS, max_tokens=2)).usage.completion_tokens


async def test_engine__gone__is_503(client, node):
    node.workshop.proofs.clear()
    with pytest.raises(openai.InternalServerError) as refused:
        await client.completions.create(model=MODEL, prompt="the")
    assert refused.value.status_code == 503
