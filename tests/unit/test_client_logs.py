"""Reading logs from endpoints that refuse long ranges."""

import pytest
import requests
from web3.exceptions import Web3RPCError

from oracle.chain.spans import AT_ONCE
from oracle.client.logs import in_order, whole_history
from oracle.errors import RpcRefused, RpcUnavailable

LAST = 10_000


class Limited:
    """An endpoint with one log a block, which serves at most `most` blocks at a time."""

    def __init__(self, most, refusal):
        self.most, self.refusal, self.asked = most, refusal, 0

    def __call__(self, first, last):
        self.asked += 1
        if last - first >= self.most:
            raise self.refusal
        return list(range(first, last + 1))


def http(status):
    reply = requests.Response()
    reply.status_code = status
    return requests.HTTPError(response=reply)


@pytest.mark.parametrize("refusal", [RpcRefused("too many"), Web3RPCError("limit exceeded"), http(413), http(400)])
@pytest.mark.parametrize("most", [1, 7, 1000, LAST + 1])
def test_in_order__ranges_refused__every_log_comes_once_and_in_order(refusal, most):
    assert in_order(Limited(most, refusal), 0, LAST, whole_history()) == list(range(LAST + 1))


def test_in_order__nothing_refused__asks_once():
    endpoint = Limited(LAST + 1, RpcRefused("no"))
    in_order(endpoint, 0, LAST, whole_history())
    assert endpoint.asked == 1


def test_in_order__single_blocks_refused__gives_up_soon():
    endpoint = Limited(0, RpcRefused("the method is not served"))
    with pytest.raises(RpcRefused, match="not served"):
        in_order(endpoint, 0, LAST, whole_history())
    assert endpoint.asked <= 1 + AT_ONCE * LAST.bit_length()  # in halves, several on their way


@pytest.mark.parametrize("error", [RpcUnavailable("gone"), http(401), http(404), http(429), http(500 - 1)])
def test_in_order__endpoint_gone_or_closed__is_asked_once(error):
    endpoint = Limited(0, error)
    with pytest.raises(type(error)):
        in_order(endpoint, 0, LAST, whole_history())
    assert endpoint.asked == 1


def test_in_order__range_that_is_empty__asks_nothing():
    endpoint = Limited(1, RpcRefused("no"))
    assert in_order(endpoint, 5, 4, whole_history()) == []
    assert endpoint.asked == 0
