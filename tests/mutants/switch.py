"""A switch in contracts: changes stand beside what they change, in one build, and a test turns one of them on.

Which is on is part of the chain's state, so that whatever takes a test's doings back takes this back as well.
"""

SWITCH = "0x000000000000000000000000000000000000515D"
"""An account whose balance in wei is the number of the change that is on."""
FILE = "Switch.sol"
LIBRARY = f"""// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

address constant SWITCH = {SWITCH};

/// @dev Said to be pure, so that it may stand in functions that are.
function on(uint256 number) pure returns (bool) {{
    function(uint256) view returns (bool) looks = _looks;
    function(uint256) pure returns (bool) asPure;
    assembly ("memory-safe") {{
        asPure := looks
    }}
    return asPure(number);
}}

function _looks(uint256 number) view returns (bool) {{
    return SWITCH.balance == number;
}}
"""


def importing(file: str, text: str) -> str:
    """The text of a contract, with `on` in it. file: its path below that of `FILE`."""
    line = f'import {{on}} from "./{"../" * file.count("/")}{FILE}";\n'
    return text if line in text else text.replace("\n\n", f"\n\n{line}", 1)
