// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {IOracleConsumer} from "../interfaces/IOracleConsumer.sol";
import {Prompts} from "../libraries/Prompts.sol";

/// @title Base of a contract that asks the oracle.
/// @notice Inherit, call `_ask`, implement `_onAnswer`. Only this contract's own requests reach `_onAnswer`, only when
/// final, and only from the oracle.
abstract contract OracleConsumer is IOracleConsumer {
    IOracle public immutable oracle;

    constructor(IOracle oracle_) {
        oracle = oracle_;
    }

    /// @inheritdoc IOracleConsumer
    function onAnswer(RequestId requestId, bytes calldata output) external {
        if (msg.sender != address(oracle)) revert NotOracle(msg.sender);
        _onAnswer(requestId, output);
    }

    /// @dev What the dapp does with a final answer. If it reverts, `oracle.retryCallback` can repeat it for at least 30
    /// days.
    function _onAnswer(RequestId requestId, bytes calldata output) internal virtual;

    /// @dev Sends a request with `valueWei`, which must be what `oracle.quote` says. prompt: every service reads its
    /// first byte as its kind (`Prompts`): never leave that byte to a stranger.
    function _ask(ServiceId service, bytes memory prompt, IOracle.Params memory params, uint256 valueWei)
        internal
        returns (RequestId)
    {
        return oracle.request{value: valueWei}(service, prompt, params);
    }

    /// @dev The same for words: they cannot say of what kind the prompt is, whoever wrote them. Its price is that of a prompt
    /// of `Prompts.KIND_BYTES` more. For a row of words and token ids, build the prompt with `Prompts.textPart` and
    /// `Prompts.idsPart`.
    function _askText(ServiceId service, bytes memory text, IOracle.Params memory params, uint256 valueWei)
        internal
        returns (RequestId)
    {
        return _ask(service, Prompts.ofText(text), params, valueWei);
    }

    /// @dev What `_ask` must be sent, in wei.
    function _price(ServiceId service, uint256 promptBytes, IOracle.Params memory params)
        internal
        view
        returns (uint256)
    {
        (uint256 feeWei, uint256 callbackWei,) = oracle.quote(service, promptBytes, params);
        return feeWei + callbackWei;
    }

    /// @dev `valueWei` in units of 10^15 wei, rounded up, for `Params.valueFinney`. A value too large for that field becomes
    /// its largest, which no cap allows.
    function _finney(uint256 valueWei) internal pure returns (uint24) {
        uint256 finney = (valueWei + 1e15 - 1) / 1e15;
        return finney < type(uint24).max ? uint24(finney) : type(uint24).max;
    }

    /// @dev Refunds (unused tokens, expired requests) are this contract's credit with the oracle.
    function _withdrawCredit(address payable to) internal {
        oracle.withdraw(to, oracle.credit(address(this)));
    }
}
