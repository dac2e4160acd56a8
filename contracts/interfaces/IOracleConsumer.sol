// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {RequestId} from "./Ids.sol";

/// @title What a contract implements to be called back.
interface IOracleConsumer {
    /// @notice Thrown when anyone but the oracle calls back.
    /// @dev Only the oracle of the consumer's constructor can deliver; in tests, call through `MockOracle`.
    error NotOracle(address caller);

    /// @notice Delivers the final answer of a request that this contract made. Called once with effect: again only if
    /// it reverted before.
    /// @dev Model output is untrusted input: parse it, bound it, never act on it blindly.
    function onAnswer(RequestId requestId, bytes calldata output) external;
}
