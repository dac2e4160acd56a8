// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Patterns} from "../disputes/referee/Patterns.sol";

/// @title Functions of Patterns, for tests to call.
contract PatternsHarness {
    /// @notice Whether a table is whole; if so, where a text leads from state 0, what that state needs, and the gas that
    /// the way took.
    function walk(bytes calldata table, bytes calldata text)
        external
        view
        returns (bool isWhole, uint256 state, uint256 need, uint256 gas)
    {
        isWhole = Patterns.isWhole(table);
        if (!isWhole) return (false, 0, 0, 0);
        uint256 before = gasleft();
        state = Patterns.walk(table, 0, text);
        gas = before - gasleft();
        need = state == Patterns.NOWHERE ? 0 : Patterns.need(table, state);
    }
}
