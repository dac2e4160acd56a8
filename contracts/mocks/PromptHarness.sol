// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Reading} from "../disputes/referee/Reading.sol";

/// @title What prompts say, for tests to ask.
contract PromptHarness {
    /// @notice `Reading.of_`.
    function read(bytes calldata prompt, bool prefixed, uint256 missing, uint256 place)
        external
        pure
        returns (bytes memory data, bool ofIds, uint256 start, uint256 end)
    {
        Reading.Part memory part;
        (data, part) = Reading.of_(prompt, prefixed, missing, place);
        return (data, part.ofIds, part.start, part.end);
    }
}
