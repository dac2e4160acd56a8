"""Every error of the contracts says when it is thrown and what to do, and the page of errors has them all."""

from tools import errors_page


def test_errors__each__say_when_and_what_to_do():
    silent = [
        (file, error.name)
        for file, errors in errors_page.declared().items()
        for error in errors
        if not (error.when.startswith("Thrown ") and error.cure.endswith("."))
    ]
    assert silent == []


def test_page__errors__are_those_of_the_contracts():
    assert errors_page.FILE.read_text() == errors_page.text(), "run: make errors"


def test_selectors__of_errors_that_deployed_contracts_throw__are_known():
    known = {name for name, _ in errors_page.selectors()}
    interfaces = {
        error.name for file, errors in errors_page.declared().items() if file == "IOracle" for error in errors
    }
    assert interfaces <= known


def test_error__comment_over_two_lines_with_parameters__is_read():
    source = """
    /// @notice Thrown when a thing
    /// happens.
    /// @dev Do another.
    /// @param a what it is.
    error Thing(uint256 a,
        bytes32 b);
    error Bare();
"""
    first, second = errors_page.errors_in(source)
    assert (first.name, first.arguments, first.when, first.cure) == (
        *("Thing", "uint256 a, bytes32 b"),
        *("Thrown when a thing happens.", "Do another."),
    )
    assert (second.name, second.when, second.cure) == ("Bare", "", "")
