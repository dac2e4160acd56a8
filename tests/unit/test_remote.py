"""A server as a panel's engine: what it answers and judges is what llama.cpp in this process does, whoever serves it.

The server speaks as vLLM, SGLang or llama.cpp's own would, with the log-probabilities of the same small model.
"""

import random
import threading
from dataclasses import replace
from types import SimpleNamespace

import gguf
import pytest
from exact.plain_patterns import digits_table, table_of, true_table, words_table
from rig import tiny_gguf
from rig.model_server import Behaviour, ModelServer
from rig.tiny_gguf import CONTEXT_LENGTH, END

from oracle.engines.answer_types import choice_type, heading, pattern_type, typed_prompt
from oracle.engines.base import Params, TokenId
from oracle.engines.exact.text_prompts import text_prompt
from oracle.engines.exact.vocabulary import entries_of, vocabulary_tree
from oracle.engines.llama import LlamaEngine
from oracle.engines.llama_settings import LlamaSettings, remote_setup
from oracle.engines.remote import RemoteEngine
from oracle.engines.servers import KINDS, EngineServer
from oracle.engines.worker import Limits, WorkerEngine
from oracle.engines.worker_wire import BadMessage
from oracle.errors import BadSettings, EngineCrashed, EngineServerFailed, ProofFailed, UnmeasuredServer
from oracle.merkle.tokens import tokens_root
from oracle.models import gguf as reader
from oracle.models.files import ModelFile
from oracle.models.store import ModelStore
from oracle.node.engines import llama_engines
from oracle.node.records import PanelTerms
from oracle.node.settings import Settings, load

TOLERANCE = 1 << 14
GREEDY = Params(max_tokens=16)
SAMPLED = Params(max_tokens=16, temperature=1 << 16, seed=bytes(range(32)))
CUT = replace(SAMPLED, temperature=2 << 16, cutoff=3 << 16)
ALL_KINDS = pytest.mark.parametrize("kind", KINDS)
ALL_PARAMS = pytest.mark.parametrize("params", [GREEDY, SAMPLED, CUT], ids=["greedy", "sampled", "cut"])
SETTINGS = LlamaSettings(threads=1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    return path, tiny_gguf.write(path)


@pytest.fixture(scope="module")
def here(tiny):
    path, manifest = tiny
    return LlamaEngine(ModelFile.of(manifest, path), manifest, TOLERANCE, SETTINGS)


@pytest.fixture(scope="module")
def shared(tiny):
    server = ModelServer(tiny[0], CONTEXT_LENGTH)
    yield server
    server.close()


@pytest.fixture
def server(shared):
    shared.behaviour = Behaviour()
    return shared


def named(kind, server):
    return EngineServer.parse(f"{kind}+http://127.0.0.1:{server.port}")


def engine_of(tiny, kind, server, tolerance=TOLERANCE):
    path, manifest = tiny
    ask = named(kind, server).answer
    return RemoteEngine(ModelFile.of(manifest, path), manifest, tolerance, SETTINGS, ask)


# -- what is refused


@pytest.mark.parametrize(
    "text",
    [
        "vllm",
        "http://127.0.0.1:8000",
        "ollama+http://127.0.0.1:8000",
        "vllm+ftp://127.0.0.1",
        "vllm+http://127.0.0.1:8000/v1",
        "vllm+http://gpu.example:8000",
        "vllm+http://127.0.0.1:hunter2",
    ],
)
def test_server__no_kind_no_url_or_in_the_clear_over_a_network__is_refused_without_being_repeated(text):
    with pytest.raises(BadSettings) as refused:
        EngineServer.parse(text)
    assert "hunter2" not in str(refused.value)
    assert "example" not in str(refused.value)


@ALL_KINDS
def test_prove__another_quantization_on_the_server__is_refused(tiny, kind, tmp_path):
    other = tmp_path / "other.gguf"
    tiny_gguf.write(other, gguf.GGMLQuantizationType.Q4_0)
    server = ModelServer(other, CONTEXT_LENGTH)
    try:
        with pytest.raises(ProofFailed, match="another model, or another quantization"):
            engine_of(tiny, kind, server).prove()
    finally:
        server.close()


@ALL_KINDS
def test_prove__server_of_a_larger_vocabulary__is_refused(tiny, kind, server):
    server.behaviour.change = lambda body: _with_token(body, 1 << 20)
    with pytest.raises(ProofFailed, match=r"token 1048576, the manifest's file has"):
        engine_of(tiny, kind, server).prove()


def _with_token(body, token):
    """Every reply tells of one more token, the likeliest."""
    if "meta_info" in body:
        for row in filter(None, [*body["meta_info"]["input_top_logprobs"], *body["meta_info"]["output_top_logprobs"]]):
            row.insert(0, [0.0, token, None])
    elif "completion_probabilities" in body:
        for each in body["completion_probabilities"]:
            each["top_logprobs"].insert(0, {"id": token, "logprob": 0.0})
    elif "choices" in body:
        for choice in body["choices"]:
            choice["logprobs"]["top_logprobs"][0][f"token_id:{token}"] = 0.0
            for row in filter(None, choice["prompt_logprobs"] or []):
                row[str(token)] = {"logprob": 0.0}
    return body


def test_prove__vllm_with_its_usual_cap__says_how_to_start_it(tiny, server):
    server.behaviour.cap = 20
    with pytest.raises(EngineServerFailed, match="HTTP 400: start it with --max-logprobs -1"):
        engine_of(tiny, "vllm", server).prove()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body: b"<html>", "no JSON"),
        (lambda body: {}, "something else than asked"),
        (lambda body: [], "something else than asked"),
        (lambda body: {"choices": [], "meta_info": {}, "completion_probabilities": []}, "something else than asked"),
    ],
)
@ALL_KINDS
def test_answer__nonsense__is_told_as_the_server_s(kind, server, change, said):
    server.behaviour.change = change
    with pytest.raises(EngineServerFailed, match=said):
        named(kind, server).answer({"tokens": [1, 2, 3], "rows": 2, "width": 4, "filler": END})


@ALL_KINDS
@pytest.mark.parametrize("value", ["0.5", 7.5, True, [1]])
def test_answer__values_that_are_no_log_probabilities__are_refused(kind, server, value):
    def change(body):
        if "meta_info" in body:
            body["meta_info"]["output_top_logprobs"][0][0][0] = value
        elif "completion_probabilities" in body:
            body["completion_probabilities"][0]["top_logprobs"][0]["logprob"] = value
        elif "choices" in body:
            body["choices"][0]["logprobs"]["top_logprobs"][0]["token_id:7"] = value
        return body

    server.behaviour.change = change
    with pytest.raises(EngineServerFailed, match="something else than asked"):
        named(kind, server).answer({"tokens": [1, 2, 3], "rows": 1, "width": 4, "filler": END})


@ALL_KINDS
def test_answer__server_tells_fewer_than_asked__says_how_to_start_it(kind, server):
    with pytest.raises(EngineServerFailed, match=r"tells 377 log-probabilities of 400: start it with"):
        named(kind, server).answer({"tokens": [1, 2, 3], "rows": 1, "width": 400, "filler": END})


@ALL_KINDS
def test_answer__server_refuses_or_hangs_up__is_told_without_its_address(kind, server):
    secret = EngineServer.parse(f"{kind}+http://:hunter2@127.0.0.1:{server.port}")
    question = {"tokens": [1, 2, 3], "rows": 1, "width": 4, "filler": END}
    for behaviour in (Behaviour(status=500), Behaviour(hang_up=True), Behaviour(token="another")):
        server.behaviour = behaviour
        with pytest.raises(EngineServerFailed) as failed:
            secret.answer(question)
        assert "hunter2" not in str(failed.value)
        assert str(server.port) not in str(failed.value)
    assert "hunter2" not in repr(secret)
    server.behaviour = Behaviour(token="hunter2")
    assert len(secret.answer(question)["rows"][0][0]) == 4


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"tokens": [], "rows": 1, "width": 4, "filler": 2},
        {"tokens": [1, -1], "rows": 1, "width": 4, "filler": 2},
        {"tokens": [1, "/etc"], "rows": 1, "width": 4, "filler": 2},
        {"tokens": [1], "rows": 2, "width": 4, "filler": 2},
        {"tokens": [1] * 4096, "rows": 4096, "width": 4096, "filler": 2},
    ],
)
def test_answer__question_of_a_worker_gone_wrong__never_reaches_the_server(server, question):
    with pytest.raises(BadMessage):
        named("vllm", server).answer(question)
    assert not server.behaviour.asked


# -- what is computed


@ALL_KINDS
def test_prove__the_manifest_s_model_on_the_server__says_how_far_apart_both_are(tiny, kind, server):
    assert "17 rows of a server and of the file, at most 0.00" in engine_of(tiny, kind, server).prove()


@ALL_KINDS
@ALL_PARAMS
def test_generate_and_check__on_a_server__as_in_this_process(tiny, here, server, kind, params):
    there = engine_of(tiny, kind, server)
    rng = random.Random(5)
    for number in range(3):
        prompt = here.tokenize(text_prompt(rng.randbytes(12)))
        assert there.tokenize(text_prompt(bytes(3))) == here.tokenize(text_prompt(bytes(3)))
        own = replace(params, seed=number.to_bytes(32, "big"))
        completion = here.generate(prompt, own)
        assert there.generate(prompt, own) == completion
        assert there.check(prompt, completion.tokens, own).correct
        wrong = [*completion.tokens]
        place = rng.randrange(len(wrong))
        wrong[place] = TokenId(next(token for token in range(100, 260) if token != wrong[place]))
        assert there.check(prompt, wrong, own) == here.check(prompt, wrong, own)
        assert not there.check(prompt, wrong, own).correct


@ALL_KINDS
def test_shortfalls__first_tokens_of_a_row_do_not_decide__more_is_asked_for_and_all_are_as_here(
    tiny, here, server, kind
):
    """At a high temperature the likeliest 32 tokens say little about who wins."""
    hot = Params(max_tokens=8, temperature=20 << 16, seed=bytes(31) + b"\x07")
    there = engine_of(tiny, kind, server)
    prompt = here.tokenize(text_prompt(b"hot"))
    completion = here.generate(prompt, hot)
    short = there.shortfalls(prompt, completion.tokens, hot)
    assert max(abs(a - b) for a, b in zip(short, here.shortfalls(prompt, completion.tokens, hot), strict=True)) < 64
    widths = {
        body.get("logprobs") or body.get("top_logprobs_num") or body.get("n_probs")
        for _, body in server.behaviour.asked
    }
    assert max(widths - {None}) > 32


@ALL_KINDS
def test_choice__on_a_server__as_in_this_process(tiny, here, server, kind):
    root = vocabulary_tree(entries_of(reader.read(tiny[0]))).root
    asking = typed_prompt(choice_type([[100], [101, 102], [101, 103]], root), text_prompt(b"Is it?"))
    params = Params(16, answer_type=heading(asking))
    there, prompt = engine_of(tiny, kind, server), here.tokenize(asking)
    made = here.generate(prompt, params)
    assert there.generate(prompt, params).tokens == made.tokens
    assert there.check(prompt, made.tokens, params, made.text).correct
    lie = bytes([made.text[0], *bytes(len(made.text) - 1)])
    assert not there.check(prompt, made.tokens, params, lie).correct


@ALL_KINDS
def test_pattern__on_a_server__as_in_this_process(tiny, here, server, kind):
    """Also where none of the likeliest 32 tokens is allowed, or another allowed one is far likelier."""
    root = vocabulary_tree(entries_of(reader.read(tiny[0]))).root
    there, rng = engine_of(tiny, kind, server), random.Random(1)
    for table in (digits_table(4), words_table([b"yes", b"no", b"then"]), table_of([(0, 0)], [[(128, 255, 0)]])):
        asking = typed_prompt(pattern_type(table, root), text_prompt(b"Is it?"))
        params, prompt = Params(8, 1 << 16, answer_type=heading(asking)), here.tokenize(asking)
        made = here.generate(prompt, params)
        assert there.generate(prompt, params).tokens == made.tokens
        assert there.check(prompt, made.tokens, params, made.text).correct
        assert there.recover(prompt, made.text, len(made.tokens), made.root, params) == list(made.tokens)
        course = here.course(prompt, params)
        for step, token in enumerate(made.tokens[:-1]):
            for other in rng.sample(course.tokens.tolist(), min(3, len(course.tokens))):
                lie = [*made.tokens[:step], TokenId(other), made.tokens[-1]]
                assert there.check(prompt, lie, params) == here.check(prompt, lie, params)
            course = course.then(token)


@ALL_KINDS
def test_pattern__token_that_alone_may_come__no_more_of_its_row_is_asked_for(tiny, here, server, kind):
    """None of both is likely: a byte that begins no letter, and the end after it."""
    root = vocabulary_tree(entries_of(reader.read(tiny[0]))).root
    asking = typed_prompt(pattern_type(true_table([[(0x80, 0x80, 1)], []], [1]), root), text_prompt(b"Is it?"))
    there, params, prompt = engine_of(tiny, kind, server), Params(8, answer_type=heading(asking)), here.tokenize(asking)
    made = there.generate(prompt, params)
    assert (made.text, len(made.tokens)) == (b"\x80", 2)
    assert there.check(prompt, made.tokens, params).correct
    assert there.recover(prompt, made.text, 2, made.root, params) == list(made.tokens)
    widths = {
        body.get("logprobs") or body.get("top_logprobs_num") or body.get("n_probs")
        for _, body in server.behaviour.asked
    }
    assert max(widths - {None}) == 32


@ALL_KINDS
def test_recover__tokens_from_a_text__as_in_this_process(tiny, here, server, kind):
    prompt = here.tokenize(text_prompt(b"say"))
    made = here.generate(prompt, SAMPLED)
    found = engine_of(tiny, kind, server).recover(prompt, made.text, len(made.tokens), made.root, SAMPLED)
    assert found == list(made.tokens)
    assert tokens_root(found) == made.root


def test_llama_cpp__likeliest_token_ends_within_a_letter__its_row_is_read_all_the_same(tiny, here, server):
    """The server's reply has no entry for such a token, and the next one's in its place."""
    row = server.log_probabilities([7, 8, 9])[-1]
    inside = [token for token, piece in enumerate(server.model.pieces) if piece[:1] >= b"\x80"]
    assert inside, "the vocabulary has bytes of letters"
    answer = named("llama.cpp", server).answer({"tokens": [7, 8, 9], "rows": 1, "width": 377, "filler": END})
    ((ids, values),) = answer["rows"]
    assert max(abs(row[token] - value / 65536) for token, value in zip(ids, values, strict=True)) < 1e-4
    assert set(inside) <= set(ids)


# -- in a worker


def worker_of(tiny, kind, server, **limits):
    path, manifest = tiny
    return WorkerEngine(remote_setup(manifest, path, TOLERANCE, SETTINGS, named(kind, server)), Limits(**limits))


def test_worker__asks_the_server_through_its_parent__answers_as_here(tiny, here, server):
    worker = worker_of(tiny, "sglang", server, job=60)
    try:
        assert "17 rows of a server" in worker.prove()
        prompt = worker.tokenize(text_prompt(b"Is it so?"))
        made = worker.generate(prompt, GREEDY)
        assert made == here.generate(prompt, GREEDY)
        assert worker.check(prompt, made.tokens, GREEDY).correct
        root = vocabulary_tree(entries_of(reader.read(tiny[0]))).root
        for kind in (choice_type([[100], [101, 102]], root), pattern_type(words_table([b"yes", b"no"]), root)):
            asking = typed_prompt(kind, text_prompt(b"Is it?"))
            params, prompt = Params(8, answer_type=heading(asking)), worker.tokenize(asking)
            made = worker.generate(prompt, params)
            assert made == here.generate(prompt, params)
            assert worker.check(prompt, made.tokens, params, made.text).correct
        assert worker.trouble is None
    finally:
        worker.close()


def test_worker__server_fails_in_the_middle__crash_is_told_job_is_not_blamed_and_the_next_try_works(tiny, server):
    worker = worker_of(tiny, "vllm", server, job=60, first_pause=0.0)
    try:
        prompt = worker.tokenize(text_prompt(b"Is it so?"))
        for _ in range(3):  # a job that crashes its worker twice is refused; this one is not
            server.behaviour.status = 500
            with pytest.raises(EngineCrashed, match=r"engine's server \(vllm\) refuses with HTTP 500"):
                worker.generate(prompt, GREEDY)
            assert worker.trouble is not None
            assert worker.trouble.kind == "crashed"
            server.behaviour.status = 200
            worker._not_before = 0.0
        assert worker.generate(prompt, GREEDY).tokens
    finally:
        worker.close()


def test_worker__server_hangs__job_ends_in_time(tiny, server):
    worker = worker_of(tiny, "sglang", server, job=1.5)
    try:
        prompt = worker.tokenize(text_prompt(b"Is it so?"))
        server.behaviour.wait = 5.0
        with pytest.raises(EngineCrashed, match=r"longer than 1\.5 s in a job"):
            worker.generate(prompt, GREEDY)
    finally:
        worker.kill()
        worker.close()
    assert threading.active_count() < 64


# -- of a node


def settings_of(folder, manifest, server, **more):
    return Settings(
        rpc_urls=["http://127.0.0.1:1"],
        deployment=folder / "deployment.json",
        services=["0x" + "ab" * 32],
        models=folder,
        threads=1,
        engine_servers=[f"0x{manifest.model_id.hex()}=sglang+http://127.0.0.1:{server.port}"],
        **more,
    )


def service_of(manifest, tolerance):
    terms = SimpleNamespace(model=manifest.model_id, turn_seconds=60, window_seconds=60, arbiter="0xpanel")
    return SimpleNamespace(terms=terms, panel=PanelTerms(1, 1, 1, 1, 1, 3, tolerance))


@pytest.mark.parametrize("tee", ["tdx", "dev"])
def test_node__in_a_tee_with_a_server__is_refused_at_the_start(tiny, server, tmp_path, tee):
    with pytest.raises(UnmeasuredServer, match=r"engine_servers cannot be used with tee: .* is in no measurement"):
        llama_engines(settings_of(tmp_path, tiny[1], server, tee=tee), lambda arbiter: False)


def test_node__panel_with_a_tolerance__is_served_by_the_server_and_one_without_by_the_exact_engine(
    tiny, server, tmp_path
):
    path, manifest = tiny
    store = ModelStore(tmp_path)
    store.take_copy(path)
    store.allow(manifest)
    make = llama_engines(settings_of(tmp_path, manifest, server, gpus=["0", "1"]), lambda arbiter: False)
    setups = [make(service_of(manifest, tolerance)).workers[0].setup for tolerance in (TOLERANCE, 0)]
    assert [setup.factory for setup in setups] == [
        "oracle.engines.remote:load",
        "oracle.engines.exact.engine:load",
    ]
    assert setups[0].relay == named("sglang", server)
    assert setups[0].gpu is None
    assert setups[1].relay is None


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        (["vllm+http://127.0.0.1:8000"], "MODEL=KIND.URL, with the model's whole id"),
        (["0x" + "ab" * 32 + "=vllm+http://hunter2:8000"], "beyond this machine needs https"),
        (["0x" + "ab" * 32 + "=vllm+http://127.0.0.1:8000"] * 2, "names a model twice"),
    ],
)
def test_settings__server_that_cannot_be_used__is_refused_by_name_without_its_address(tmp_path, servers, said):
    with pytest.raises(BadSettings, match=said) as refused:
        load(
            None,
            rpc_urls=["http://127.0.0.1:1"],
            deployment=tmp_path / "deployment.json",
            services=["0x" + "ab" * 32],
            engine_servers=servers,
        )
    assert "hunter2" not in str(refused.value)
