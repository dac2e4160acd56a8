"""The node's HTTP API: what it tells, and what it refuses."""

import json
from collections.abc import AsyncIterator

import pytest
import schemathesis
from e2e.world import NODES, World, drive, running_node, step
from fastapi.testclient import TestClient
from pydantic import SecretStr
from rig.fault_rpc import fault_rpc

from oracle.api.app import create_app
from oracle.errors import RpcUnavailable
from oracle.node.daemon import Node

HOST = {"host": "127.0.0.1:8000"}


@pytest.fixture
async def node(earth: World, tmp_path) -> AsyncIterator[Node]:
    """A node that has seen a little of the chain."""
    async with running_node(earth, tmp_path, NODES[0], api_names=["testserver"]) as made:
        await step(earth, made, blocks=2)
        yield made


@pytest.fixture
def api(node: Node) -> TestClient:
    return TestClient(create_app(node), headers=HOST)


@pytest.fixture
def api_schema(node: Node) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(node))


schema = schemathesis.pytest.from_fixture("api_schema")


@schema.parametrize()
def test_api__whatever_the_schema_allows__is_answered_as_documented(case):
    case.call_and_validate()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.", "[::2]:80"])
def test_any__host_name_of_another__is_refused(api, host):
    assert api.get("/jobs", headers={"host": host}).status_code == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_any__method_that_writes__is_refused(api, method):
    assert api.request(method, "/jobs").status_code == 405


def test_any__body__is_refused_unread(api):
    assert api.request("GET", "/jobs", content=b"x" * 10_000_000).status_code == 413


@pytest.mark.parametrize("query", ["state=closed", "limit=0", "limit=1001", "limit=many"])
def test_jobs__bad_query__is_422(api, query):
    assert api.get(f"/jobs?{query}").status_code == 422


@pytest.mark.parametrize("request_id", ["0x12", "latest", "0x" + "g" * 64, "1" * 66])
def test_request__malformed_id__is_422(api, request_id):
    assert api.get(f"/requests/{request_id}").status_code == 422


def test_request__unknown__is_404(api):
    assert api.get("/requests/0x" + "0" * 64).status_code == 404


async def test_any__token_set_and_not_given__is_401(earth, tmp_path):
    async with running_node(earth, tmp_path, NODES[0], api_token=SecretStr("s" * 32)) as node:
        api = TestClient(create_app(node), headers=HOST)
        assert api.get("/metrics").status_code == 401
        assert api.get("/livez", headers={"host": "10.0.0.7:8547"}).json() == {"alive": True}
        assert api.get("/metrics", headers={"authorization": "Bearer wrong"}).status_code == 401
        assert api.get("/metrics", headers={"authorization": "Bearer " + "s" * 32}).status_code == 200


def test_livez__always__alive(api):
    assert api.get("/livez").json() == {"alive": True}


async def test_readyz__endpoint_gone__says_why_and_metrics_still_answer(earth, tmp_path):
    """F16, F40: the node is not ready, and everything is still answered from memory."""
    with fault_rpc(earth.chain.url) as proxy:
        async with running_node(earth, tmp_path, NODES[0], rpc_urls=[SecretStr(proxy.url)]) as node:
            api = TestClient(create_app(node), headers=HOST)
            await step(earth, node, blocks=2)
            assert api.get("/readyz").status_code == 200
            (endpoint,) = node.rpc.health()
            asked = f'{{endpoint="0",method="eth_getBlockByNumber"}} {endpoint.requests["eth_getBlockByNumber"]}.0'
            figures = api.get("/metrics").text
            assert 'didyma_rpc_fresh{endpoint="0"} 1.0' in figures
            assert f"didyma_rpc_requests_total{asked}" in figures
            proxy.script("*", "status", 503)
            node.again()
            with pytest.raises(RpcUnavailable):
                await node.round()
            not_ready = api.get("/readyz")
            assert not_ready.status_code == 503
            assert not_ready.json()["reasons"]
            assert "didyma_ready 0.0" in (figures := api.get("/metrics").text)
            assert 'didyma_rpc_fresh{endpoint="0"} 0.0' in figures
            assert api.get("/jobs").status_code == 200


async def test_readyz__machine_s_clock_an_hour_off__is_ready_and_warns(earth, tmp_path):
    """F37: nothing is decided by it."""
    now = earth.client.w3.eth.get_block("latest")["timestamp"]
    async with running_node(earth, tmp_path, NODES[0], wall=lambda: now + 3600.0) as node:
        api = TestClient(create_app(node), headers=HOST)
        await step(earth, node, blocks=2)
        said = api.get("/readyz")
        assert said.status_code == 200
        (warning,) = said.json()["warnings"]
        assert "ahead of the chain's head" in warning
        assert api.get("/view/state").json()["warnings"] == [warning]


async def test_jobs_and_request__answered_one__show_digests_and_never_texts(earth, node, api):
    prompt = b"<script>alert(1)</script>\x1b[31m"
    for seat in range(1, 5):  # whoever is drawn, it is this node
        earth.act(NODES[seat], "setOperator", earth.service, seat, NODES[0].address)
    asked = earth.ask(prompt)
    await drive(earth, [node], lambda: earth.status(asked) != "open")
    await step(earth, node, blocks=3)
    (listed,) = api.get("/jobs").json()["requests"]
    assert listed["request_id"] == f"0x{asked:064x}"
    assert listed["prompt_bytes"] == len(prompt)
    shown = api.get(f"/requests/{listed['request_id']}").json()
    assert shown["answer"]["output_digest"].startswith("0x")
    assert [tx["state"] for tx in shown["transactions"]] == ["mined"]
    for path in ("/view/state", "/view/requests", f"/view/requests/{listed['request_id']}", "/view/disputes"):
        assert "alert(1)" not in api.get(path).text, path
    assert "alert(1)" not in json.dumps(shown)


def test_any__content_policy__lets_nothing_in_but_this_node(api):
    policy = api.get("/").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
