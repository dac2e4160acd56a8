"""What a node has in hand, and how far it is: entered by key, told from any thread, and logged where it takes long."""

import pytest
from structlog.testing import capture_logs

from oracle.ids import RequestId
from oracle.node.in_hand import LOGGED_SECONDS, InHand, Work

REQUEST = RequestId(7)


def test_tell__step_by_step__the_last_word_stands_until_the_end():
    in_hand = InHand()
    told = in_hand.begin("output:7:aa", REQUEST)
    other = in_hand.begin("engine:bb")
    assert in_hand.now() == [Work("output:7:aa", REQUEST), Work("engine:bb", None)]
    told("read", 8, 64)
    told("generate", 3, 16)
    other("load", 1, 3)
    first, second = in_hand.now()
    assert (first.doing, first.far) == ("computes an answer", "generate: 3 of 16 tokens")
    assert (second.doing, second.far) == ("prepares an engine", "load: 33 %")
    in_hand.end("output:7:aa")
    told("generate", 4, 16)  # of a thread that did not know yet
    assert [work.key for work in in_hand.now()] == ["engine:bb"]


@pytest.mark.parametrize(
    ("said", "far"),
    [
        (("generate", 99, 16), "generate: 16 of 16 tokens"),
        (("generate", -5, 16), "generate: 0 of 16 tokens"),
        (("load", 1, 0), ""),
        (("check", 1, -1), ""),
        (("<b>\x1b[2J", 1, 2), ""),
        (("prefill", 1 << 80, 1 << 81), f"prefill: {1 << 80:,} of {1 << 81:,} layers"),
    ],
)
def test_tell__numbers_and_words_of_a_broken_worker__are_kept_within_bounds(said, far):
    in_hand = InHand()
    in_hand.begin("verdict:7:aa", REQUEST)(*said)
    (work,) = in_hand.now()
    assert work.far == far


def test_log__what_takes_long__is_told_now_and_then_and_engines_by_whoever_prepares_them():
    now = 0.0
    in_hand = InHand(lambda: now)
    told, loading = in_hand.begin("move:aa:node", REQUEST), in_hand.begin("engine:bb")
    with capture_logs() as logs:
        for layer in range(30):
            now = LOGGED_SECONDS * layer / 10
            told("prefill", layer, 30)
            loading("load", layer, 30)
    assert [(line["event"], line["request_id"], line["step"], line["done"], line["total"]) for line in logs] == [
        ("still at work", f"0x{REQUEST:064x}", "prefill", done, 30) for done in (10, 20)
    ]
