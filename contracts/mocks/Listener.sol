// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {OracleConsumer} from "../consumer/OracleConsumer.sol";
import {RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";

/// @title A consumer that does the least: what the oracle costs, without what a dapp does with an answer.
contract Listener is OracleConsumer {
    constructor(IOracle oracle_) OracleConsumer(oracle_) {}

    function ask(ServiceId service, bytes calldata prompt, IOracle.Params calldata params) external payable {
        _ask(service, prompt, params, msg.value);
    }

    function _onAnswer(RequestId, bytes calldata) internal override {}
}
