"""The critic on the mock oracle: the test says what the model answers."""

import ape
import pytest

GWEI = 10**9
UNKNOWN, NEGATIVE, POSITIVE = range(3)
REJECTED = 1
REVIEW = b"The soup was cold."


@pytest.fixture
def user(accounts):
    return accounts[0]


@pytest.fixture
def mock(project, user):
    return user.deploy(project.TestOracle, 10**15, 10 * GWEI, 10_000 * GWEI)


@pytest.fixture
def critic(project, user, mock):
    return user.deploy(project.Critic, mock, b"\x07" * 32)


@pytest.fixture
def asked(critic, user):
    critic.ask(REVIEW, GWEI, value=critic.price(len(REVIEW), GWEI), sender=user)
    return critic.last()


def test_ask__wrong_price__reverts(critic, mock, user):
    price = critic.price(len(REVIEW), GWEI)
    with ape.reverts(mock.WrongFee, expectedWei=price, givenWei=price - 1):
        critic.ask(REVIEW, GWEI, value=price - 1, sender=user)


def test_answer__one_word__is_kept(critic, mock, asked, user):
    mock.answer(asked, b"negative", 2, sender=user)
    assert critic.moods(asked) == NEGATIVE


def test_answer__anything_else__is_unknown(critic, mock, asked, user):
    mock.answer(asked, b"rather cold", 2, sender=user)
    assert critic.moods(asked) == UNKNOWN


def test_answer__rejected_in_a_dispute__the_next_one_is_heard(critic, mock, asked, user):
    mock.post(asked, b"positive", 2, sender=user)
    mock.dispute(asked, sender=user)
    mock.rule(asked, REJECTED, sender=user)
    assert critic.moods(asked) == UNKNOWN
    mock.answer(asked, b"negative", 2, sender=user)
    assert critic.moods(asked) == NEGATIVE


def test_refund__nobody_answers__money_comes_back(critic, mock, asked, user):
    mock.refund(asked, sender=user)
    assert mock.credit(critic) == mock.balance > 0
    critic.sweep(user, sender=user)
    assert mock.balance == 0
