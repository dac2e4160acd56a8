// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IArbiter} from "../interfaces/IArbiter.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {IServices} from "../interfaces/IServices.sol";
import {ServiceId} from "../interfaces/Types.sol";

/// @title An arbiter that does what a test tells it, within what the oracle lets any arbiter do.
contract MockArbiter is IArbiter {
    IOracle public immutable oracle;

    uint32 public disputeSeconds = 1 hours;

    constructor(IOracle oracle_) {
        oracle = oracle_;
    }

    function setDisputeSeconds(uint32 disputeSeconds_) external {
        disputeSeconds = disputeSeconds_;
    }

    /// @inheritdoc IArbiter
    function adopt(ServiceId, IServices.Terms calldata) external view returns (uint32) {
        return disputeSeconds;
    }

    /// @notice Any call of the oracle, as this arbiter, with the ether sent along. Reverts pass through.
    function act(bytes calldata data) external payable returns (bytes memory) {
        (bool success, bytes memory result) = address(oracle).call{value: msg.value}(data);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(result, 0x20), mload(result))
            }
        }
        return result;
    }
}
