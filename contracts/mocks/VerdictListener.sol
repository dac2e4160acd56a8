// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {OracleConsumer} from "../consumer/OracleConsumer.sol";
import {VerdictConsumer} from "../consumer/VerdictConsumer.sol";
import {RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";

/// @title A consumer that keeps verdicts and does nothing else: what the oracle costs, without what a dapp does.
contract VerdictListener is VerdictConsumer {
    /// @dev Four choices of a token each.
    bytes public constant CHOICES = hex"b1805d2a01000011040100000701000008010000090100000a";
    uint32 public constant MINIMUM_MARGIN = 1 << 16;

    ServiceId public immutable service;

    constructor(IOracle oracle_, ServiceId service_) OracleConsumer(oracle_) {
        service = service_;
    }

    function ask(bytes calldata text, IOracle.Params calldata params) external payable {
        _askChoice(service, CHOICES, text, MINIMUM_MARGIN, params, msg.value);
    }

    function price(uint256 textBytes, IOracle.Params calldata params) external view returns (uint256) {
        return _choicePrice(service, CHOICES, textBytes, params);
    }

    function _onVerdict(RequestId, uint8, uint32) internal override {}
}

/// @title A consumer whose verdicts a test can refuse, or have it close a question while it hears of one.
contract FickleListener is VerdictConsumer {
    bool public refuses;
    RequestId public closesToo;

    event Heard(RequestId indexed requestId, uint8 choice, uint32 margin);

    error Refused();

    constructor(IOracle oracle_) OracleConsumer(oracle_) {}

    function ask(
        ServiceId service,
        bytes calldata answerType,
        bytes calldata text,
        uint32 minimumMargin,
        IOracle.Params calldata params
    ) external payable {
        _askChoice(service, answerType, text, minimumMargin, params, msg.value);
    }

    function price(ServiceId service, bytes calldata answerType, uint256 textBytes, IOracle.Params calldata params)
        external
        view
        returns (uint256)
    {
        return _choicePrice(service, answerType, textBytes, params);
    }

    /// @notice Asks for no verdict, as any consumer may.
    function askFreely(ServiceId service, bytes calldata prompt, IOracle.Params calldata params) external payable {
        _ask(service, prompt, params, msg.value);
    }

    function cancel(IOracle.Request calldata request) external {
        oracle.cancel(request);
    }

    function refuse(bool refuses_) external {
        refuses = refuses_;
    }

    function closeToo(RequestId requestId) external {
        closesToo = requestId;
    }

    function note(RequestId requestId, uint112 what) external {
        _note(requestId, what);
    }

    function noteOf(RequestId requestId) external view returns (uint112) {
        return _noteOf(requestId);
    }

    function _onVerdict(RequestId requestId, uint8 choice, uint32 margin) internal override {
        if (refuses) revert Refused();
        if (RequestId.unwrap(closesToo) != 0) this.close(closesToo);
        emit Heard(requestId, choice, margin);
    }
}
