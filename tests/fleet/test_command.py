"""`didyma fleet` as an operator types it: a database, a machine with the shipped model, a node that has none."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from fleet.conftest import proven

from oracle.client import devnet
from oracle.disputes.chunks import Shelf
from oracle.engines.base import Params
from oracle.engines.choice import engine_setup
from oracle.engines.llama_settings import LlamaSettings
from oracle.engines.worker import WorkerEngine
from oracle.errors import BadSettings
from oracle.fleet.board import Offer
from oracle.fleet.engine import Depth, FleetEngine, queue_of
from oracle.merkle.tokens import unmarked
from oracle.models.shipped import SHIPPED_MODEL
from oracle.models.store import ModelStore
from oracle.node.engines import llama_engines
from oracle.node.fleet import depths
from oracle.node.settings import load

PARAMS = Params(max_tokens=8)


def didyma(*arguments, url, **options):
    environment = os.environ | {"DIDYMA_FLEET_URL": url}
    return subprocess.Popen([sys.executable, "-m", "oracle.cli", *arguments], env=environment, **options)


@pytest.fixture
def store(tmp_path):
    """With the shipped model, as the dispute game judges it."""
    devnet.add_model(tmp_path / "models", SHIPPED_MODEL, committed=True)
    return ModelStore(tmp_path / "models")


def test_fleet__the_shipped_model_on_another_machine__same_bits_for_a_node_without_it(url, board, store, tmp_path):
    (manifest,) = store.manifests()
    worker = didyma("fleet", "work", "--store", str(store.root), "--threads", "1", url=url)
    try:
        settings = load(
            rpc_urls=["http://127.0.0.1:1"], deployment="d.json", services=["0x" + "00" * 32], fleet_url=url,
            models=tmp_path / "none",
        )  # fmt: skip
        terms = SimpleNamespace(model=manifest.model_id, arbiter="", turn_seconds=60, window_seconds=60)
        engine = llama_engines(settings, lambda _: True)(SimpleNamespace(terms=terms, panel=None))
        assert isinstance(engine, FleetEngine)
        proven(engine, seconds=120)
        local = WorkerEngine(engine_setup(manifest, store.file(manifest).path, None, LlamaSettings(), threads=1))
        prompt = local.tokenize(b"\0The sky is")
        assert engine.tokenize(b"\0The sky is") == prompt
        assert engine.generate(prompt, PARAMS) == local.generate(prompt, PARAMS)
        local.close()
        question = {"tokens": unmarked(prompt), "of": "steps", "positions": len(prompt)}
        (tracer,) = engine.tracers(b"")
        assert engine.traced(tracer, question, 60) == Shelf(store.file(manifest).path, 1).answer(question)
        asking = didyma("fleet", "status", url=url, stdout=subprocess.PIPE)
        while asking.poll() is None:
            board.beat("strange", [Offer("another", 1, "\x1b[31mred")], [])
            time.sleep(0.5)
        said = asking.communicate()[0]
        assert f"worker   {queue_of(manifest.model_id, None)}" in said.decode()
        assert "another  1 at a time  \\x1b[31mred" in said.decode()
        assert depths()[queue_of(manifest.model_id, None)] == Depth(waiting=0, workers=1)
        engine.close()
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0


def test_settings__a_fleet_and_a_tee__refused():
    """Other machines are in nobody's measurement."""
    with pytest.raises(BadSettings, match="fleet_url excludes tee"):
        load(
            rpc_urls=["http://127.0.0.1:1"], deployment="d.json", services=["0x" + "00" * 32], tee="dev",
            fleet_url="postgresql:///x",
        )  # fmt: skip
