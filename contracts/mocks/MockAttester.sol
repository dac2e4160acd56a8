// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IAttester} from "../interfaces/IAttester.sol";
import {ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {IServices} from "../interfaces/IServices.sol";

/// @title An attester that believes what it is told: an attestation is one byte, 1 for "at once".
contract MockAttester is IAttester {
    error Unbelieved();

    /// @inheritdoc IAttester
    function adopt(ServiceId, IServices.Terms calldata) external pure {}

    /// @inheritdoc IAttester
    function check(IOracle.Request calldata, IOracle.Answer calldata, bytes calldata attestation)
        external
        pure
        returns (address signer, bool atOnce)
    {
        if (attestation.length != 1) revert Unbelieved();
        return (address(1), attestation[0] == 0x01);
    }
}
