"""The committed gas file, after all that fills it."""

from conftest import LIMITS


def test_gas_file__exists__names_only_what_is_measured(gas_file):
    """Runs after the other files on gas, by its name: no figure without its measurement."""
    if gas_file.writing:
        return
    assert set(gas_file.committed) == set(gas_file.measured)
    assert set(LIMITS) <= set(gas_file.committed)
