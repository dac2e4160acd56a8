"""The measurement of false alarms and misses, in small: the whole of it is `python -m bench.llama_check`."""

import random

import gguf
import pytest
from rig import tiny_gguf

from bench.llama_check import ONE_LOGIT, Subject, measure, requantized, trained_further


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    path = folder / "tiny.gguf"
    manifest = tiny_gguf.write(path, gguf.GGMLQuantizationType.Q8_0)

    def prompt(engine, rng: random.Random):
        return engine.tokenize(rng.randbytes(rng.randrange(1, 100)))

    subject = Subject("tiny", path, manifest, prompt)
    impostors = {"quantized": requantized(subject, folder), "changed": trained_further(subject, folder)}
    return measure(subject, impostors, answers=24, max_tokens=16)


def test_measure__honest_answers_across_threads_and_batches__no_false_alarm(result):
    assert result.answers == 24
    assert result.false_alarms == 0
    assert result.largest_in_small_batches <= result.largest_shortfall <= result.tolerance / 2
    assert result.tolerance < ONE_LOGIT


def test_measure__choices_across_threads_and_batches__no_false_alarm(result):
    assert result.choices == 200
    assert result.choices_alarmed == 0
    assert 0 < result.largest_difference <= result.tolerance / 2


def test_measure__patterns_across_threads_and_batches__no_false_alarm(result):
    assert result.patterns == 200
    assert result.patterns_alarmed == 0
    assert result.largest_in_patterns <= result.tolerance / 2


@pytest.mark.parametrize("kind", ["a random token", "truncated", "stopped early", "another seed", "quantized"])
def test_measure__wrong_answers__noticed(result, kind):
    missed, tried = result.misses[kind]
    assert tried >= 10
    assert missed <= tried // 10


@pytest.mark.parametrize("kind", ["the runner-up token", "changed"])
def test_measure__nearly_right_answers__some_noticed(result, kind):
    missed, tried = result.misses[kind]
    assert tried >= 10
    assert missed < tried
