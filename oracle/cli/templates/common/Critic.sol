// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {OracleConsumer} from "didyma/contracts/consumer/OracleConsumer.sol";
import {RequestId, ServiceId} from "didyma/contracts/interfaces/Ids.sol";
import {IOracle} from "didyma/contracts/interfaces/IOracle.sol";

/// @title Asks the oracle what mood a review is in, and keeps the answer.
contract Critic is OracleConsumer {
    enum Mood {
        Unknown,
        Negative,
        Positive
    }

    /// @dev Measured on the mock, and a quarter more.
    uint32 public constant CALLBACK_GAS = 80_000;

    ServiceId public immutable service;

    /// @notice The newest request.
    RequestId public last;

    mapping(RequestId requestId => Mood) public moods;

    event Judged(RequestId indexed requestId, Mood mood);

    constructor(IOracle oracle_, ServiceId service_) OracleConsumer(oracle_) {
        service = service_;
    }

    /// @notice Asks about a review. Send what `price` says.
    function ask(bytes calldata review, uint64 callbackGasPriceWei) external payable returns (RequestId requestId) {
        requestId = _askText(service, review, _params(callbackGasPriceWei), msg.value);
        last = requestId;
    }

    /// @notice What `ask` must be sent, in wei.
    function price(uint256 reviewBytes, uint64 callbackGasPriceWei) external view returns (uint256) {
        return _price(service, 1 + reviewBytes, _params(callbackGasPriceWei));
    }

    /// @notice Sends what the oracle gave back for unused tokens to `to`. A dapp with money in it lets its owner alone call.
    function sweep(address payable to) external {
        _withdrawCredit(to);
    }

    /// @dev Model output is untrusted: whatever is neither word leaves the mood unknown.
    function _onAnswer(RequestId requestId, bytes calldata output) internal override {
        bytes32 word = keccak256(output);
        Mood mood = word == keccak256("positive")
            ? Mood.Positive
            : word == keccak256("negative") ? Mood.Negative : Mood.Unknown;
        moods[requestId] = mood;
        emit Judged(requestId, mood);
    }

    function _params(uint64 callbackGasPriceWei) private view returns (IOracle.Params memory) {
        return IOracle.Params({
            maxTokens: 8,
            temperature: 0,
            cutoff: 0,
            callbackGas: CALLBACK_GAS,
            callbackGasPriceWei: callbackGasPriceWei,
            deadline: uint48(block.timestamp + 10 minutes),
            valueFinney: 0,
            isPrivate: false
        });
    }
}
