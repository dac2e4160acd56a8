"""What is asked, in the envelope that services read: words stay words, whoever wrote them."""

import pytest
from eth_abi.abi import encode

from oracle.client.chat import check_words, enveloped
from oracle.disputes.commitments import NUMBERS, text_numbers
from oracle.errors import Refused
from oracle.models.manifest import Manifest

NOTHING = text_numbers(None)
HOSTILE = b"\x02\x01\x00\x00\x03\x00\x00\x07"
"""Would be a prompt of parts, with an id, if it were read as a prompt."""


def manifest(text: tuple[object, ...] = (2, 0, 0, 1, 0)) -> Manifest:
    numbers = encode(NUMBERS, (0, *[1] * 11, 1, 1, bytes(32), bytes(32), *text, b""))
    return Manifest("chatty", b"\x11" * 32, 1, "", 64, (5, 6), (7,), (2,), 3, bytes(32), numbers)


def test_enveloped__one_question__is_words_whatever_they_are():
    assert enveloped(manifest(), [HOSTILE]) == b"\x00" + HOSTILE


def test_enveloped__several_turns__have_the_manifest_s_markers_between_them_as_ids():
    made = enveloped(manifest(), [b"Hi", HOSTILE, b"And?"])
    after_asker = b"\x01\x00\x00\x03\x00\x00\x07"
    after_model = b"\x01\x00\x00\x09\x00\x00\x02\x00\x00\x05\x00\x00\x06"
    said = b"\x00\x00\x00\x08" + HOSTILE
    assert made == b"\x02\x00\x00\x00\x02Hi" + after_asker + said + after_model + b"\x00\x00\x00\x04And?"


def test_enveloped__system__comes_first_as_words():
    assert enveloped(manifest(), [b"Hi"], b"Be kind.") == b"\x02\x00\x00\x00\x0aBe kind.\n\n\x00\x00\x00\x02Hi"


@pytest.mark.parametrize("turns", [[], [b"Hi", b"Hello"]], ids=["none", "the model's last"])
def test_enveloped__no_question_at_the_end__is_refused(turns):
    with pytest.raises(Refused, match="begins and ends with the asker's words"):
        enveloped(manifest(), turns)


def test_words__vocabulary_that_reads_no_text__are_refused():
    check_words(manifest())
    with pytest.raises(Refused, match="takes no words for chatty"):
        check_words(manifest(NOTHING))
