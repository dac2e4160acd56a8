// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IReferee} from "./IReferee.sol";

/// @title One family of operators, which a contract's size limit makes a contract of its own.
interface IFamily {
    /// @notice What the operator `question.name` makes of its inputs at one element.
    /// @dev Reverts unless every input hashes to a root of the question. Trusts the question.
    function compute(IReferee.Question calldata question, IReferee.Input[] calldata inputs)
        external
        view
        returns (int256);
}
