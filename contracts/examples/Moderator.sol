// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {OracleConsumer} from "../consumer/OracleConsumer.sol";
import {VerdictConsumer} from "../consumer/VerdictConsumer.sol";
import {RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";

/// @title A label that acts: the model labels each comment, and the contract shows it, hides it, or leaves it to a person.
/// @notice Warning: an author writes the words that are judged, and may write them for the model. A high margin does not make
/// such a text honest, so nothing depends on a label but whether a comment is shown, and a person may overrule it.
contract Moderator is VerdictConsumer {
    /// @dev Held: the model was not sure, or nobody answered.
    enum Status {
        None,
        Waiting,
        Shown,
        Hidden,
        Held
    }

    struct Comment {
        address author;
        Status status;
        RequestId requestId;
    }

    /// @dev What stands before a comment. The choices are "fine" first, then what makes a comment hidden.
    bytes public constant QUESTION = "Is the comment below fine, spam or abuse? Answer with one word.\n\nComment: ";
    uint8 private constant FINE = 0;

    uint32 public constant CALLBACK_GAS = 60_000;

    /// @dev An author with so many hidden comments posts no more.
    uint256 public constant MOST_STRIKES = 3;

    ServiceId public immutable service;
    uint32 public immutable minimumMargin;
    uint48 public immutable answerSeconds;

    /// @dev The person: rules on what is held, and overrules.
    address public immutable reviewer;

    /// @dev Fine, spam, abuse, in the service's tokens.
    bytes public answerType;

    Comment[] private _comments;
    mapping(address author => uint256) public strikes;

    event Posted(uint256 indexed comment, address indexed author, RequestId indexed requestId, bytes text);
    event Moderated(uint256 indexed comment, Status status);

    /// @notice Thrown when an author has had too many comments hidden.
    /// @dev Ask the reviewer to show comments that should not have been hidden.
    error Banned(address author);
    /// @notice Thrown when anyone but the reviewer overrules the model.
    /// @dev Send it from the reviewer's account.
    error NotReviewer(address caller);

    /// @param answerType_ of `didyma type choice fine spam abuse`, for the service's model; there may be more bad labels.
    constructor(
        IOracle oracle_,
        ServiceId service_,
        bytes memory answerType_,
        uint32 minimumMargin_,
        uint48 answerSeconds_,
        address reviewer_
    ) OracleConsumer(oracle_) {
        _choicesOf(answerType_);
        service = service_;
        answerType = answerType_;
        minimumMargin = minimumMargin_;
        answerSeconds = answerSeconds_;
        reviewer = reviewer_;
    }

    /// @notice Posts a comment, which its author pays to have labelled; send what `price` says.
    function post(bytes calldata text, uint64 callbackGasPriceWei) external payable returns (uint256 comment) {
        if (strikes[msg.sender] >= MOST_STRIKES) revert Banned(msg.sender);

        comment = _comments.length;
        // The oracle is trusted, and its callback comes in a later transaction.
        // slither-disable-next-line reentrancy-benign,reentrancy-eth,reentrancy-no-eth
        RequestId requestId = _askChoice(
            service, answerType, bytes.concat(QUESTION, text), minimumMargin, _params(callbackGasPriceWei), msg.value
        );
        _comments.push(Comment({author: msg.sender, status: Status.Waiting, requestId: requestId}));
        _note(requestId, uint112(comment));
        emit Posted(comment, msg.sender, requestId, text);
    }

    /// @notice Shows or hides a comment that the model held, or overrules the model, also before it has said anything: a verdict
    /// may never come. Only the reviewer.
    function overrule(uint256 comment, bool shows) external {
        if (msg.sender != reviewer) revert NotReviewer(msg.sender);
        _set(comment, shows ? Status.Shown : Status.Hidden);
    }

    /// @notice Sends the oracle's refunds to the reviewer. Anyone may call.
    function sweep() external {
        _withdrawCredit(payable(reviewer));
    }

    /// @notice What `post` must be sent for a text of that length, in wei.
    function price(uint256 textBytes, uint64 callbackGasPriceWei) external view returns (uint256) {
        return _choicePrice(service, answerType, QUESTION.length + textBytes, _params(callbackGasPriceWei));
    }

    function commentOf(uint256 comment) external view returns (Comment memory) {
        return _comments[comment];
    }

    function _onVerdict(RequestId requestId, uint8 choice, uint32) internal override {
        uint256 comment = _noteOf(requestId);
        if (_comments[comment].status != Status.Waiting) return;
        Status status = choice == UNKNOWN ? Status.Held : choice == FINE ? Status.Shown : Status.Hidden;
        _set(comment, status);
    }

    /// @dev A strike for each comment that is hidden, as long as it is.
    function _set(uint256 comment, Status status) private {
        Comment storage c = _comments[comment];
        if (status == Status.Hidden && c.status != Status.Hidden) ++strikes[c.author];
        if (status != Status.Hidden && c.status == Status.Hidden) --strikes[c.author];
        c.status = status;
        emit Moderated(comment, status);
    }

    function _params(uint64 callbackGasPriceWei) private view returns (IOracle.Params memory) {
        return IOracle.Params({
            maxTokens: CHOICE_TOKENS,
            temperature: 0,
            cutoff: 0,
            callbackGas: CALLBACK_GAS,
            callbackGasPriceWei: callbackGasPriceWei,
            deadline: uint48(block.timestamp) + answerSeconds,
            valueFinney: 0,
            isPrivate: false
        });
    }
}
