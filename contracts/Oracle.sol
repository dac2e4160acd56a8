// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {Seats} from "./Seats.sol";
import {Services} from "./Services.sol";
import {Turns} from "./Turns.sol";
import {IAttester} from "./interfaces/IAttester.sol";
import {BURN} from "./interfaces/ICredits.sol";
import {RequestId, ServiceId} from "./interfaces/Ids.sol";
import {IOracle} from "./interfaces/IOracle.sol";
import {IOracleConsumer} from "./interfaces/IOracleConsumer.sol";
import {Prompts} from "./libraries/Prompts.sol";
import {RequestLib} from "./libraries/RequestLib.sol";
import {Seeds} from "./libraries/Seeds.sol";

/// @title Oracle
/// @notice Requests from escrow to callback. No owner, no pause, no proxy.
contract Oracle is Turns {
    using RequestLib for Request;
    using RequestLib for Answer;
    using Seeds for Request;

    /// @notice Blocks between a request and the block that fixes its seed: the payer cannot know it when asking.
    uint256 public constant SEED_DELAY = RequestLib.SEED_DELAY;

    /// @notice Gas of `finalize` beside the callback itself, as the requester pays for it.
    uint256 public constant CALLBACK_OVERHEAD_GAS = 60_000;

    /// @notice Most gas a callback can buy: leaves a transaction under the cap of EIP-7825 (2^24) room for the rest.
    uint256 public constant MAX_CALLBACK_GAS = 12_000_000;

    /// @notice Longest output. Whoever refutes an answer shows output and prompt in one transaction, and public mempools carry
    /// none of more than 128 KiB: the longest prompt that the dispute game takes is 48 KiB.
    uint256 public constant MAX_OUTPUT_BYTES = 72 * 1024;

    /// @notice How long after the window and the service's leave time a callback can be repeated, or made if it was left.
    uint256 public constant RETRY_SECONDS = 30 days;

    /// @dev What must be left for the steps after a callback returns.
    uint256 private constant AFTER_CALLBACK_GAS = 15_000;

    constructor(Seats seats_) Services(seats_) {}

    /* REQUESTER */

    /// @inheritdoc IOracle
    function request(ServiceId service, bytes calldata prompt, Params calldata params)
        external
        payable
        returns (RequestId requestId)
    {
        Prices memory prices = _services[service].prices;
        Rules memory rules = _services[service].rules;
        (uint256 feeWei, uint256 callbackWei) = _quote(service, prices, prompt.length, params);
        if (msg.value != feeWei + callbackWei) revert WrongFee(feeWei + callbackWei, msg.value);
        if (params.deadline < block.timestamp || params.deadline > block.timestamp + rules.lifetimeSeconds) {
            revert DeadlineOutOfRange(params.deadline, block.timestamp, block.timestamp + rules.lifetimeSeconds);
        }
        if (rules.ownerCount < rules.minOwners) revert NotEnoughOwners(service, rules.ownerCount, rules.minOwners);
        if (params.callbackGas > 0 && msg.sender.code.length == 0) revert CallbackTargetWithoutCode(msg.sender);
        if (params.isPrivate && _services[service].attester == address(0)) {
            revert PrivateNeedsAttestation(service);
        }

        Request memory req = Request({
            service: service,
            promptHash: keccak256(prompt),
            head: RequestLib.packHead(msg.sender, params.deadline, SafeCast.toUint48(block.number)),
            rules: RequestLib.packRules(params, rules.turnSeconds, rules.windowSeconds, rules.seatCount),
            money: RequestLib.packMoney(uint96(feeWei), prices.tokenWei, rules.bondWei, params.valueFinney)
        });
        // INVARIANT: the ether sent is `_escrow(req)`, and all that this request can ever pay out beside a bond.
        requestId = req.id();
        if (_state[requestId] != 0) revert DuplicateRequest(requestId);
        _state[requestId] = _openState(0);
        emit RequestPosted(requestId, service, msg.sender, req, prompt);
    }

    /// @inheritdoc IOracle
    function cancel(Request calldata req) external {
        RequestId requestId = req.id();
        Round memory round = _openRound(requestId);
        if (msg.sender != req.payer()) revert NotPayer(requestId, req.payer());

        // INVARIANT: the refund and the seat's payment add up to the escrow, and no other call pays it out again.
        uint256 refundWei = _escrow(req);
        bytes32 seedBlockHash = req.seedBlockHash();
        if (seedBlockHash != 0) {
            uint16 seat = _seatOfTurn(req, requestId, seedBlockHash, req.turnAt(round, block.timestamp));
            if (_seats[req.service][seat].money.status >= SeatStatus.Active) {
                uint256 promptWei = req.feeWei() - req.tokenPriceWei() * req.maxTokens();
                refundWei -= promptWei;
                _paySeat(_seats[req.service][seat], promptWei, 0, req.bondWei(), req.turnSeconds());
            }
        }
        _setStatus(requestId, Status.Cancelled);
        credit[msg.sender] += refundWei;
        emit RequestCancelled(requestId, refundWei);
    }

    /// @inheritdoc IOracle
    function refund(Request calldata req) external {
        RequestId requestId = req.id();
        Round memory round = _openRound(requestId);
        uint256 deadline = req.deadline();
        if (block.timestamp <= deadline) revert DeadlineNotPassed(requestId, deadline);

        // INVARIANT: the refund and what is burnt of it add up to the escrow; what is burnt is at most the forfeit, which
        // is part of the fee. No other call pays the escrow out again.
        uint256 refundWei = _escrow(req);
        bytes32 seedBlockHash = req.seedBlockHash();
        if (seedBlockHash != 0 && deadline > round.startsAt) {
            uint32 endTurn = req.turnAt(round, deadline);
            refundWei -= _chargeMissed(req, round, requestId, seedBlockHash, endTurn, _forfeitWei(req.service));
        }
        _setStatus(requestId, Status.Refunded);
        credit[req.payer()] += refundWei;
        emit RequestRefunded(requestId, refundWei);
    }

    /* NODE */

    /// @inheritdoc IOracle
    function answer(
        Request calldata req,
        bytes calldata output,
        uint24 tokenCount,
        bytes32 tokensRoot,
        bytes32 seedBlockHash
    ) external {
        _answer(req, output, tokenCount, tokensRoot, seedBlockHash);
        if (req.isPrivate()) revert PrivateNeedsAttestation(req.service);
    }

    /// @inheritdoc IOracle
    function answerAttested(
        Request calldata req,
        bytes calldata output,
        uint24 tokenCount,
        bytes32 tokensRoot,
        bytes32 seedBlockHash,
        bytes calldata attestation,
        bool leavesCallback
    ) external nonReentrant {
        address attester = _services[req.service].attester;
        if (attester == address(0)) revert NoAttester(req.service);
        (RequestId requestId, Answer memory ans) = _answer(req, output, tokenCount, tokensRoot, seedBlockHash);
        (address signer, bool atOnce) = IAttester(attester).check(req, ans, attestation);
        emit AnswerAttested(requestId, signer);
        if (atOnce) _settle(req, requestId, ans.head, output, leavesCallback);
        else if (req.isPrivate()) revert PrivateNeedsAttestation(req.service);
    }

    /// @inheritdoc IOracle
    function finalize(Item[] calldata items) external nonReentrant returns (uint256 finalized) {
        for (uint256 i; i < items.length; ++i) {
            if (_finalize(items[i], false)) ++finalized;
        }
        if (finalized == 0) revert NothingToFinalize();
    }

    /// @inheritdoc IOracle
    function leaveCallbacks(Item[] calldata items) external nonReentrant returns (uint256 finalized) {
        for (uint256 i; i < items.length; ++i) {
            _checkLeaver(items[i].request, items[i].answer);
            if (_finalize(items[i], true)) ++finalized;
        }
        if (finalized == 0) revert NothingToFinalize();
    }

    /// @inheritdoc IOracle
    function retryCallback(Item calldata item, uint256 callbackGas) external nonReentrant {
        Request calldata req = item.request;
        Answer calldata ans = item.answer;
        RequestId requestId = req.id();
        _expect(requestId, Status.Undelivered, ans);
        if (keccak256(item.output) != ans.outputHash) revert AnswerMismatch(requestId);
        uint256 closedAt = _retryClosesAt(req, ans);
        if (block.timestamp > closedAt) revert RetryClosed(requestId, closedAt);
        if (callbackGas < req.callbackGas()) revert InsufficientGas(callbackGas, req.callbackGas());

        // INVARIANT: a bounty is paid once. The status changes before the callback; if that fails, all of this reverts.
        uint256 bountyWei = _bountyWei(req, requestId);
        _setStatus(requestId, Status.Final);
        if (bountyWei > 0) credit[msg.sender] += bountyWei;
        emit CallbackRetried(requestId, msg.sender);
        if (!_callBack(req.payer(), requestId, item.output, callbackGas)) revert CallbackReverted(requestId);
    }

    /// @inheritdoc IOracle
    function reclaim(Request calldata req, Answer calldata ans) external {
        RequestId requestId = req.id();
        _expect(requestId, Status.Undelivered, ans);
        uint256 closedAt = _retryClosesAt(req, ans);
        if (block.timestamp <= closedAt) revert RetryOpen(requestId, closedAt);
        uint256 bountyWei = _bountyWei(req, requestId);
        if (bountyWei == 0) revert NothingToReclaim(requestId);

        // INVARIANT: a bounty is paid once: `_bountyWei` is zero from here on.
        _state[requestId] |= RequestLib.RETURNED;
        credit[req.payer()] += bountyWei;
        emit CallbackReclaimed(requestId, bountyWei);
    }

    /* ARBITER */

    /// @inheritdoc IOracle
    function dispute(Request calldata req, Answer calldata ans) external onlyArbiter(req.service) {
        RequestId requestId = req.id();
        _expect(requestId, Status.Answered, ans);
        if (block.timestamp > ans.closesAt()) revert WindowClosed(requestId, ans.closesAt());

        // INVARIANT: the bond stays locked until the arbiter rules: no other call accepts a disputed answer.
        _setStatus(requestId, Status.Disputed);
        emit AnswerDisputed(requestId, ans.turn());
    }

    /// @inheritdoc IOracle
    function rule(Request calldata req, Answer calldata ans, Ruling ruling, uint72 slashWei, Payout[] calldata payouts)
        external
        payable
        onlyArbiter(req.service)
    {
        RequestId requestId = req.id();
        _expect(requestId, Status.Disputed, ans);
        // INVARIANT: an arbiter moves nothing but the ether that it sends along and the bond of this answer, once. At least
        // half of what it slashes for a rejected answer is burnt, so a node loses even if it convicts itself.
        uint256 slashableWei = ruling == Ruling.Upheld ? 0 : req.bondWei();
        if (slashWei > slashableWei) revert SlashTooLarge(slashWei, slashableWei);
        _payOut(payouts, slashWei + msg.value, ruling == Ruling.Rejected ? slashWei - slashWei / 2 : 0);

        Round memory next;
        if (ruling == Ruling.Upheld) {
            _setStatus(requestId, Status.Answered);
        } else {
            next = Round({firstTurn: ans.turn() + 1, startsAt: uint48(block.timestamp)});
            _state[requestId] = _openState(next.firstTurn);
            uint256 bondWei = req.bondWei();
            // INVARIANT: what is slashed and what goes back to the seat add up to the bond.
            _paySeat(_seats[req.service][ans.seat()], bondWei - slashWei, 1, bondWei, req.turnSeconds());
            _suspendIfDrained(req.service, ans.seat(), bondWei);
        }
        emit AnswerRuled(requestId, ans.turn(), ruling, slashWei, next);
    }

    /* VIEWS */

    /// @inheritdoc IOracle
    function quote(ServiceId service, uint256 promptBytes, Params calldata params)
        external
        view
        returns (uint256 feeWei, uint256 callbackWei, uint256 forfeitWei)
    {
        (feeWei, callbackWei) = _quote(service, _services[service].prices, promptBytes, params);
        forfeitWei = _forfeitWei(service);
    }

    /// @inheritdoc IOracle
    function statusOf(RequestId requestId) public view returns (Status) {
        return RequestLib.statusIn(_state[requestId]);
    }

    /// @inheritdoc IOracle
    function stateOf(RequestId requestId) external view returns (uint256) {
        return _state[requestId];
    }

    /// @inheritdoc IOracle
    function isFinal(RequestId requestId, Answer calldata ans) external view returns (bool) {
        uint256 state = RequestLib.withoutFlags(_state[requestId]);
        return state == _answeredState(ans, Status.Final) || state == _answeredState(ans, Status.Undelivered);
    }

    /// @inheritdoc IOracle
    function callbackLeft(RequestId requestId) external view returns (bool) {
        return statusOf(requestId) == Status.Undelivered && _state[requestId] & RequestLib.LEFT != 0;
    }

    /* MONEY */

    function _quote(ServiceId service, Prices memory prices, uint256 promptBytes, Params calldata params)
        private
        pure
        returns (uint256 feeWei, uint256 callbackWei)
    {
        if (prices.maxTokens == 0) revert UnknownService(service);
        if (promptBytes == 0) revert EmptyPrompt();
        if (promptBytes > prices.maxPromptBytes) {
            uint256 most = prices.maxPromptBytes;
            if (params.isPrivate) most += Prompts.SEAL_BYTES;
            if (promptBytes > most) revert PromptTooLong(promptBytes, most);
        }
        if (params.maxTokens == 0 || params.maxTokens > prices.maxTokens) {
            revert TokensOutOfRange(params.maxTokens, prices.maxTokens);
        }
        if (params.callbackGas > MAX_CALLBACK_GAS) revert CallbackGasTooHigh(params.callbackGas, MAX_CALLBACK_GAS);

        // Below 2^97; a fee that leaves 96 bits is more than all ether, and refused.
        feeWei = prices.baseWei + prices.byteWei * promptBytes + uint256(prices.tokenWei) * params.maxTokens;
        if (feeWei > type(uint96).max) revert WrongFee(feeWei, type(uint96).max);
        if (params.callbackGas > 0) {
            callbackWei = (params.callbackGas + CALLBACK_OVERHEAD_GAS) * params.callbackGasPriceWei;
        }
    }

    function _callbackWei(Request calldata req) private pure returns (uint256) {
        uint256 callbackGas = req.callbackGas();
        return callbackGas == 0 ? 0 : (callbackGas + CALLBACK_OVERHEAD_GAS) * req.callbackGasPriceWei();
    }

    /// @dev All that a request escrowed.
    function _escrow(Request calldata req) private pure returns (uint256) {
        return req.feeWei() + _callbackWei(req);
    }

    function _answer(
        Request calldata req,
        bytes calldata output,
        uint24 tokenCount,
        bytes32 tokensRoot,
        bytes32 seedBlockHash
    ) private returns (RequestId requestId, Answer memory ans) {
        requestId = req.id();
        Round memory round = _openRound(requestId);
        if (block.timestamp > req.deadline()) revert DeadlinePassed(requestId, req.deadline());
        if (tokenCount == 0 || tokenCount > req.maxTokens()) revert TokensOutOfRange(tokenCount, req.maxTokens());
        if (output.length > MAX_OUTPUT_BYTES) revert OutputTooLong(output.length, MAX_OUTPUT_BYTES);
        bytes32 expected = req.seedBlockHash();
        if (seedBlockHash != expected || expected == 0) revert SeedMismatch(requestId, expected, seedBlockHash);

        uint32 turn = req.turnAt(round, block.timestamp);
        uint16 seat = _lockBond(req, requestId, turn, req.placeOf(requestId, seedBlockHash, turn));
        if (turn > round.firstTurn) _chargeLate(req, round, requestId, seedBlockHash, turn, seat);
        ans = Answer({
            head: RequestLib.packAnswerHead(
                turn, seat, SafeCast.toUint48(block.timestamp + req.windowSeconds()), tokenCount
            ),
            outputHash: keccak256(output),
            tokensRoot: tokensRoot,
            seedBlockHash: seedBlockHash
        });
        _state[requestId] = _answeredState(ans, Status.Answered);
        emit AnswerPosted(requestId, msg.sender, ans, output);
    }

    /// @dev Credits `payouts` out of `potWei` and burns the rest, which is at least `leastBurntWei`.
    function _payOut(Payout[] calldata payouts, uint256 potWei, uint256 leastBurntWei) private {
        // INVARIANT: credits grow by exactly `potWei`.
        uint256 paidWei;
        for (uint256 i; i < payouts.length; ++i) {
            credit[payouts[i].account] += payouts[i].amountWei;
            paidWei += payouts[i].amountWei;
        }
        if (paidWei + leastBurntWei > potWei) revert PayoutsTooLarge(paidWei, potWei - leastBurntWei);
        if (potWei > paidWei) credit[BURN] += potWei - paidWei;
    }

    function _finalize(Item calldata item, bool leavesCallback) private returns (bool) {
        Request calldata req = item.request;
        Answer calldata ans = item.answer;
        RequestId requestId = req.id();
        if (
            _state[requestId] != _answeredState(ans, Status.Answered) || block.timestamp <= ans.closesAt()
                || keccak256(item.output) != ans.outputHash
        ) return false;

        _settle(req, requestId, ans.head, item.output, leavesCallback);
        return true;
    }

    /// @dev Only the operator of the seat that answered may leave a callback, and only while others still have time to
    /// deliver it. Otherwise a node could wait until nobody can deliver, and its consumer would never get the answer.
    function _checkLeaver(Request calldata req, Answer calldata ans) private view {
        address operator = _seats[req.service][ans.seat()].money.operator;
        if (msg.sender != operator) revert NotAnswerer(req.id(), operator);
        uint256 closedAt = _retryClosesAt(req, ans) - RETRY_SECONDS / 2;
        if (block.timestamp > closedAt) revert RetryClosed(req.id(), closedAt);
    }

    /// @dev A service's leave time is longer than its longest dispute with one game, after which an answer may become final.
    function _retryClosesAt(Request calldata req, Answer calldata ans) private view returns (uint256) {
        return ans.closesAt() + _services[req.service].leaveSeconds + RETRY_SECONDS;
    }

    /// @dev What a callback that was left pays to whoever delivers it.
    function _bountyWei(Request calldata req, RequestId requestId) private view returns (uint256) {
        bool waits = _state[requestId] & (RequestLib.LEFT | RequestLib.RETURNED) == RequestLib.LEFT;
        return waits ? _callbackWei(req) : 0;
    }

    /// @dev Makes an answer final: pays for it, gives its bond back, calls the payer back. If the answerer leaves the
    /// callback, it is not made, and its price stays here.
    function _settle(
        Request calldata req,
        RequestId requestId,
        uint256 head,
        bytes calldata output,
        bool leavesCallback
    ) private {
        // INVARIANT: escrow and bond are paid out once: the status is final before anything is paid, and before the callback.
        // The seat, the finalizer and the payer together get escrow and bond, less the price of a callback that is left.
        _setStatus(requestId, Status.Final);
        uint256 unusedWei = req.tokenPriceWei() * (req.maxTokens() - RequestLib.tokenCountIn(head));
        uint256 paidWei = req.feeWei() - unusedWei;
        uint256 callbackGas = req.callbackGas();
        bool leaves = leavesCallback && callbackGas > 0;
        uint256 callbackWei = leaves ? 0 : _callbackWei(req);
        uint256 toSeatWei = req.bondWei() + paidWei;
        SeatState storage seat = _seats[req.service][RequestLib.seatIn(head)];
        if (msg.sender == seat.money.operator) {
            toSeatWei += callbackWei;
        } else if (callbackWei > 0) {
            credit[msg.sender] += callbackWei;
        }
        _paySeat(seat, toSeatWei, 1, req.bondWei(), req.turnSeconds());
        if (unusedWei > 0) credit[req.payer()] += unusedWei;
        emit RequestFinalized(requestId, msg.sender, paidWei);

        if (leaves) {
            _setStatus(requestId, Status.Undelivered);
            _state[requestId] |= RequestLib.LEFT;
            emit CallbackLeft(requestId, _callbackWei(req));
        } else if (callbackGas > 0 && !_callBack(req.payer(), requestId, output, callbackGas)) {
            _setStatus(requestId, Status.Undelivered);
            emit CallbackFailed(requestId);
        }
    }

    /// @dev Calls `onAnswer` with exactly `callbackGas`, or reverts for lack of gas. Return data is not looked at.
    function _callBack(address consumer, RequestId requestId, bytes calldata output, uint256 callbackGas)
        private
        returns (bool delivered)
    {
        if (consumer.code.length == 0) return false;
        bytes memory data = abi.encodeCall(IOracleConsumer.onAnswer, (requestId, output));

        // INVARIANT: the callback gets all the gas that was paid for, whatever it does, and no more; so no finalizer can
        // make it fail.
        // EIP-150: a call gets at most 63/64 of what is left, silently less than asked for. 63/64 x needed >= callbackGas.
        uint256 needed = callbackGas + callbackGas / 63 + AFTER_CALLBACK_GAS;
        if (gasleft() < needed) revert InsufficientGas(gasleft(), needed);
        assembly ("memory-safe") {
            delivered := call(callbackGas, consumer, 0, add(data, 0x20), mload(data), 0, 0)
        }
    }

    /* STATE */

    function _openState(uint32 firstTurn) private view returns (uint256) {
        Round memory round = Round({firstTurn: firstTurn, startsAt: SafeCast.toUint48(block.timestamp)});
        return RequestLib.packOpen(round, SafeCast.toUint48(block.number));
    }

    function _openRound(RequestId requestId) private view returns (Round memory) {
        return RequestLib.roundIn(requestId, _state[requestId]);
    }

    function _answeredState(Answer memory ans, Status status) private pure returns (uint256) {
        return uint256(ans.hash()) >> 8 << 8 | uint256(status);
    }

    function _expect(RequestId requestId, Status status, Answer calldata ans) private view {
        if (statusOf(requestId) != status) revert WrongStatus(requestId, statusOf(requestId));
        if (RequestLib.withoutFlags(_state[requestId]) != _answeredState(ans, status)) {
            revert AnswerMismatch(requestId);
        }
    }

    /// @dev Changes the status and keeps the rest.
    function _setStatus(RequestId requestId, Status status) private {
        _state[requestId] = _state[requestId] >> 8 << 8 | uint256(status);
    }
}
