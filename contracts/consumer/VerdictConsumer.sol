// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {IVerdictConsumer} from "../interfaces/IVerdictConsumer.sol";
import {Prompts} from "../libraries/Prompts.sol";
import {OracleConsumer} from "./OracleConsumer.sol";

/// @title Base of a contract that asks for one of a few choices.
/// @notice Inherit, call `_askChoice`, implement `_onVerdict`. Of each question `_onVerdict` hears once: the choice that the
/// model took and by how much it won, or `UNKNOWN`.
abstract contract VerdictConsumer is IVerdictConsumer, OracleConsumer {
    /// @dev A question in one slot, which is written when it is asked and when its verdict is heard.
    /// @param choices how many there are.
    /// @param deadline Unix time in seconds; nobody may answer later.
    /// @param note what the dapp remembers with it.
    struct ChoiceAsked {
        bool isAwaited;
        bool isHeard;
        uint8 choices;
        uint8 choice;
        uint32 minimumMargin;
        uint32 margin;
        uint48 deadline;
        uint112 note;
    }

    /// @dev Instead of a choice: none won by the margin that was asked for, or there was no verdict at all.
    uint8 internal constant UNKNOWN = type(uint8).max;

    /// @dev `Params.maxTokens` that suffices for every choice: sixteen ids, and the end.
    uint24 internal constant CHOICE_TOKENS = 17;

    /// @dev Index of the choice (1), margin (4), and what a dispute needs: step (2) and token (3).
    uint256 private constant VERDICT_BYTES = 10;

    /// @dev Where a type says how many choices there are; before it stand a vocabulary's root, the type's form and length.
    uint256 private constant COUNT_AT = Prompts.TYPE_HEADER_BYTES - Prompts.KIND_BYTES;
    bytes1 private constant CHOICE_FORM = 0x01;

    mapping(RequestId requestId => ChoiceAsked) private _choices;

    /// @inheritdoc IVerdictConsumer
    function close(RequestId requestId) external {
        ChoiceAsked storage asked = _choices[requestId];
        if (!asked.isAwaited) revert NotAwaited(requestId);
        IOracle.Status status = oracle.statusOf(requestId);
        bool isExpired = status == IOracle.Status.Open && block.timestamp > asked.deadline;
        if (!isExpired && status != IOracle.Status.Refunded && status != IOracle.Status.Cancelled) {
            revert MayBeAnswered(requestId, status);
        }

        _hear(requestId, asked, UNKNOWN, 0);
    }

    /// @inheritdoc IVerdictConsumer
    function verdictOf(RequestId requestId) external view returns (bool isHeard, uint8 choice, uint32 margin) {
        ChoiceAsked storage asked = _choices[requestId];
        return (asked.isHeard, asked.choice, asked.margin);
    }

    /// @dev What the dapp does with a verdict. If it reverts for an answer, `oracle.retryCallback` can repeat it for at least
    /// 30 days; if it reverts in `close`, that can be called again.
    /// @param choice index of the choice, or `UNKNOWN`.
    /// @param margin by how much it won, with 16 fraction bits: at least the margin that was asked for; 0 if unknown.
    function _onVerdict(RequestId requestId, uint8 choice, uint32 margin) internal virtual;

    /// @dev Asks `text`, for one of the choices of `answerType`. Sends `valueWei`, which must be what `_choicePrice` says.
    /// @param answerType as `didyma type choice` makes it for the model's vocabulary: never a stranger's bytes.
    /// @param minimumMargin with 16 fraction bits: a choice that won by less is heard as `UNKNOWN`.
    /// @param params `maxTokens` of `CHOICE_TOKENS` suffices; there must be gas for a callback.
    function _askChoice(
        ServiceId service,
        bytes memory answerType,
        bytes memory text,
        uint32 minimumMargin,
        IOracle.Params memory params,
        uint256 valueWei
    ) internal returns (RequestId requestId) {
        uint8 choices = _choicesOf(answerType);
        if (params.callbackGas == 0) revert NoCallback();

        // The id of a request exists only once it is made; the oracle is trusted, and makes no call back in `request`.
        // slither-disable-next-line reentrancy-eth,reentrancy-no-eth,reentrancy-benign
        requestId = _ask(service, Prompts.ofTyped(answerType, Prompts.ofText(text)), params, valueWei);
        _choices[requestId] = ChoiceAsked({
            isAwaited: true,
            isHeard: false,
            choices: choices,
            choice: UNKNOWN,
            minimumMargin: minimumMargin,
            margin: 0,
            deadline: params.deadline,
            note: 0
        });
    }

    /// @dev What `_askChoice` must be sent for a text of that length, in wei.
    function _choicePrice(ServiceId service, bytes memory answerType, uint256 textBytes, IOracle.Params memory params)
        internal
        view
        returns (uint256)
    {
        return _price(service, 2 * Prompts.KIND_BYTES + answerType.length + textBytes, params);
    }

    /// @dev Remembers a number with a question: what it is about. There is room for it in the question's slot.
    function _note(RequestId requestId, uint112 note) internal {
        _choices[requestId].note = note;
    }

    /// @dev What was noted with a question, before and after its verdict.
    function _noteOf(RequestId requestId) internal view returns (uint112) {
        return _choices[requestId].note;
    }

    /// @dev How many choices a type has. Whatever else is wrong with it, its answer is no verdict.
    function _choicesOf(bytes memory answerType) internal pure returns (uint8) {
        bytes32 head = bytes32(answerType);
        bytes3 length = bytes3(head << 8 * (COUNT_AT - Prompts.TYPE_LENGTH_BYTES));
        // Were the length another, the type would take some of the text, or leave it some.
        bool isWhole = answerType.length > COUNT_AT && uint24(length) == answerType.length - COUNT_AT;
        if (!isWhole || head[Prompts.TYPE_ROOT_BYTES] != CHOICE_FORM) revert NotAChoice();
        return uint8(head[COUNT_AT]);
    }

    /// @dev Answers to what was not asked by `_askChoice`, and those that come after `close`, change nothing.
    function _onAnswer(RequestId requestId, bytes calldata output) internal virtual override {
        ChoiceAsked storage asked = _choices[requestId];
        if (!asked.isAwaited) return;
        if (output.length == VERDICT_BYTES) {
            uint8 choice = uint8(output[0]);
            uint32 margin = uint32(bytes4(output[1:5]));
            if (choice < asked.choices && margin >= asked.minimumMargin) {
                return _hear(requestId, asked, choice, margin);
            }
        }
        _hear(requestId, asked, UNKNOWN, 0);
    }

    function _hear(RequestId requestId, ChoiceAsked storage asked, uint8 choice, uint32 margin) private {
        asked.isAwaited = false;
        asked.isHeard = true;
        (asked.choice, asked.margin) = (choice, margin);
        _onVerdict(requestId, choice, margin);
    }
}
