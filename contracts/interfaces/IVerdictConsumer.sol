// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {RequestId} from "./Ids.sol";
import {IOracle} from "./IOracle.sol";

/// @title A contract that asks for one of a few choices, and hears of each question exactly one verdict.
interface IVerdictConsumer {
    /// @notice Thrown for a type of answers that is no choice, or whose length is not what it says.
    /// @dev Use the bytes that `didyma type choice` prints, unchanged.
    error NotAChoice();

    /// @notice Thrown when a question is asked without a callback: nobody would ever hear its verdict.
    /// @dev Set `callbackGas` to what the verdict's work takes.
    error NoCallback();

    /// @notice Thrown for a request that this contract did not ask for a choice, or whose verdict it has heard.
    /// @dev Nothing is to be done: each question has one verdict.
    error NotAwaited(RequestId requestId);

    /// @notice Thrown when a question is closed whose answer may still come.
    /// @dev Close it once the request is refunded or cancelled, or its deadline has passed.
    error MayBeAnswered(RequestId requestId, IOracle.Status status);

    /// @notice Ends a question without an answer: its request was refunded or cancelled, or its deadline passed and nobody
    /// has answered. The contract hears "unknown", once. Anyone may call.
    function close(RequestId requestId) external;

    /// @notice What was heard of a question.
    /// @return isHeard whether there is a verdict.
    /// @return choice index of the choice, or 255: unknown.
    /// @return margin by how much the choice won, with 16 fraction bits; 0 if unknown.
    function verdictOf(RequestId requestId) external view returns (bool isHeard, uint8 choice, uint32 margin);
}
