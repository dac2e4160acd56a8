// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {OracleConsumer} from "../consumer/OracleConsumer.sol";
import {VerdictConsumer} from "../consumer/VerdictConsumer.sol";
import {RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";

/// @title A decision: two parties stake on a yes/no question about a stated fact, the model settles it.
/// @notice The question is fixed when the wager is offered, so both know exactly what the model will be asked: to answer yes,
/// no or unknown. "Unknown", a margin too small and no answer at all give both their stakes back. The oracle's time is fixed,
/// too: a party that expects to lose could otherwise choose too little, and get its stake back.
contract Wager is VerdictConsumer {
    enum Outcome {
        Open,
        Asked,
        Yes,
        No,
        Void
    }

    struct Bet {
        address yes;
        address no;
        uint96 stakeWei;
        Outcome outcome;
        uint48 staleAt;
        RequestId requestId;
        bytes question;
    }

    /// @dev Indexes of the choices that pay somebody; any other verdict makes the bet void.
    uint8 private constant YES = 0;
    uint8 private constant NO = 1;

    /// @dev Enough for the comparisons and, when a bet is void, two new balances.
    uint32 public constant CALLBACK_GAS = 90_000;

    /// @dev How long a bet waits for somebody to ask, and then for the oracle: longer than a request and all its windows
    /// can last. Afterwards `void` returns the stakes, whatever happened to the service.
    uint48 public constant PATIENCE = 90 days;

    ServiceId public immutable service;

    /// @dev Both parties know it before they stake: of two choices so near, the model took neither for sure. 16 fraction bits.
    uint32 public immutable minimumMargin;

    /// @dev Deadline of a request, counted from its posting; the service must allow it.
    uint48 public immutable answerSeconds;

    /// @dev Gets what the oracle refunds for tokens not used.
    address payable public immutable treasury;

    /// @dev Yes, no, unknown, in the service's tokens.
    bytes public answerType;

    Bet[] private _bets;
    mapping(address account => uint256) public owedWei;

    event Offered(uint256 indexed bet, address indexed yes, uint96 stakeWei, bytes question);
    event Taken(uint256 indexed bet, address indexed no);
    event Settling(uint256 indexed bet, RequestId indexed requestId);
    event Settled(uint256 indexed bet, Outcome outcome);

    /// @notice Thrown when a wager is offered without ether.
    /// @dev Send the stake.
    error NoStake();
    /// @notice Thrown when a wager is taken with another stake than the offer's.
    /// @dev Send `expectedWei`.
    error WrongStake(uint256 expectedWei, uint256 givenWei);
    /// @notice Thrown when a wager was taken, is settled, or does not exist.
    /// @dev Choose an open one.
    error NotTakeable(uint256 bet);
    /// @notice Thrown when a wager has no second party, or was asked already.
    /// @dev Wait for it to be taken.
    error NotAskable(uint256 bet);
    /// @notice Thrown when a wager can still be decided.
    /// @dev Wait for the oracle, or for `PATIENCE` to pass.
    error NotVoidable(uint256 bet);
    /// @notice Thrown when nothing is owed to the sender.
    /// @dev Nothing is to be done.
    error NothingOwed(address account);
    /// @notice Thrown when the receiver refuses the ether; it stays owed.
    /// @dev Collect from an account that takes ether.
    error TransferFailed(address to, uint256 amountWei);

    /// @param answerType_ of `didyma type choice yes no unknown`, for the service's model.
    constructor(
        IOracle oracle_,
        ServiceId service_,
        bytes memory answerType_,
        uint32 minimumMargin_,
        uint48 answerSeconds_,
        address payable treasury_
    ) OracleConsumer(oracle_) {
        if (_choicesOf(answerType_) <= NO) revert NotAChoice();
        service = service_;
        answerType = answerType_;
        minimumMargin = minimumMargin_;
        answerSeconds = answerSeconds_;
        treasury = treasury_;
    }

    /// @notice Stakes the ether sent on "yes". Reverts if the service would not take the question.
    function offer(bytes calldata question) external payable returns (uint256 bet) {
        if (msg.value == 0) revert NoStake();
        _choicePrice(service, answerType, question.length, _params(0, msg.value));

        bet = _bets.length;
        _bets.push(
            Bet({
                yes: msg.sender,
                no: address(0),
                stakeWei: uint96(msg.value),
                outcome: Outcome.Open,
                staleAt: 0,
                requestId: RequestId.wrap(0),
                question: question
            })
        );
        emit Offered(bet, msg.sender, uint96(msg.value), question);
    }

    /// @notice Stakes the same on "no".
    function take(uint256 bet) external payable {
        Bet storage b = _bets[bet];
        if (b.outcome != Outcome.Open || b.no != address(0)) revert NotTakeable(bet);
        if (msg.value != b.stakeWei) revert WrongStake(b.stakeWei, msg.value);

        b.no = msg.sender;
        b.staleAt = uint48(block.timestamp) + PATIENCE;
        emit Taken(bet, msg.sender);
    }

    /// @notice Asks the oracle. Anyone may pay for it; send what `price` says.
    function settle(uint256 bet, uint64 callbackGasPriceWei) external payable {
        Bet storage b = _bets[bet];
        if (b.no == address(0) || b.outcome != Outcome.Open) revert NotAskable(bet);

        b.outcome = Outcome.Asked;
        b.staleAt = uint48(block.timestamp) + PATIENCE;
        // The oracle is trusted, and its callback comes in a later transaction.
        // slither-disable-next-line reentrancy-eth
        RequestId requestId = _askChoice(
            service, answerType, b.question, minimumMargin, _params(callbackGasPriceWei, b.stakeWei), msg.value
        );
        b.requestId = requestId;
        _note(requestId, uint112(bet));
        emit Settling(bet, requestId);
    }

    /// @notice Gives both stakes back when nothing came of the bet for `PATIENCE`; the offerer may also void a bet that nobody
    /// took. If nobody answers the oracle, `close` gives them back at once.
    function void(uint256 bet) external {
        Bet storage b = _bets[bet];
        bool untaken = b.outcome == Outcome.Open && b.no == address(0) && msg.sender == b.yes;
        bool stale = b.no != address(0) && b.outcome <= Outcome.Asked && block.timestamp > b.staleAt;
        if (!untaken && !stale) revert NotVoidable(bet);

        _settle(bet, b, Outcome.Void);
    }

    /// @notice Pays out what the caller won or got back.
    function collect() external {
        uint256 amountWei = owedWei[msg.sender];
        if (amountWei == 0) revert NothingOwed(msg.sender);

        owedWei[msg.sender] = 0;
        (bool sent,) = msg.sender.call{value: amountWei}("");
        if (!sent) revert TransferFailed(msg.sender, amountWei);
    }

    /// @notice Sends the oracle's refunds to the treasury. Anyone may call.
    function sweep() external {
        _withdrawCredit(treasury);
    }

    /// @notice What `settle` must be sent, in wei.
    function price(uint256 bet, uint64 callbackGasPriceWei) external view returns (uint256) {
        Bet storage b = _bets[bet];
        return _choicePrice(service, answerType, b.question.length, _params(callbackGasPriceWei, b.stakeWei));
    }

    function betOf(uint256 bet) external view returns (Bet memory) {
        return _bets[bet];
    }

    /// @dev `settle` made the request, so the bet exists; it is in state Asked unless it went stale.
    function _onVerdict(RequestId requestId, uint8 choice, uint32) internal override {
        uint256 bet = _noteOf(requestId);
        if (_bets[bet].outcome != Outcome.Asked) return;
        _settle(bet, _bets[bet], choice == YES ? Outcome.Yes : choice == NO ? Outcome.No : Outcome.Void);
    }

    function _settle(uint256 bet, Bet storage b, Outcome outcome) private {
        b.outcome = outcome;
        if (outcome == Outcome.Void) {
            owedWei[b.yes] += b.stakeWei;
            if (b.no != address(0)) owedWei[b.no] += b.stakeWei;
        } else {
            owedWei[outcome == Outcome.Yes ? b.yes : b.no] += 2 * uint256(b.stakeWei);
        }
        emit Settled(bet, outcome);
    }

    /// @dev Both stakes depend on the answer.
    function _params(uint64 callbackGasPriceWei, uint256 stakeWei) private view returns (IOracle.Params memory) {
        return IOracle.Params({
            maxTokens: CHOICE_TOKENS,
            temperature: 0,
            cutoff: 0,
            callbackGas: CALLBACK_GAS,
            callbackGasPriceWei: callbackGasPriceWei,
            deadline: uint48(block.timestamp) + answerSeconds,
            valueFinney: _finney(2 * stakeWei),
            isPrivate: false
        });
    }
}
