// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {RequestId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {RequestLib} from "../libraries/RequestLib.sol";
import {MockRequests} from "./MockRequests.sol";

/// @title An oracle for the unit tests of dapps: no nodes, the test says what the model answered.
/// @notice Give its address to an `OracleConsumer` as the oracle. What a requester may do is as in `IOracle`; the functions
/// here are what nodes, challengers and time would do. Whoever answers is the node and earns the fee; whoever makes an
/// answer final earns what the callback pays. Not for production.
contract MockOracle is MockRequests {
    /// @notice Prices in wei, as in `IServices.Terms`. Rules are much like those of `didyma dev` until `setRules`: prompts of
    /// 1,024 bytes and 64 tokens, turns and windows of 20 s, deadlines a day away, TEEs.
    constructor(uint64 basePriceWei_, uint64 bytePriceWei_, uint64 tokenPriceWei_)
        MockRequests(basePriceWei_, bytePriceWei_, tokenPriceWei_)
    {}

    /// @notice Changes what services promise. Call it before anything is asked.
    function setRules(Rules calldata rules) external {
        _rules = rules;
    }

    /// @notice The request is answered and, whatever the time, final: the payer is called back with the gas it bought. A
    /// callback that reverts, or runs out of that gas, leaves it Undelivered.
    function answer(RequestId requestId, bytes calldata output, uint24 tokenCount)
        external
        nonReentrant
        returns (bool delivered)
    {
        _post(requestId, output, tokenCount);
        _refusePrivate(requestId);
        _settle(requestId);
        return _deliver(requestId);
    }

    /// @notice The same with a verdict, for a request of `VerdictConsumer`: the model took the choice of that index, with
    /// that margin (16 fraction bits), in two tokens.
    function answerChoice(RequestId requestId, uint8 choice, uint32 margin)
        external
        nonReentrant
        returns (bool delivered)
    {
        // The witness of a margin is for disputes, and here there are none.
        _post(requestId, abi.encodePacked(choice, margin, uint16(0), uint24(0)), 2);
        _refusePrivate(requestId);
        _settle(requestId);
        return _deliver(requestId);
    }

    /// @notice The same, and signed inside a TEE: the only answer to a private prompt.
    function answerAtOnce(RequestId requestId, bytes calldata output, uint24 tokenCount)
        external
        nonReentrant
        returns (bool delivered)
    {
        if (!_rules.hasAttester) revert IOracle.NoAttester(_items[requestId].request.service);
        _post(requestId, output, tokenCount);
        emit IOracle.AnswerAttested(requestId, address(1));
        _settle(requestId);
        return _deliver(requestId);
    }

    /// @notice The request is answered, and waits for its challenge window: `finalize` after it, or `passWindow`, makes the
    /// answer final, `dispute` and `rule` end it.
    function post(RequestId requestId, bytes calldata output, uint24 tokenCount) external {
        _post(requestId, output, tokenCount);
        _refusePrivate(requestId);
    }

    /// @notice The window of a posted answer has passed, whatever the time: it is final, and its payer is called back.
    function passWindow(RequestId requestId) external nonReentrant returns (bool delivered) {
        _expect(requestId, IOracle.Status.Answered);
        _settle(requestId);
        return _deliver(requestId);
    }

    /// @notice Somebody challenges a posted answer, in its window.
    function dispute(RequestId requestId) external {
        _expect(requestId, IOracle.Status.Answered);
        uint256 closesAt = _closesAt(_items[requestId]);
        if (block.timestamp > closesAt) revert IOracle.WindowClosed(requestId, closesAt);
        _setStatus(requestId, IOracle.Status.Disputed);
        emit IOracle.AnswerDisputed(requestId, uint32(_items[requestId].answer.head));
    }

    /// @notice The dispute ends. Upheld: the answer stands. Else the request is open again, for the next turn.
    function rule(RequestId requestId, IOracle.Ruling ruling) external {
        _expect(requestId, IOracle.Status.Disputed);
        uint32 turn = uint32(_items[requestId].answer.head);
        IOracle.Round memory next;
        if (ruling == IOracle.Ruling.Upheld) {
            _setStatus(requestId, IOracle.Status.Answered);
        } else {
            next = IOracle.Round({firstTurn: turn + 1, startsAt: uint48(block.timestamp)});
            _state[requestId] = _openState(next.firstTurn);
        }
        uint256 slashedWei = ruling == IOracle.Ruling.Rejected ? uint72(_items[requestId].request.money >> 160) : 0;
        emit IOracle.AnswerRuled(requestId, turn, ruling, slashedWei, next);
    }

    /// @notice The request is answered and final, but the callback fails, whatever the payer's code would do.
    function fail(RequestId requestId, bytes calldata output, uint24 tokenCount) external {
        _post(requestId, output, tokenCount);
        _settle(requestId);
        if (_callbackGas(_items[requestId]) == 0) return;
        _setStatus(requestId, IOracle.Status.Undelivered);
        emit IOracle.CallbackFailed(requestId);
    }

    /// @notice The request is answered and final, but its answerer leaves the callback: `retry` pays what it escrowed.
    function leaveCallback(RequestId requestId, bytes calldata output, uint24 tokenCount) external {
        _post(requestId, output, tokenCount);
        _settle(requestId);
        uint256 callbackWei = _callbackWei(_items[requestId]);
        if (_callbackGas(_items[requestId]) == 0) return;
        credit[msg.sender] -= callbackWei;
        _setStatus(requestId, IOracle.Status.Undelivered);
        _state[requestId] |= RequestLib.LEFT;
        emit IOracle.CallbackLeft(requestId, callbackWei);
    }

    /// @notice `retryCallback` of a request by its id.
    function retry(RequestId requestId, uint256 callbackGas) external nonReentrant {
        _expect(requestId, IOracle.Status.Undelivered);
        _retry(requestId, callbackGas);
    }

    /// @notice Nobody answers, because the chain stood still: the payer gets everything back, whatever the time.
    function refund(RequestId requestId) external {
        _expect(requestId, IOracle.Status.Open);
        _refund(requestId, _escrowWei(_items[requestId]));
    }

    /// @notice What `finalize` and `retryCallback` need of a request.
    function itemOf(RequestId requestId) external view returns (IOracle.Item memory) {
        return _items[requestId];
    }
}
