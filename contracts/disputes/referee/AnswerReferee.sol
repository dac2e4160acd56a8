// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IAnswerReferee} from "../../interfaces/IAnswerReferee.sol";
import {IDisputeGame} from "../../interfaces/IDisputeGame.sol";
import {IFamily} from "../../interfaces/IFamily.sol";
import {ModelId} from "../../interfaces/Ids.sol";
import {IOracle} from "../../interfaces/IOracle.sol";
import {IReferee} from "../../interfaces/IReferee.sol";
import {Prompts} from "../../libraries/Prompts.sol";
import {RequestLib} from "../../libraries/RequestLib.sol";
import {AnswerTypes} from "./AnswerTypes.sol";
import {Commitments} from "./Commitments.sol";
import {Graph} from "./Graph.sol";
import {Logits} from "./Logits.sol";

/// @title AnswerReferee
contract AnswerReferee is IAnswerReferee, Logits {
    using RequestLib for IOracle.Request;
    using RequestLib for IOracle.Answer;

    /// @dev An answer to a choice: index (1), margin (4), and its witness, step (2) and other token (3).
    uint256 private constant VERDICT_BYTES = 10;

    /// @notice What an answer says. @param exists whether it is one of the type's. @param tokens of it.
    /// @param answers all of the type's. @param margin, step, other as it says them; 0 of a malformed type's.
    struct Said {
        bool exists;
        uint256[] tokens;
        uint256[][] answers;
        uint256 margin;
        uint256 step;
        uint256 other;
    }

    constructor(IReferee referee_) Logits(referee_) {}

    /* PROOFS */

    /// @inheritdoc IAnswerReferee
    function proveMargin(
        IDisputeGame game,
        IDisputeGame.GameId gameId,
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IReferee.Tokens calldata tokens,
        bytes calldata prompt,
        bytes calldata output,
        uint256 other,
        IReferee.Input[] calldata inputs
    ) external {
        (ModelId model, uint256 positions, bytes32 operators_) = _opened(game, gameId, req);
        if (!isWrongMargin(req, ans, model, tokens, positions, operators_, prompt, output, other, inputs)) {
            revert IReferee.NothingWrong();
        }
        game.won(gameId, req, ans);
    }

    /* RULINGS */

    /// @inheritdoc IAnswerReferee
    function isWrongAnswer(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        ModelId model,
        IReferee.Tokens calldata tokens,
        bytes calldata prompt,
        bytes calldata output,
        uint256 index,
        IReferee.Input calldata token
    ) external view returns (bool) {
        address pointer = referee.pointerOf(model);
        Said memory said = _said(req, ans, pointer, Commitments.numbers(pointer), tokens, prompt, output);
        if (!said.exists) return true;
        uint256 count = tokens.promptCount + said.tokens.length;
        if (index < tokens.promptCount) revert IReferee.NoSuchElement(index, count);
        (uint256 id, uint256 end) = _entry(tokens, count, index, token);
        return id != said.tokens[index - tokens.promptCount] || end != 0;
    }

    /// @inheritdoc IAnswerReferee
    function isWrongMargin(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        ModelId model,
        IReferee.Tokens calldata tokens,
        uint256 positions,
        bytes32 operators_,
        bytes calldata prompt,
        bytes calldata output,
        uint256 other,
        IReferee.Input[] calldata inputs
    ) public view returns (bool) {
        IFamily.Question memory q = _end(model, positions, operators_);
        Said memory said = _said(req, ans, q.pointer, q.n, tokens, prompt, output);
        if (!said.exists) return true;
        uint256 count = tokens.promptCount + said.tokens.length;
        if (positions < tokens.promptCount || positions >= count) revert IReferee.NoSuchElement(positions, count);
        uint256 step = positions - tokens.promptCount;
        uint256 chosen = said.tokens[step];
        if (other == chosen || !AnswerTypes.competes(said.answers, said.tokens, step, other)) {
            revert NotCompeting(step, other);
        }
        _expectInputs(inputs, 2);
        int256 over = _at(q, Graph.LOGITS, 0, chosen, inputs[0]) - _at(q, Graph.LOGITS, 0, other, inputs[1]);
        if (over < 0 || (over == 0 && other < chosen)) return true;
        // Logits are of 32 bits with as many fraction bits as a margin: it always fits.
        uint256 margin = uint256(over);
        if (step == said.step && other == said.other) return margin != said.margin;
        if (margin != said.margin) return margin < said.margin;
        return step < said.step || (step == said.step && other < said.other);
    }

    /// @dev What the output says, read by the prompt's type.
    function _said(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        address pointer,
        IFamily.Numbers memory n,
        IReferee.Tokens calldata tokens,
        bytes calldata prompt,
        bytes calldata output
    ) private view returns (Said memory said) {
        _checkText(req.promptHash, prompt);
        _checkText(ans.outputHash, output);
        _checkTokens(ans, tokens);
        if (!Prompts.isTyped(prompt)) revert NotTyped();
        uint256 room = n.contextLength < tokens.promptCount ? 0 : n.contextLength - tokens.promptCount;
        uint256 limit = room < req.maxTokens() ? room : req.maxTokens();
        uint256[] memory stops = Commitments.stopTokens(pointer, n);
        said.answers =
            AnswerTypes.answersOf(prompt, AnswerTypes.Frame(n.vocabularyRoot, n.shape.vocabulary, stops, limit));
        bool chooses = said.answers.length != 1;
        if (output.length != (chooses ? VERDICT_BYTES : 0)) return said;
        uint256 verdict = uint80(bytes10(output));
        uint256 index = chooses ? uint8(verdict >> 72) : 0;
        if (index >= said.answers.length) return said;
        said.tokens = said.answers[index];
        if (said.tokens.length != ans.tokenCount()) return said;
        said.exists = true;
        if (!chooses) return said;
        (said.margin, said.step, said.other) = (uint32(verdict >> 40), uint16(verdict >> 24), uint24(verdict));
        // The witness may stand where it says, in place of another token.
        said.exists = said.step < said.tokens.length && said.other != said.tokens[said.step]
            && AnswerTypes.competes(said.answers, said.tokens, said.step, said.other);
    }
}
