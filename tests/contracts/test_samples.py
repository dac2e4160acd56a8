"""The pages' Python block for Ape, run as it stands against the mock oracle and the pages' own contract."""

from types import SimpleNamespace

from ape import project
from ape.contracts import ContractContainer
from ethpm_types import ContractType
from rig.samples import BY_APE, compiled, samples
from world import GWEI, UNKNOWN

from oracle.client.choices import Reader
from oracle.client.devnet import read_description
from oracle.client.patterns import forms
from oracle.engines.exact.text_prompts import text_prompt
from oracle.models.shipped import SHIPPED_MODEL

SERVICE = b"\x07" * 32


def on_dapps(language):
    """The blocks of dapps.md: those of by-hand.md are files of projects."""
    return [sample for sample in samples(language) if sample.page.name == "dapps.md"]


def test_block_for_ape__as_it_stands__answers_fails_leaves_and_refunds(people, world):
    (sample,) = [sample for sample in on_dapps("python") if BY_APE in sample.code]
    critic = compiled(on_dapps("solidity"))["Critic"]
    bytecode = {"bytecode": "0x" + critic["evm"]["bytecode"]["object"]}
    kind = ContractType(contractName="Critic", abi=critic["abi"], deploymentBytecode=bytecode)
    names = {
        "project": SimpleNamespace(MockOracle=project.MockOracle, Critic=ContractContainer(kind)),
        "deployer": people.deployer,
        "user": people.payer,
        "service": SERVICE,
        "params": world.params(callbackGas=80_000, callbackGasPriceWei=GWEI),
        "base_price_wei": 20_000 * GWEI,
        "byte_price_wei": 10 * GWEI,
        "token_price_wei": 1_000 * GWEI,
    }
    exec(compile(sample.code, sample.name, "exec"), names)  # the project's own page
    mock, dapp = names["mock"], names["dapp"]
    events = (mock.RequestFinalized, mock.CallbackFailed, mock.CallbackLeft, mock.RequestRefunded, mock.AnswerRuled)
    assert [len(list(event)) for event in events] == [7, 1, 1, 1, 1]
    requests = [event.requestId for event in mock.RequestPosted]
    heard = [tuple(dapp.verdictOf(each)) for each in requests]
    unknown = (True, UNKNOWN, 0)
    assert heard == [(True, 1, 3 << 16), *[unknown] * 3, *[(False, UNKNOWN, 0)] * 2, unknown, unknown]
    assert not any(dapp.good(each) for each in requests)
    assert mock.credit(dapp) > 0


def test_thermometer__on_the_mock__reads_integers_of_its_range_and_nothing_else(people, world):
    thermometer = compiled(on_dapps("solidity"))["Thermometer"]
    bytecode = {"bytecode": "0x" + thermometer["evm"]["bytecode"]["object"]}
    kind = ContractType(contractName="Thermometer", abi=thermometer["abi"], deploymentBytecode=bytecode)
    mock = people.deployer.deploy(project.MockOracle, 20_000 * GWEI, 10 * GWEI, 1_000 * GWEI)
    dapp = people.deployer.deploy(ContractContainer(kind), mock)
    params = world.params(callbackGas=80_000, callbackGasPriceWei=GWEI)
    made = Reader.of(*read_description(SHIPPED_MODEL)).pattern(forms.integer(-90, 60))
    text = b"How cold is it in Oslo?"
    price = sum(mock.quote(SERVICE, len(made.asking(text_prompt(text))), params)[:2])
    for output in (b"-3", b"60", b"61", b"-0", b"", b"cold"):
        dapp.ask(SERVICE, text, params, sender=people.payer, value=price)
        request = mock.last()
        mock.answer(request, output, 2, sender=people.payer)
        assert dapp.degrees(request) == (made.read(output) if made.matches(output) else 0)
        assert made.matches(output) == (output in (b"-3", b"60"))
    assert len(list(mock.CallbackFailed)) == 0
