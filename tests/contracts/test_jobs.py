"""An evaluator of agents' jobs: the escrow pays for a yes, refunds for a no, and nobody's money waits for a verdict."""

import pytest
from ape import project, reverts
from eth_utils import keccak
from world import ETHER, FINAL, GWEI, MARGIN, THREE, UNKNOWN, WRONG, verdict

from oracle.engines.answer_types import choice_type

NONE, ASKED, APPROVED, REFUSED, UNSURE, SETTLED = range(6)
OPEN, FUNDED, SUBMITTED, COMPLETED, REJECTED, EXPIRED = range(6)
YES, NO, NOT_SURE = map(verdict, range(3))
BUDGET, FEE = 1_000, 50
TASK = "Translate 'good morning' into French."
WORK = b"Bonjour."
ANSWER_SECONDS, SETTLE_SECONDS, LIFE_SECONDS = 900, 20_000, 50_000
NOBODY = "0x" + "00" * 20


@pytest.fixture
def token(people):
    made = project.MockToken.deploy(sender=people.deployer)
    made.mint(people.payer, 10 * BUDGET, sender=people.deployer)
    return made


@pytest.fixture
def jobs(token, people):
    made = project.MockJobs.deploy(token, sender=people.deployer)
    token.approve(made, 10 * BUDGET, sender=people.payer)
    return made


@pytest.fixture
def hook(people):
    return project.MockJobHook.deploy(sender=people.stranger)


@pytest.fixture
def evaluator(world, jobs, people):
    return evaluator_of(world, jobs, people)


def evaluator_of(world, jobs, people, answer_type=THREE, value_finney=30):
    rules = (MARGIN, ANSWER_SECONDS, SETTLE_SECONDS, value_finney, BUDGET, people.deployer)
    return project.JobEvaluator.deploy(world.oracle, world.service, answer_type, jobs, rules, sender=people.deployer)


def job_of(world, jobs, evaluator, budget=BUDGET, hook=NOBODY, *, submits=True, seconds=LIFE_SECONDS):
    """A job of the payer's that the challenger has submitted work for. Its number."""
    people = world.people
    number = jobs.createJob.call(people.challenger, evaluator, world.now() + seconds, TASK, hook, sender=people.payer)
    jobs.createJob(people.challenger, evaluator, world.now() + seconds, TASK, hook, sender=people.payer)
    jobs.fund(number, budget, sender=people.payer)
    if submits:
        jobs.submit(number, keccak(WORK), sender=people.challenger)
    return number


@pytest.fixture
def job(world, jobs, evaluator):
    return job_of(world, jobs, evaluator)


def show(world, evaluator, job, work=WORK, gas_price=GWEI):
    price = evaluator.price(job, len(work), gas_price)
    return world.posted(evaluator.show(job, work, gas_price, value=price, sender=world.people.challenger))


def judged(world, evaluator, job, output):
    """The job's work shown, and answered with `output`."""
    answered = world.answer(show(world, evaluator, job), output)
    world.finalize(answered)
    assert world.oracle.statusOf(answered.id) == FINAL  # the callback fits the gas that it buys
    return answered


# WHAT MAY BE SHOWN


def test_evaluator__type_of_one_choice__is_refused(world, jobs, people):
    """Nothing could be refused."""
    with reverts(project.JobEvaluator.NotAChoice):
        evaluator_of(world, jobs, people, choice_type([[7]], b"root"))


def test_show__nothing_submitted__reverts(world, jobs, evaluator, people):
    job = job_of(world, jobs, evaluator, submits=False)
    with reverts(evaluator.NotEvaluable, jobId=job, evaluator=evaluator.address, status=FUNDED):
        evaluator.show(job, WORK, GWEI, value=0, sender=people.challenger)


def test_show__job_of_another_evaluator__reverts(world, jobs, evaluator, people):
    job = job_of(world, jobs, people.watcher)
    with reverts(evaluator.NotEvaluable, jobId=job, evaluator=people.watcher.address, status=SUBMITTED):
        evaluator.show(job, WORK, GWEI, value=0, sender=people.challenger)


@pytest.mark.parametrize("who", ["payer", "stranger"])
def test_show__anyone_but_the_provider__reverts(evaluator, job, people, who):
    """A client could otherwise show worse work than was delivered."""
    caller = getattr(people, who)
    with reverts(evaluator.NotProvider, caller=caller.address):
        evaluator.show(job, b"rubbish", GWEI, value=0, sender=caller)


def test_show__budget_above_the_limit__reverts(world, jobs, evaluator, people):
    """More would depend on the answer than the oracle is told."""
    job = job_of(world, jobs, evaluator, BUDGET + 1)
    with reverts(evaluator.BudgetTooLarge, budget=BUDGET + 1, mostBudget=BUDGET):
        evaluator.show(job, WORK, GWEI, value=0, sender=people.challenger)


def test_show__verdict_might_come_after_the_job_expires__reverts(world, jobs, evaluator, people):
    """The client could take the budget back while the work is judged."""
    job = job_of(world, jobs, evaluator)
    price, expires = evaluator.price(job, len(WORK), GWEI), jobs.getJob(job).expiredAt
    world.set_time(expires - SETTLE_SECONDS + 1)
    with reverts(evaluator.TooLate, jobId=job, expiredAt=expires):
        evaluator.show(job, WORK, GWEI, value=price, sender=people.challenger)
    in_time = job_of(world, jobs, evaluator)
    world.set_time(jobs.getJob(in_time).expiredAt - SETTLE_SECONDS)
    evaluator.show(in_time, WORK, GWEI, value=price, sender=people.challenger)


def test_show__wrong_price__reverts(world, oracle, evaluator, job, people):
    price = evaluator.price(job, len(WORK), GWEI)
    with reverts(oracle.WrongFee, expectedWei=price, givenWei=price - 1):
        evaluator.show(job, WORK, GWEI, value=price - 1, sender=people.challenger)


def test_show__twice__reverts(world, evaluator, job, people):
    """A provider could otherwise try texts until one pleases the model."""
    show(world, evaluator, job)
    with reverts(evaluator.AlreadyShown, jobId=job, stage=ASKED):
        evaluator.show(job, b"Bonsoir.", GWEI, value=0, sender=people.challenger)


@pytest.mark.parametrize(("output", "stage"), [(YES, APPROVED), (NO, REFUSED), (NOT_SURE, UNSURE)])
def test_show__after_a_verdict__reverts(world, evaluator, job, people, output, stage):
    judged(world, evaluator, job, output)
    with reverts(evaluator.AlreadyShown, jobId=job, stage=stage):
        evaluator.show(job, b"Bonsoir.", GWEI, value=0, sender=people.challenger)


def test_show__job_and_work__stand_behind_the_question(world, oracle, lens, evaluator, job):
    asked = show(world, evaluator, job)
    (event,) = oracle.RequestPosted.from_receipt(asked.receipt)
    question = bytes(evaluator.QUESTION()) + TASK.encode() + bytes(evaluator.BEFORE_WORK()) + WORK
    assert bytes(event.prompt).endswith(question)
    params = lens.unpackRequest(asked.request).params
    assert (params.valueFinney, params.deadline) == (30, asked.receipt.timestamp + ANSWER_SECONDS)


# WHO IS PAID


@pytest.mark.parametrize(
    ("output", "status", "provider", "client"),
    [(YES, COMPLETED, BUDGET, 0), (NO, REJECTED, 0, BUDGET)],
)
def test_settle__verdict__pays_whom_it_names_and_nobody_twice(
    world, jobs, token, evaluator, job, people, output, status, provider, client
):
    before = token.balanceOf(people.payer)
    judged(world, evaluator, job, output)
    assert jobs.getJob(job).status == SUBMITTED
    evaluator.settle(job, sender=people.stranger)
    assert jobs.getJob(job).status == status
    assert token.balanceOf(people.challenger) == provider
    assert token.balanceOf(people.payer) - before == client
    assert token.balanceOf(jobs) == 0
    with reverts(evaluator.NothingToSettle, jobId=job, stage=SETTLED):
        evaluator.settle(job, sender=people.stranger)


def test_settle__reason__is_the_hash_of_the_work(world, jobs, evaluator, job, people):
    judged(world, evaluator, job, YES)
    receipt = evaluator.settle(job, sender=people.stranger)
    (event,) = jobs.JobCompleted.from_receipt(receipt)
    assert bytes(event.reason) == keccak(WORK)


UNSURES = [NOT_SURE, verdict(0, MARGIN - 1), verdict(1, 0), verdict(3), verdict(UNKNOWN), b"yes", b""]


@pytest.mark.parametrize("output", UNSURES)
def test_settle__model_not_sure__does_nothing_and_the_client_is_refunded_once_the_job_expires(
    world, jobs, token, evaluator, job, people, output
):
    """Neither a hostile text nor an unsure model pays the provider, and none keeps the budget."""
    before = token.balanceOf(people.payer)
    judged(world, evaluator, job, output)
    with reverts(evaluator.NothingToSettle, jobId=job, stage=UNSURE):
        evaluator.settle(job, sender=people.challenger)
    world.set_time(jobs.getJob(job).expiredAt)
    jobs.claimRefund(job, sender=people.stranger)
    assert token.balanceOf(people.payer) - before == BUDGET


@pytest.mark.parametrize("is_shown", [False, True])
def test_settle__no_verdict__reverts(world, evaluator, job, people, is_shown):
    if is_shown:
        show(world, evaluator, job)
    with reverts(evaluator.NothingToSettle, jobId=job, stage=ASKED if is_shown else NONE):
        evaluator.settle(job, sender=people.challenger)


def test_settle__lie_rejected__acts_on_the_next_answer(world, jobs, evaluator, job, people):
    world.enrich()
    lie = world.answer(show(world, evaluator, job), YES)
    world.judge(lie, [WRONG] * 3)
    world.finalize(world.answer(lie.asked, NO))
    evaluator.settle(job, sender=people.stranger)
    assert jobs.getJob(job).status == REJECTED


def test_settle__client_was_refunded_first__reverts_and_pays_nobody(world, jobs, token, evaluator, job, people):
    judged(world, evaluator, job, YES)
    world.set_time(jobs.getJob(job).expiredAt)
    jobs.claimRefund(job, sender=people.payer)
    with reverts(jobs.WrongStatus):
        evaluator.settle(job, sender=people.challenger)
    assert token.balanceOf(people.challenger) == 0


# NOBODY ANSWERS


def test_close__nobody_answered__work_may_be_shown_again(world, jobs, evaluator, job, people):
    """A provider does not lose its pay to a service that was silent."""
    asked = show(world, evaluator, job)
    world.pass_time(ANSWER_SECONDS + 1)
    evaluator.close(asked.id, sender=people.stranger)
    assert evaluator.judgementOf(job).stage == NONE
    judged(world, evaluator, job, YES)
    evaluator.settle(job, sender=people.stranger)
    assert jobs.getJob(job).status == COMPLETED


def test_close__refunded__gives_the_oracle_s_refund_to_the_treasury(world, oracle, evaluator, job, people):
    asked = show(world, evaluator, job)
    world.pass_time(ANSWER_SECONDS + 1)
    oracle.refund(asked.request, sender=people.stranger)
    evaluator.close(asked.id, sender=people.stranger)
    owed, before = oracle.credit(evaluator), people.deployer.balance
    evaluator.sweep(sender=people.stranger)
    assert people.deployer.balance - before == owed > 0
    assert (oracle.credit(evaluator), evaluator.balance) == (0, 0)


# A HOSTILE CLIENT'S HOOK, A HOSTILE TOKEN


def test_verdict__hook_that_burns_gas_or_refuses__is_heard_all_the_same(world, jobs, token, evaluator, hook, people):
    """A client who expects to lose cannot make the callback fail. It can hold up the escrow until the job expires, as
    the draft lets every hook do."""
    job = job_of(world, jobs, evaluator, hook=hook)
    hook.burn(True, sender=people.payer)
    judged(world, evaluator, job, YES)
    assert evaluator.judgementOf(job).stage == APPROVED
    hook.burn(False, sender=people.payer)
    hook.refuse(True, sender=people.payer)
    with reverts(hook.Refused):
        evaluator.settle(job, sender=people.stranger)
    hook.refuse(False, sender=people.payer)
    evaluator.settle(job, sender=people.stranger)
    assert token.balanceOf(people.challenger) == BUDGET


def test_settle__token_refuses__may_be_repeated(world, token, evaluator, job, people):
    judged(world, evaluator, job, YES)
    token.refuse(True, sender=people.deployer)
    with reverts(token.Refused):
        evaluator.settle(job, sender=people.stranger)
    token.refuse(False, sender=people.deployer)
    evaluator.settle(job, sender=people.stranger)
    assert token.balanceOf(people.challenger) == BUDGET


def test_settle__hook_settles_meanwhile__pays_once(world, jobs, token, evaluator, hook, people):
    """This escrow looks at the status before it calls the hook and sets it after: the worst order there is."""
    job_of(world, jobs, evaluator)  # another job's budget, which a second payment would take
    job = job_of(world, jobs, evaluator, hook=hook)
    judged(world, evaluator, job, YES)
    hook.enter(evaluator, evaluator.settle.encode_input(job), sender=people.payer)
    evaluator.settle(job, sender=people.stranger)
    assert hook.calls() == 1
    assert not hook.reentered()
    assert (token.balanceOf(people.challenger), token.balanceOf(jobs)) == (BUDGET, BUDGET)


def test_sweep_token__evaluator_s_fee__goes_to_the_treasury(world, jobs, token, evaluator, job, people):
    jobs.setEvaluatorFee(FEE, sender=people.deployer)
    judged(world, evaluator, job, YES)
    evaluator.settle(job, sender=people.stranger)
    assert token.balanceOf(evaluator) == FEE
    evaluator.sweepToken(token, sender=people.stranger)
    assert (token.balanceOf(evaluator), token.balanceOf(people.deployer)) == (0, FEE)
    assert token.balanceOf(people.challenger) == BUDGET - FEE


def test_sweep_token__token_refuses__reverts_and_loses_nothing(jobs, token, evaluator, people):
    token.mint(evaluator, FEE, sender=people.deployer)
    token.refuse(True, sender=people.deployer)
    with reverts(evaluator.TransferFailed, to=people.deployer.address, amountWei=FEE):
        evaluator.sweepToken(token, sender=people.stranger)
    assert token.balanceOf(evaluator) == FEE


def test_evaluator__ether_sent_without_a_question__is_refused(evaluator, people):
    """It would be stuck."""
    with reverts():
        people.stranger.transfer(evaluator, ETHER)
    assert evaluator.balance == 0
