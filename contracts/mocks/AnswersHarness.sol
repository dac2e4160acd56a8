// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Answers} from "../consumer/Answers.sol";

/// @title Answers' functions, for tests to call.
contract AnswersHarness {
    function integer(bytes memory text, int256 low, int256 high) external pure returns (bool, int256) {
        return Answers.integer(text, low, high);
    }

    function date(bytes memory text) external pure returns (bool, uint256) {
        return Answers.date(text);
    }

    function account(bytes memory text) external pure returns (bool, address) {
        return Answers.account(text);
    }

    function fields(bytes memory json, bytes[] memory names) external pure returns (bool, bytes[] memory) {
        return Answers.fields(json, names);
    }

    function quoted(bytes memory value) external pure returns (bool, bytes memory) {
        return Answers.quoted(value);
    }
}
