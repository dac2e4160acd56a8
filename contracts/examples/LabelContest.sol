// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {OracleConsumer} from "../consumer/OracleConsumer.sol";
import {VerdictConsumer} from "../consumer/VerdictConsumer.sol";
import {RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";

/// @title A labelling contest: contestants stake on labels, and the model is asked only where they disagree.
/// @notice A poster offers a reward for a text's label. The first contestant to name a label opens a window in which anyone may
/// name another; each label has one contestant. Where nobody disagrees the label stands. Otherwise the oracle is asked, and
/// whoever named its choice has the reward and all stakes. If nobody did, or the verdict is unknown or never comes, each has
/// their own back. Who can compute the model's label can always take a wrong contestant's stake, so disputes are rare.
/// @dev Warning: what is judged is what the model says of a text by a stranger, who may have written it to mislead: run the
/// model before you stake. A label may be copied before it is mined; where that matters, commit to labels first.
contract LabelContest is VerdictConsumer {
    enum Stage {
        None,
        Open,
        Asked,
        Won,
        Void
    }

    /// @param labels how many were named.
    /// @param label the one that won; 255 if none has.
    /// @param closesAt Unix time in seconds of the last moment a label may be named; 0 until the first is.
    /// @param staleAt after that time anyone may void what came to nothing.
    struct Item {
        address poster;
        Stage stage;
        uint8 labels;
        uint8 label;
        uint96 rewardWei;
        uint48 closesAt;
        uint48 staleAt;
        RequestId requestId;
        bytes32 textHash;
    }

    /// @dev What stands before a text.
    bytes public constant QUESTION = "Which label fits the text below best? Answer with one word.\n\nText: ";

    /// @dev Enough for one new balance.
    uint32 public constant CALLBACK_GAS = 90_000;

    /// @dev How long a disputed item waits for somebody to ask, and then for the oracle: longer than a request and all its
    /// windows can last. Afterwards `void` returns everything, whatever happened to the service.
    uint48 public constant PATIENCE = 90 days;

    ServiceId public immutable service;
    uint32 public immutable minimumMargin;
    uint48 public immutable answerSeconds;

    /// @notice How long others may name another label, in seconds.
    uint48 public immutable windowSeconds;

    /// @notice What each label costs until its item is closed.
    uint96 public immutable stakeWei;

    /// @dev Gets what the oracle refunds for tokens not used.
    address payable public immutable treasury;

    uint8 public immutable choices;

    /// @dev The labels, in the service's tokens.
    bytes public answerType;

    Item[] private _items;
    mapping(uint256 item => mapping(uint8 label => address)) public contestant;
    mapping(address account => uint256) public owedWei;

    event Posted(uint256 indexed item, address indexed poster, uint96 rewardWei, bytes text);
    event Labelled(uint256 indexed item, uint8 indexed label, address indexed contestant);
    event Disputed(uint256 indexed item, RequestId indexed requestId);
    event Closed(uint256 indexed item, Stage stage, uint8 label);

    /// @notice Thrown when a text is posted without a reward.
    /// @dev Send the reward.
    error NoReward();
    /// @notice Thrown when a label comes with another stake.
    /// @dev Send `expectedWei`.
    error WrongStake(uint256 expectedWei, uint256 givenWei);
    /// @notice Thrown for a label that the contest does not have.
    /// @dev Name one of its labels, by its index.
    error NoSuchLabel(uint8 label);
    /// @notice Thrown when somebody has named that label before.
    /// @dev Name another, or none.
    error LabelTaken(uint256 item, uint8 label);
    /// @notice Thrown when an item takes no labels any more.
    /// @dev Choose another.
    error NotOpen(uint256 item);
    /// @notice Thrown when others may still name labels.
    /// @dev Wait until `closesAt` has passed.
    error WindowStillOpen(uint256 item, uint48 closesAt);
    /// @notice Thrown when contestants disagree, or nobody has named a label.
    /// @dev With several labels, call `ask`.
    error NotUndisputed(uint256 item, uint8 labels);
    /// @notice Thrown when the oracle is to be asked about what nobody disputes.
    /// @dev With one label, call `accept`.
    error NotDisputed(uint256 item, uint8 labels);
    /// @notice Thrown when the text is not the item's.
    /// @dev Pass the text of its `Posted` event.
    error WrongText(uint256 item);
    /// @notice Thrown when an item can still be decided.
    /// @dev The poster may void an item that has no label; others wait for the oracle, or for `PATIENCE` to pass.
    error NotVoidable(uint256 item);
    /// @notice Thrown when a stake is not there to be taken back.
    /// @dev Only from a void item, by who named that label, once.
    error NoStake(uint256 item, uint8 label);
    /// @notice Thrown when nothing is owed to the sender.
    /// @dev Nothing is to be done.
    error NothingOwed(address account);
    /// @notice Thrown when the receiver refuses the ether; it stays owed.
    /// @dev Collect from an account that takes ether.
    error TransferFailed(address to, uint256 amountWei);

    /// @param answerType_ of `didyma type choice` with the labels, for the service's model: at least two.
    constructor(
        IOracle oracle_,
        ServiceId service_,
        bytes memory answerType_,
        uint32 minimumMargin_,
        uint48 answerSeconds_,
        uint48 windowSeconds_,
        uint96 stakeWei_,
        address payable treasury_
    ) OracleConsumer(oracle_) {
        choices = _choicesOf(answerType_);
        if (choices < 2) revert NotAChoice();
        service = service_;
        answerType = answerType_;
        minimumMargin = minimumMargin_;
        answerSeconds = answerSeconds_;
        windowSeconds = windowSeconds_;
        stakeWei = stakeWei_;
        treasury = treasury_;
    }

    /// @notice Offers the ether sent for a text's label. Reverts if the service would not take the text.
    function post(bytes calldata text) external payable returns (uint256 item) {
        if (msg.value == 0) revert NoReward();
        _choicePrice(service, answerType, QUESTION.length + text.length, _params(0, msg.value));

        item = _items.length;
        _items.push(
            Item({
                poster: msg.sender,
                stage: Stage.Open,
                labels: 0,
                label: UNKNOWN,
                rewardWei: uint96(msg.value),
                closesAt: 0,
                staleAt: 0,
                requestId: RequestId.wrap(0),
                textHash: keccak256(text)
            })
        );
        emit Posted(item, msg.sender, uint96(msg.value), text);
    }

    /// @notice Stakes on a label that nobody has named.
    function label(uint256 item, uint8 choice) external payable {
        Item storage it = _items[item];
        if (it.stage != Stage.Open || (it.labels != 0 && block.timestamp > it.closesAt)) revert NotOpen(item);
        if (msg.value != stakeWei) revert WrongStake(stakeWei, msg.value);
        if (choice >= choices) revert NoSuchLabel(choice);
        if (contestant[item][choice] != address(0)) revert LabelTaken(item, choice);

        if (it.labels++ == 0) {
            it.closesAt = uint48(block.timestamp) + windowSeconds;
            it.staleAt = it.closesAt + PATIENCE;
        }
        contestant[item][choice] = msg.sender;
        emit Labelled(item, choice, msg.sender);
    }

    /// @notice Closes an item on whose label nobody disagreed: its contestant has the reward, and the stake back. Anyone may call.
    /// @param choice the label that was named.
    function accept(uint256 item, uint8 choice) external {
        Item storage it = _closed(item);
        if (it.labels != 1) revert NotUndisputed(item, it.labels);
        address winner = contestant[item][choice];
        if (winner == address(0)) revert NoSuchLabel(choice);

        _win(item, it, choice, winner);
    }

    /// @notice Asks the oracle about an item of which several labels were named. Anyone may pay for it; send what `price` says.
    function ask(uint256 item, bytes calldata text, uint64 callbackGasPriceWei) external payable {
        Item storage it = _closed(item);
        if (it.labels < 2) revert NotDisputed(item, it.labels);
        if (keccak256(text) != it.textHash) revert WrongText(item);

        it.stage = Stage.Asked;
        it.staleAt = uint48(block.timestamp) + PATIENCE;
        // The oracle is trusted, and its callback comes in a later transaction.
        // slither-disable-next-line reentrancy-eth
        RequestId requestId = _askChoice(
            service,
            answerType,
            bytes.concat(QUESTION, text),
            minimumMargin,
            _params(callbackGasPriceWei, _potWei(it)),
            msg.value
        );
        it.requestId = requestId;
        _note(requestId, uint112(item));
        emit Disputed(item, requestId);
    }

    /// @notice Gives up an item: its poster, as long as there is no label; anyone, once nothing came of a dispute for `PATIENCE`.
    /// The reward is the poster's again, and each stake its contestant's (`takeBack`). If nobody answers the oracle, `close`
    /// does so at once.
    function void(uint256 item) external {
        Item storage it = _items[item];
        bool isUnlabelled = it.stage == Stage.Open && it.labels == 0 && msg.sender == it.poster;
        bool isDisputed = it.stage == Stage.Asked || (it.stage == Stage.Open && it.labels > 1);
        if (!isUnlabelled && !(isDisputed && block.timestamp > it.staleAt)) revert NotVoidable(item);

        _void(item, it);
    }

    /// @notice Takes back the stake on a label of a void item.
    function takeBack(uint256 item, uint8 choice) external {
        if (_items[item].stage != Stage.Void || contestant[item][choice] != msg.sender) revert NoStake(item, choice);

        contestant[item][choice] = address(0);
        owedWei[msg.sender] += stakeWei;
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

    /// @notice What `ask` must be sent for an item whose text has that length, in wei.
    function price(uint256 item, uint256 textBytes, uint64 callbackGasPriceWei) external view returns (uint256) {
        IOracle.Params memory params = _params(callbackGasPriceWei, _potWei(_items[item]));
        return _choicePrice(service, answerType, QUESTION.length + textBytes, params);
    }

    function itemOf(uint256 item) external view returns (Item memory) {
        return _items[item];
    }

    /// @dev `ask` made the request, so the item exists; it is in stage Asked unless it went stale.
    function _onVerdict(RequestId requestId, uint8 choice, uint32) internal override {
        uint256 item = _noteOf(requestId);
        Item storage it = _items[item];
        if (it.stage != Stage.Asked) return;
        address winner = choice == UNKNOWN ? address(0) : contestant[item][choice];
        if (winner == address(0)) _void(item, it);
        else _win(item, it, choice, winner);
    }

    function _win(uint256 item, Item storage it, uint8 choice, address winner) private {
        (it.stage, it.label) = (Stage.Won, choice);
        owedWei[winner] += _potWei(it);
        emit Closed(item, Stage.Won, choice);
    }

    /// @dev Stakes are taken back one by one: the gas of a callback must not grow with the contestants.
    function _void(uint256 item, Item storage it) private {
        it.stage = Stage.Void;
        owedWei[it.poster] += it.rewardWei;
        emit Closed(item, Stage.Void, UNKNOWN);
    }

    /// @dev An item whose labels have been named, and that nobody has closed or asked about.
    function _closed(uint256 item) private view returns (Item storage it) {
        it = _items[item];
        if (it.stage != Stage.Open) revert NotOpen(item);
        if (block.timestamp <= it.closesAt) revert WindowStillOpen(item, it.closesAt);
    }

    /// @dev All that hangs on an item.
    function _potWei(Item storage it) private view returns (uint256) {
        return it.rewardWei + uint256(it.labels) * stakeWei;
    }

    function _params(uint64 callbackGasPriceWei, uint256 potWei) private view returns (IOracle.Params memory) {
        return IOracle.Params({
            maxTokens: CHOICE_TOKENS,
            temperature: 0,
            cutoff: 0,
            callbackGas: CALLBACK_GAS,
            callbackGasPriceWei: callbackGasPriceWei,
            deadline: uint48(block.timestamp) + answerSeconds,
            valueFinney: _finney(potWei),
            isPrivate: false
        });
    }
}
