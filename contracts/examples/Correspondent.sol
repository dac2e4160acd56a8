// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {OracleConsumer} from "../consumer/OracleConsumer.sol";
import {RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";

/// @title Free text: anyone asks, the answer's hash stays on chain.
/// @notice The text itself is in the oracle's `AnswerPosted` event; the hash proves later that a text is the answer.
contract Correspondent is OracleConsumer {
    ServiceId public immutable service;

    /// @dev Gets what the oracle refunds for tokens not used.
    address payable public immutable treasury;

    mapping(RequestId requestId => bytes32) public answerHash;

    constructor(IOracle oracle_, ServiceId service_, address payable treasury_) OracleConsumer(oracle_) {
        service = service_;
        treasury = treasury_;
    }

    /// @notice Asks words. Send what `price` says of one byte more: the kind, which no words can choose.
    function askText(bytes calldata text, IOracle.Params calldata params)
        external
        payable
        returns (RequestId requestId)
    {
        return _askText(service, text, params, msg.value);
    }

    /// @notice Asks `prompt`, whose first byte is its kind (`Prompts`). Send what `price` says.
    function ask(bytes calldata prompt, IOracle.Params calldata params) external payable returns (RequestId requestId) {
        return _ask(service, prompt, params, msg.value);
    }

    /// @notice What `ask` must be sent, in wei.
    function price(uint256 promptBytes, IOracle.Params calldata params) external view returns (uint256) {
        return _price(service, promptBytes, params);
    }

    /// @notice Sends the oracle's refunds to the treasury. Anyone may call.
    function sweep() external {
        _withdrawCredit(treasury);
    }

    function _onAnswer(RequestId requestId, bytes calldata output) internal override {
        answerHash[requestId] = keccak256(output);
    }
}
