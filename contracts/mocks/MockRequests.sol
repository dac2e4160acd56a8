// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {BURN, ICredits} from "../interfaces/ICredits.sol";
import {RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {IOracleConsumer} from "../interfaces/IOracleConsumer.sol";
import {IServices} from "../interfaces/IServices.sol";
import {Prompts} from "../libraries/Prompts.sol";
import {RequestLib} from "../libraries/RequestLib.sol";

/// @title What requesters see of an oracle, without nodes: `MockOracle`'s half that is as `IOracle` says.
/// @notice To the wei, to the event and to the error. Every service exists, with the prices and rules of this mock.
/// @dev tests/invariants/Twins.t.sol plays the same calls on it and on the oracle.
abstract contract MockRequests is ICredits {
    using RequestLib for IOracle.Request;
    using RequestLib for IOracle.Answer;

    /// @notice What every service of this mock promises, as in `IServices.Terms`; times in seconds.
    /// @param leaveSeconds a lifetime, a window and the longest dispute together.
    /// @param seatCount seats in the draw. @param owners how many distinct owners they have.
    /// @param blockMillis the least time between two blocks, in thousandths of a second.
    /// @param hasAttester whether answers may be attested, and prompts private.
    struct Rules {
        uint72 bondWei;
        uint72 missPenaltyWei;
        uint32 maxPromptBytes;
        uint24 maxTokens;
        uint24 turnSeconds;
        uint24 windowSeconds;
        uint24 lifetimeSeconds;
        uint32 leaveSeconds;
        uint32 blockMillis;
        uint16 seatCount;
        uint16 owners;
        uint16 minOwners;
        bool hasAttester;
    }

    /// @notice As those of the oracle.
    uint256 public constant SEED_DELAY = RequestLib.SEED_DELAY;
    uint256 public constant CALLBACK_OVERHEAD_GAS = 60_000;
    uint256 public constant MAX_CALLBACK_GAS = 12_000_000;
    uint256 public constant MAX_OUTPUT_BYTES = 72 * 1024;
    uint256 public constant RETRY_SECONDS = 30 days;

    uint256 private constant AFTER_CALLBACK_GAS = 15_000;

    /// @dev EIP-2935: the last 8191 block hashes.
    address private constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;

    uint256 public immutable basePriceWei;
    uint256 public immutable bytePriceWei;
    uint256 public immutable tokenPriceWei;

    /// @notice Gets what a late `cancel` pays to the seat whose turn it is: whoever deployed the mock.
    address public immutable node;

    /// @inheritdoc ICredits
    mapping(address account => uint256) public credit;

    /// @notice The newest request.
    RequestId public last;

    Rules internal _rules;
    mapping(RequestId requestId => uint256) internal _state;
    mapping(RequestId requestId => IOracle.Item) internal _items;

    /// @dev Who gave the newest answer, and is paid for it.
    mapping(RequestId requestId => address) internal _answerer;

    bool private transient _entered;

    /// @notice As the oracle's, of OpenZeppelin.
    error ReentrancyGuardReentrantCall();

    /// @dev Whoever enters twice in a call is refused.
    modifier nonReentrant() {
        _enter();
        _;
        _entered = false;
    }

    function _enter() private {
        if (_entered) revert ReentrancyGuardReentrantCall();
        _entered = true;
    }

    /// @dev Prices in wei; rules as `MockOracle` says.
    constructor(uint64 basePriceWei_, uint64 bytePriceWei_, uint64 tokenPriceWei_) {
        basePriceWei = basePriceWei_;
        bytePriceWei = bytePriceWei_;
        tokenPriceWei = tokenPriceWei_;
        node = msg.sender;
        _rules = Rules({
            bondWei: 1 ether,
            missPenaltyWei: 0.001 ether,
            maxPromptBytes: 1024,
            maxTokens: 64,
            turnSeconds: 20,
            windowSeconds: 20,
            lifetimeSeconds: 1 days,
            leaveSeconds: 1 hours,
            blockMillis: 1000,
            seatCount: 5,
            owners: 5,
            minOwners: 2,
            hasAttester: true
        });
    }

    /* AS THE ORACLE */

    /// @notice See `IOracle.request`.
    function request(ServiceId service, bytes calldata prompt, IOracle.Params calldata params)
        external
        payable
        returns (RequestId requestId)
    {
        Rules storage rules = _rules;
        (uint256 feeWei, uint256 callbackWei) = _quote(service, prompt.length, params);
        if (msg.value != feeWei + callbackWei) revert IOracle.WrongFee(feeWei + callbackWei, msg.value);
        if (params.deadline < block.timestamp || params.deadline > block.timestamp + rules.lifetimeSeconds) {
            revert IOracle.DeadlineOutOfRange(params.deadline, block.timestamp, block.timestamp + rules.lifetimeSeconds);
        }
        if (rules.owners < rules.minOwners) revert IOracle.NotEnoughOwners(service, rules.owners, rules.minOwners);
        if (params.callbackGas > 0 && msg.sender.code.length == 0) {
            revert IOracle.CallbackTargetWithoutCode(msg.sender);
        }
        if (params.isPrivate && !rules.hasAttester) revert IOracle.PrivateNeedsAttestation(service);

        IOracle.Request memory req = IOracle.Request({
            service: service,
            promptHash: keccak256(prompt),
            head: RequestLib.packHead(msg.sender, params.deadline, uint48(block.number)),
            rules: RequestLib.packRules(params, rules.turnSeconds, rules.windowSeconds, rules.seatCount),
            money: RequestLib.packMoney(uint96(feeWei), uint64(tokenPriceWei), rules.bondWei, params.valueFinney)
        });
        requestId = req.id();
        if (_state[requestId] != 0) revert IOracle.DuplicateRequest(requestId);
        _state[requestId] = _openState(0);
        last = requestId;
        _items[requestId].request = req;
        emit IOracle.RequestPosted(requestId, service, msg.sender, req, prompt);
    }

    /// @notice See `IOracle.cancel`.
    function cancel(IOracle.Request calldata req) external {
        RequestId requestId = req.id();
        RequestLib.roundIn(requestId, _state[requestId]);
        if (msg.sender != req.payer()) revert IOracle.NotPayer(requestId, req.payer());

        uint256 refundWei = _escrowWei(_items[requestId]);
        if (_seed(_items[requestId]) != 0) {
            uint256 promptWei = req.feeWei() - req.tokenPriceWei() * req.maxTokens();
            refundWei -= promptWei;
            credit[node] += promptWei;
        }
        _setStatus(requestId, IOracle.Status.Cancelled);
        credit[msg.sender] += refundWei;
        emit IOracle.RequestCancelled(requestId, refundWei);
    }

    /// @notice See `IOracle.refund`. Fines are those of seats that could have answered.
    function refund(IOracle.Request calldata req) external {
        RequestId requestId = req.id();
        IOracle.Round memory round = RequestLib.roundIn(requestId, _state[requestId]);
        uint256 deadline = req.deadline();
        if (block.timestamp <= deadline) revert IOracle.DeadlineNotPassed(requestId, deadline);
        uint256 finesWei = deadline > round.startsAt ? _finesWei(_items[requestId], round, requestId, deadline) : 0;
        credit[BURN] += finesWei;
        _refund(requestId, _escrowWei(_items[requestId]) - finesWei);
    }

    /// @notice See `IOracle.finalize`.
    function finalize(IOracle.Item[] calldata items) external nonReentrant returns (uint256 finalized) {
        for (uint256 i; i < items.length; ++i) {
            IOracle.Item calldata item = items[i];
            RequestId requestId = item.request.id();
            if (
                _state[requestId] != _answeredState(item.answer, IOracle.Status.Answered)
                    || block.timestamp <= item.answer.closesAt() || keccak256(item.output) != item.answer.outputHash
            ) continue;
            _settle(requestId);
            _deliver(requestId);
            ++finalized;
        }
        if (finalized == 0) revert IOracle.NothingToFinalize();
    }

    /// @notice See `IOracle.retryCallback`.
    function retryCallback(IOracle.Item calldata item, uint256 callbackGas) external nonReentrant {
        RequestId requestId = item.request.id();
        _expect(requestId, IOracle.Status.Undelivered, item.answer);
        if (keccak256(item.output) != item.answer.outputHash) revert IOracle.AnswerMismatch(requestId);
        _retry(requestId, callbackGas);
    }

    /// @notice See `IOracle.reclaim`.
    function reclaim(IOracle.Request calldata req, IOracle.Answer calldata ans) external {
        RequestId requestId = req.id();
        _expect(requestId, IOracle.Status.Undelivered, ans);
        uint256 closedAt = _retryClosesAt(_items[requestId]);
        if (block.timestamp <= closedAt) revert IOracle.RetryOpen(requestId, closedAt);
        uint256 bountyWei = _bountyWei(requestId);
        if (bountyWei == 0) revert IOracle.NothingToReclaim(requestId);

        _state[requestId] |= RequestLib.RETURNED;
        credit[req.payer()] += bountyWei;
        emit IOracle.CallbackReclaimed(requestId, bountyWei);
    }

    /// @inheritdoc ICredits
    function withdraw(address payable to, uint256 amountWei) external nonReentrant {
        uint256 creditWei = credit[msg.sender];
        if (amountWei > creditWei) revert InsufficientCredit(msg.sender, creditWei, amountWei);
        credit[msg.sender] = creditWei - amountWei;
        emit Withdrawn(msg.sender, to, amountWei);
        _send(to, amountWei);
    }

    /// @inheritdoc ICredits
    function deposit(address account) external payable {
        credit[account] += msg.value;
        emit Deposited(msg.sender, account, msg.value);
    }

    /// @inheritdoc ICredits
    /// @dev Burns what refunds have cost payers; there are no seats whose fines the oracle would burn as well.
    function burn() external nonReentrant {
        uint256 amountWei = credit[BURN];
        credit[BURN] = 0;
        emit Burnt(amountWei);
        _send(payable(BURN), amountWei);
    }

    /// @inheritdoc ICredits
    function burnable() external view returns (uint256) {
        return credit[BURN];
    }

    /// @notice See `IOracle.quote`.
    function quote(ServiceId service, uint256 promptBytes, IOracle.Params calldata params)
        external
        view
        returns (uint256 feeWei, uint256 callbackWei, uint256 forfeitWei)
    {
        (feeWei, callbackWei) = _quote(service, promptBytes, params);
        forfeitWei = basePriceWei / 2;
    }

    /// @notice See `IOracle.statusOf`.
    function statusOf(RequestId requestId) public view returns (IOracle.Status) {
        return RequestLib.statusIn(_state[requestId]);
    }

    /// @notice See `IOracle.stateOf`.
    function stateOf(RequestId requestId) external view returns (uint256) {
        return _state[requestId];
    }

    /// @notice See `IOracle.isFinal`.
    function isFinal(RequestId requestId, IOracle.Answer calldata ans) external view returns (bool) {
        uint256 state = RequestLib.withoutFlags(_state[requestId]);
        return
            state == _answeredState(ans, IOracle.Status.Final)
                || state == _answeredState(ans, IOracle.Status.Undelivered);
    }

    /// @notice See `IOracle.callbackLeft`.
    function callbackLeft(RequestId requestId) external view returns (bool) {
        return statusOf(requestId) == IOracle.Status.Undelivered && _state[requestId] & RequestLib.LEFT != 0;
    }

    /* PRICES */

    function _quote(ServiceId service, uint256 promptBytes, IOracle.Params calldata params)
        internal
        view
        returns (uint256 feeWei, uint256 callbackWei)
    {
        Rules storage rules = _rules;
        if (rules.maxTokens == 0) revert IServices.UnknownService(service);
        if (promptBytes == 0) revert IOracle.EmptyPrompt();
        if (promptBytes > rules.maxPromptBytes) {
            uint256 most = rules.maxPromptBytes;
            if (params.isPrivate) most += Prompts.SEAL_BYTES;
            if (promptBytes > most) revert IOracle.PromptTooLong(promptBytes, most);
        }
        if (params.maxTokens == 0 || params.maxTokens > rules.maxTokens) {
            revert IOracle.TokensOutOfRange(params.maxTokens, rules.maxTokens);
        }
        if (params.callbackGas > MAX_CALLBACK_GAS) {
            revert IOracle.CallbackGasTooHigh(params.callbackGas, MAX_CALLBACK_GAS);
        }
        feeWei = basePriceWei + bytePriceWei * promptBytes + tokenPriceWei * params.maxTokens;
        if (feeWei > type(uint96).max) revert IOracle.WrongFee(feeWei, type(uint96).max);
        if (params.callbackGas > 0) {
            callbackWei = (params.callbackGas + CALLBACK_OVERHEAD_GAS) * params.callbackGasPriceWei;
        }
    }

    /* A REQUEST, AS IT IS KEPT: the words that `RequestLib` reads in calldata */

    function _payer(IOracle.Item storage item) internal view returns (address) {
        return address(uint160(item.request.head));
    }

    function _deadline(IOracle.Item storage item) internal view returns (uint256) {
        return uint48(item.request.head >> 160);
    }

    function _maxTokens(IOracle.Item storage item) internal view returns (uint256) {
        return uint24(item.request.rules);
    }

    function _callbackGas(IOracle.Item storage item) internal view returns (uint256) {
        return uint32(item.request.rules >> 88);
    }

    function _turnSeconds(IOracle.Item storage item) internal view returns (uint256) {
        return uint24(item.request.rules >> 184);
    }

    function _isPrivate(IOracle.Item storage item) internal view returns (bool) {
        return item.request.rules >> 248 != 0;
    }

    function _closesAt(IOracle.Item storage item) internal view returns (uint256) {
        return uint48(item.answer.head >> 48);
    }

    function _callbackWei(IOracle.Item storage item) internal view returns (uint256) {
        uint256 callbackGas = _callbackGas(item);
        return callbackGas == 0 ? 0 : (callbackGas + CALLBACK_OVERHEAD_GAS) * uint64(item.request.rules >> 120);
    }

    function _escrowWei(IOracle.Item storage item) internal view returns (uint256) {
        return uint96(item.request.money) + _callbackWei(item);
    }

    /* INTERNALS */

    function _finesWei(IOracle.Item storage item, IOracle.Round memory round, RequestId requestId, uint256 deadline)
        internal
        view
        returns (uint256 finesWei)
    {
        if (_seed(item) == 0 || _isPrivate(item) || _stoodStill(item, round, requestId)) return 0;
        uint256 turns = (deadline - round.startsAt) / _turnSeconds(item);
        finesWei = turns * _rules.missPenaltyWei;
        if (finesWei > basePriceWei / 2) finesWei = basePriceWei / 2;
    }

    function _stoodStill(IOracle.Item storage item, IOracle.Round memory round, RequestId requestId)
        internal
        view
        returns (bool)
    {
        uint256 first = RequestLib.startsBlock(_state[requestId]);
        if (first < (item.request.head >> 208) + SEED_DELAY) first = (item.request.head >> 208) + SEED_DELAY;
        uint256 blocks = block.number > first + 1 ? block.number - first - 1 : 0;
        uint256 neededMillis = blocks * _rules.blockMillis + _turnSeconds(item) * 1000;
        return (block.timestamp - round.startsAt) * 1000 >= neededMillis;
    }

    /// @dev Zero until the chain knows it, and once it has forgotten it.
    function _seed(IOracle.Item storage item) internal view returns (bytes32 seed) {
        uint256 number = (item.request.head >> 208) + SEED_DELAY;
        seed = blockhash(number);
        if (seed != 0 || number >= block.number) return seed;
        (bool known, bytes memory found) = HISTORY.staticcall(abi.encode(number));
        if (known && found.length == 32) seed = bytes32(found);
    }

    function _post(RequestId requestId, bytes memory output, uint24 tokenCount) internal {
        IOracle.Item storage item = _items[requestId];
        IOracle.Round memory round = RequestLib.roundIn(requestId, _state[requestId]);
        if (block.timestamp > _deadline(item)) {
            revert IOracle.DeadlinePassed(requestId, _deadline(item));
        }
        if (tokenCount == 0 || tokenCount > _maxTokens(item)) {
            revert IOracle.TokensOutOfRange(tokenCount, _maxTokens(item));
        }
        if (output.length > MAX_OUTPUT_BYTES) revert IOracle.OutputTooLong(output.length, MAX_OUTPUT_BYTES);
        uint32 turn = round.firstTurn + uint32((block.timestamp - round.startsAt) / _turnSeconds(item));
        bytes32 seed = _seed(item);
        // slither-disable-next-line weak-prng
        uint16 seat = uint16(uint256(keccak256(abi.encode(seed, requestId, turn))) % uint16(item.request.rules >> 232));
        IOracle.Answer memory ans = IOracle.Answer({
            head: RequestLib.packAnswerHead(
                turn, seat, uint48(block.timestamp + uint24(item.request.rules >> 208)), tokenCount
            ),
            outputHash: keccak256(output),
            tokensRoot: 0,
            seedBlockHash: seed
        });
        item.answer = ans;
        item.output = output;
        _answerer[requestId] = msg.sender;
        _state[requestId] = _answeredState(ans, IOracle.Status.Answered);
        emit IOracle.AnswerPosted(requestId, msg.sender, ans, output);
    }

    function _refusePrivate(RequestId requestId) internal view {
        IOracle.Item storage item = _items[requestId];
        if (_isPrivate(item)) revert IOracle.PrivateNeedsAttestation(item.request.service);
    }

    function _settle(RequestId requestId) internal {
        IOracle.Item storage item = _items[requestId];
        _setStatus(requestId, IOracle.Status.Final);
        uint256 unusedWei = tokenPriceWei * (_maxTokens(item) - RequestLib.tokenCountIn(item.answer.head));
        uint256 paidWei = uint96(item.request.money) - unusedWei;
        credit[_payer(item)] += unusedWei;
        credit[_answerer[requestId]] += paidWei;
        credit[msg.sender] += _callbackWei(item);
        emit IOracle.RequestFinalized(requestId, msg.sender, paidWei);
    }

    function _deliver(RequestId requestId) internal returns (bool delivered) {
        uint256 callbackGas = _callbackGas(_items[requestId]);
        if (callbackGas == 0) return true;
        delivered = _callBack(requestId, callbackGas);
        if (!delivered) {
            _setStatus(requestId, IOracle.Status.Undelivered);
            emit IOracle.CallbackFailed(requestId);
        }
    }

    function _retry(RequestId requestId, uint256 callbackGas) internal {
        IOracle.Item storage item = _items[requestId];
        uint256 closedAt = _retryClosesAt(item);
        if (block.timestamp > closedAt) revert IOracle.RetryClosed(requestId, closedAt);
        if (callbackGas < _callbackGas(item)) {
            revert IOracle.InsufficientGas(callbackGas, _callbackGas(item));
        }
        credit[msg.sender] += _bountyWei(requestId);
        _setStatus(requestId, IOracle.Status.Final);
        emit IOracle.CallbackRetried(requestId, msg.sender);
        if (!_callBack(requestId, callbackGas)) revert IOracle.CallbackReverted(requestId);
    }

    function _refund(RequestId requestId, uint256 refundWei) internal {
        _setStatus(requestId, IOracle.Status.Refunded);
        credit[_payer(_items[requestId])] += refundWei;
        emit IOracle.RequestRefunded(requestId, refundWei);
    }

    function _callBack(RequestId requestId, uint256 callbackGas) internal returns (bool delivered) {
        address consumer = _payer(_items[requestId]);
        if (consumer.code.length == 0) return false;
        bytes memory data = abi.encodeCall(IOracleConsumer.onAnswer, (requestId, _items[requestId].output));
        uint256 needed = callbackGas + callbackGas / 63 + AFTER_CALLBACK_GAS;
        if (gasleft() < needed) revert IOracle.InsufficientGas(gasleft(), needed);
        assembly ("memory-safe") {
            delivered := call(callbackGas, consumer, 0, add(data, 0x20), mload(data), 0, 0)
        }
    }

    function _retryClosesAt(IOracle.Item storage item) internal view returns (uint256) {
        return _closesAt(item) + uint256(_rules.leaveSeconds) + RETRY_SECONDS;
    }

    function _bountyWei(RequestId requestId) internal view returns (uint256) {
        bool waits = _state[requestId] & (RequestLib.LEFT | RequestLib.RETURNED) == RequestLib.LEFT;
        return waits ? _callbackWei(_items[requestId]) : 0;
    }

    function _expect(RequestId requestId, IOracle.Status status) internal view {
        if (statusOf(requestId) != status) revert IOracle.WrongStatus(requestId, statusOf(requestId));
    }

    function _expect(RequestId requestId, IOracle.Status status, IOracle.Answer calldata ans) internal view {
        _expect(requestId, status);
        if (RequestLib.withoutFlags(_state[requestId]) != _answeredState(ans, status)) {
            revert IOracle.AnswerMismatch(requestId);
        }
    }

    function _openState(uint32 firstTurn) internal view returns (uint256) {
        IOracle.Round memory round = IOracle.Round({firstTurn: firstTurn, startsAt: uint48(block.timestamp)});
        return RequestLib.packOpen(round, uint48(block.number));
    }

    function _answeredState(IOracle.Answer memory ans, IOracle.Status status) internal pure returns (uint256) {
        return uint256(ans.hash()) >> 8 << 8 | uint256(status);
    }

    function _setStatus(RequestId requestId, IOracle.Status status) internal {
        _state[requestId] = _state[requestId] >> 8 << 8 | uint256(status);
    }

    function _send(address payable to, uint256 amountWei) internal {
        // slither-disable-next-line arbitrary-send-eth
        (bool sent,) = to.call{value: amountWei}("");
        if (!sent) revert TransferFailed(to, amountWei);
    }
}
