// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {OracleConsumer} from "../consumer/OracleConsumer.sol";
import {VerdictConsumer} from "../consumer/VerdictConsumer.sol";
import {RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";

/// @title One of a few words: anyone asks, `verdictOf` says which word the model chose and by how much.
/// @notice The least that asks for a verdict; a dapp acts on it in `_onVerdict`.
contract Critic is VerdictConsumer {
    ServiceId public immutable service;
    uint32 public immutable minimumMargin;

    /// @dev Gets what the oracle refunds for tokens not used.
    address payable public immutable treasury;

    bytes public answerType;

    event Heard(RequestId indexed requestId, uint8 choice, uint32 margin);

    /// @param answerType_ of `didyma type choice positive negative`, for the service's model, or of any other words.
    /// @param minimumMargin_ with 16 fraction bits; a word that won by less is heard as 255: unknown.
    constructor(
        IOracle oracle_,
        ServiceId service_,
        bytes memory answerType_,
        uint32 minimumMargin_,
        address payable treasury_
    ) OracleConsumer(oracle_) {
        _choicesOf(answerType_);
        service = service_;
        answerType = answerType_;
        minimumMargin = minimumMargin_;
        treasury = treasury_;
    }

    /// @notice Asks words. Send what `price` says.
    function ask(bytes calldata text, IOracle.Params calldata params) external payable returns (RequestId requestId) {
        return _askChoice(service, answerType, text, minimumMargin, params, msg.value);
    }

    /// @notice What `ask` must be sent for a text of that length, in wei.
    function price(uint256 textBytes, IOracle.Params calldata params) external view returns (uint256) {
        return _choicePrice(service, answerType, textBytes, params);
    }

    /// @notice Sends the oracle's refunds to the treasury. Anyone may call.
    function sweep() external {
        _withdrawCredit(treasury);
    }

    function _onVerdict(RequestId requestId, uint8 choice, uint32 margin) internal override {
        emit Heard(requestId, choice, margin);
    }
}
