// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Credits} from "../Credits.sol";
import {RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {IOracleConsumer} from "../interfaces/IOracleConsumer.sol";

/// @title An oracle for the unit tests of dapps: no nodes, no windows, the test says what the model answered.
/// @notice Give its address to an `OracleConsumer` as the oracle. `request`, `quote`, `statusOf`, `credit` and `withdraw`
/// behave as the real ones; `answer`, `fail`, `retry` and `refund` take the place of everything in between. Every service
/// exists. Not for production: anyone may answer.
contract MockOracle is Credits {
    /// @param callbackWei what whoever finalizes would earn; here whoever calls `answer` or `fail`.
    struct Asked {
        ServiceId service;
        address payer;
        uint256 feeWei;
        uint256 callbackWei;
        uint256 tokenPriceWei;
        IOracle.Params params;
        IOracle.Status status;
        bytes prompt;
        bytes output;
    }

    uint256 public constant CALLBACK_OVERHEAD_GAS = 60_000;

    uint256 public immutable basePriceWei;
    uint256 public immutable bytePriceWei;
    uint256 public immutable tokenPriceWei;

    /// @notice The newest request.
    RequestId public last;

    /// @notice See `IOracle.callbackLeft`.
    mapping(RequestId requestId => bool) public callbackLeft;

    uint256 private _count;
    mapping(RequestId requestId => Asked) private _asked;

    event MockRequested(RequestId indexed requestId, ServiceId indexed service, address indexed payer, bytes prompt);
    event MockAnswered(RequestId indexed requestId, bytes output, bool delivered);

    constructor(uint64 basePriceWei_, uint64 bytePriceWei_, uint64 tokenPriceWei_) {
        basePriceWei = basePriceWei_;
        bytePriceWei = bytePriceWei_;
        tokenPriceWei = tokenPriceWei_;
    }

    /* AS THE REAL ONE */

    /// @notice See `IOracle.request`.
    function request(ServiceId service, bytes calldata prompt, IOracle.Params calldata params)
        external
        payable
        returns (RequestId requestId)
    {
        (uint256 feeWei, uint256 callbackWei,) = quote(service, prompt.length, params);
        if (msg.value != feeWei + callbackWei) revert IOracle.WrongFee(feeWei + callbackWei, msg.value);
        if (params.deadline < block.timestamp) {
            revert IOracle.DeadlineOutOfRange(params.deadline, block.timestamp, block.timestamp + 1 days);
        }
        if (params.callbackGas > 0 && msg.sender.code.length == 0) {
            revert IOracle.CallbackTargetWithoutCode(msg.sender);
        }

        requestId = RequestId.wrap(uint256(keccak256(abi.encode(service, prompt, params, msg.sender, ++_count))));
        last = requestId;
        _asked[requestId] = Asked({
            service: service,
            payer: msg.sender,
            feeWei: feeWei,
            callbackWei: callbackWei,
            tokenPriceWei: tokenPriceWei,
            params: params,
            status: IOracle.Status.Open,
            prompt: prompt,
            output: ""
        });
        emit MockRequested(requestId, service, msg.sender, prompt);
    }

    /// @notice See `IOracle.quote`.
    function quote(ServiceId, uint256 promptBytes, IOracle.Params calldata params)
        public
        view
        returns (uint256 feeWei, uint256 callbackWei, uint256 forfeitWei)
    {
        if (promptBytes == 0) revert IOracle.EmptyPrompt();
        feeWei = basePriceWei + bytePriceWei * promptBytes + tokenPriceWei * params.maxTokens;
        if (params.callbackGas > 0) {
            callbackWei = (params.callbackGas + CALLBACK_OVERHEAD_GAS) * params.callbackGasPriceWei;
        }
        forfeitWei = basePriceWei / 2;
    }

    /// @notice See `IOracle.statusOf`.
    function statusOf(RequestId requestId) external view returns (IOracle.Status) {
        return _asked[requestId].status;
    }

    /* WHAT THE TEST DECIDES */

    /// @notice The request ends with `output`, which took `tokenCount` tokens, and the payer is called back with the gas it
    /// bought. A callback that reverts leaves it Undelivered, as the real oracle does.
    function answer(RequestId requestId, bytes calldata output, uint24 tokenCount) external returns (bool delivered) {
        delivered = _answer(requestId, output, tokenCount);
    }

    /// @notice The same with a verdict, for a request of `VerdictConsumer`: the model took the choice of that index, with
    /// that margin (16 fraction bits), in two tokens. One that comes after `close` is late.
    function answerChoice(RequestId requestId, uint8 choice, uint32 margin) external returns (bool delivered) {
        // The witness of a margin is for disputes, and here there are none.
        delivered = _answer(requestId, abi.encodePacked(choice, margin, uint16(0), uint24(0)), 2);
    }

    /// @notice The request ends with `output`, but the callback fails, whatever the payer's code would do.
    function fail(RequestId requestId, bytes calldata output, uint24 tokenCount) external {
        _close(requestId, output, tokenCount);
        _asked[requestId].status = IOracle.Status.Undelivered;
        emit MockAnswered(requestId, output, false);
    }

    /// @notice The request ends with `output`, but its answerer leaves the callback: `retry` pays what it escrowed.
    function leaveCallback(RequestId requestId, bytes calldata output, uint24 tokenCount) external {
        _close(requestId, output, tokenCount);
        Asked storage asked = _asked[requestId];
        if (asked.params.callbackGas > 0) {
            credit[msg.sender] -= asked.callbackWei;
            asked.status = IOracle.Status.Undelivered;
            callbackLeft[requestId] = true;
        }
        emit MockAnswered(requestId, output, false);
    }

    /// @notice Repeats a failed callback, or makes one that was left, with `callbackGas`.
    function retry(RequestId requestId, uint256 callbackGas) external {
        _expect(requestId, IOracle.Status.Undelivered);
        if (callbackLeft[requestId]) credit[msg.sender] += _asked[requestId].callbackWei;
        callbackLeft[requestId] = false;
        if (!_deliver(requestId, callbackGas)) revert IOracle.CallbackReverted(requestId);
    }

    /// @notice Nobody answers: the payer gets everything back.
    function refund(RequestId requestId) external {
        _expect(requestId, IOracle.Status.Open);
        Asked storage asked = _asked[requestId];
        asked.status = IOracle.Status.Refunded;
        credit[asked.payer] += asked.feeWei + asked.callbackWei;
    }

    /// @notice Everything about a request.
    function askedOf(RequestId requestId) external view returns (Asked memory) {
        return _asked[requestId];
    }

    /* INTERNALS */

    function _expect(RequestId requestId, IOracle.Status status) private view {
        if (_asked[requestId].status != status) revert IOracle.WrongStatus(requestId, _asked[requestId].status);
    }

    function _close(RequestId requestId, bytes memory output, uint24 tokenCount) private {
        _expect(requestId, IOracle.Status.Open);
        Asked storage asked = _asked[requestId];
        if (tokenCount == 0 || tokenCount > asked.params.maxTokens) {
            revert IOracle.TokensOutOfRange(tokenCount, asked.params.maxTokens);
        }
        asked.output = output;
        asked.status = IOracle.Status.Final;
        uint256 unusedWei = asked.tokenPriceWei * (asked.params.maxTokens - tokenCount);
        credit[asked.payer] += unusedWei;
        credit[msg.sender] += asked.feeWei - unusedWei + asked.callbackWei;
    }

    function _answer(RequestId requestId, bytes memory output, uint24 tokenCount) private returns (bool delivered) {
        _close(requestId, output, tokenCount);
        delivered = _deliver(requestId, _asked[requestId].params.callbackGas);
        emit MockAnswered(requestId, output, delivered);
    }

    function _deliver(RequestId requestId, uint256 callbackGas) private returns (bool delivered) {
        Asked storage asked = _asked[requestId];
        if (asked.params.callbackGas == 0) return true;
        asked.status = IOracle.Status.Final;
        if (gasleft() < callbackGas + callbackGas / 63 + 50_000) {
            revert IOracle.InsufficientGas(gasleft(), callbackGas + callbackGas / 63 + 50_000);
        }
        try IOracleConsumer(asked.payer).onAnswer{gas: callbackGas}(requestId, asked.output) {
            delivered = true;
        } catch {
            asked.status = IOracle.Status.Undelivered;
        }
    }
}
