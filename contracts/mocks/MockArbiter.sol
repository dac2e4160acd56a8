// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IArbiter} from "../interfaces/IArbiter.sol";
import {ServiceId} from "../interfaces/Ids.sol";
import {IServices} from "../interfaces/IServices.sol";

/// @title An arbiter that takes any service; tests speak in its name.
contract MockArbiter is IArbiter {
    uint32 public immutable disputeSeconds;

    constructor(uint32 disputeSeconds_) {
        disputeSeconds = disputeSeconds_;
    }

    /// @inheritdoc IArbiter
    function adopt(ServiceId, IServices.Terms calldata) external view returns (uint32) {
        return disputeSeconds;
    }
}
