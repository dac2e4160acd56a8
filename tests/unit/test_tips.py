"""What a refusal says of the least tip, in the words of those who refuse."""

import pytest

from oracle.chain.tips import least_tip

REFUSALS = [
    ("transaction underpriced: gas tip cap 1000000, minimum needed 25000000000", 25 * 10**9),  # geth, bsc
    ("transaction gas price below minimum: gas tip cap 100, minimum needed 25000000000", 25 * 10**9),
    ("transaction underpriced: tip needed 30000000000, tip permitted 1", 30 * 10**9),  # bor
    ("transaction underpriced: address 0x00 have gas tip cap (0) < pool minimum (1000000000)", 10**9),  # coreth
    ("FeeTooLow, EffectivePriorityFeePerGas too low 10 < 20", 20),  # Nethermind
    ("gas price too low, minimum 2 gwei", 2 * 10**9),
    ("transaction underpriced", None),
    ("max fee per gas less than block base fee: address 0x00, maxFeePerGas: 5, baseFee: 875000000", None),
    ("FeeTooLow, MaxFeePerGas too low. MaxFeePerGas: 1000, BaseFee: 7 < 8", None),
]


@pytest.mark.parametrize(("words", "wei"), REFUSALS)
def test_n7_least_tip__refusal_of_a_client__is_read_or_names_none(words, wei):
    assert least_tip(words) == wei
