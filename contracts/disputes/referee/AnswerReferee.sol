// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IAnswerReferee} from "../../interfaces/IAnswerReferee.sol";
import {IDisputeGame} from "../../interfaces/IDisputeGame.sol";
import {IFamily} from "../../interfaces/IFamily.sol";
import {ModelId} from "../../interfaces/Ids.sol";
import {IOracle} from "../../interfaces/IOracle.sol";
import {IReferee} from "../../interfaces/IReferee.sol";
import {MerkleTree} from "../../libraries/MerkleTree.sol";
import {Prompts} from "../../libraries/Prompts.sol";
import {RequestLib} from "../../libraries/RequestLib.sol";
import {AnswerTypes} from "./AnswerTypes.sol";
import {Commitments} from "./Commitments.sol";
import {Graph} from "./Graph.sol";
import {Logits} from "./Logits.sol";
import {Patterns} from "./Patterns.sol";

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

    /// @inheritdoc IAnswerReferee
    function provePattern(
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
        if (!isWrongPatternChoice(req, ans, model, tokens, positions, operators_, prompt, output, other, inputs)) {
            revert IReferee.NothingWrong();
        }
        game.won(gameId, req, ans);
    }

    /* CHOICES */

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
        AnswerTypes.Frame memory f = _frame(req, ans, pointer, n, tokens, prompt, output);
        if (AnswerTypes.patternOf(prompt, f).length != 0) revert OtherForm();
        said.answers = AnswerTypes.answersOf(prompt, f);
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

    /* PATTERNS */

    /// @inheritdoc IAnswerReferee
    function isWrongPattern(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        ModelId model,
        IReferee.Tokens calldata tokens,
        PatternFault fault,
        uint256 which,
        bytes calldata prompt,
        bytes calldata output,
        IReferee.Input[] calldata inputs
    ) external view returns (bool) {
        address pointer = referee.pointerOf(model);
        (AnswerTypes.Frame memory f, bytes calldata table) =
            _pattern(req, ans, pointer, Commitments.numbers(pointer), tokens, prompt, output);
        if (output.length > Patterns.MOST_TEXT) return true;
        if (fault == PatternFault.Output) return false;
        uint256 count = ans.tokenCount();
        if (fault == PatternFault.Stop) {
            _expectInputs(inputs, 1);
            uint256 last = Patterns.walk(table, 0, output);
            if (last == Patterns.NOWHERE) return true;
            if (Patterns.need(table, last) == 0) return false;
            return _allows(f, table, last, output.length, count - 1, which, inputs[0]);
        }
        _expectInputs(inputs, 2);
        (uint256 token, uint256 start, uint256 end) = _span(tokens, count, which, inputs);
        uint256 step = which - tokens.promptCount;
        if (step + 1 == count) return token != f.stops[0] || end != output.length;
        if (end <= start || end > output.length || _stops(f, token)) return true;
        return !_leaves(f, table, Patterns.walk(table, 0, output[:end]), step);
    }

    /// @inheritdoc IAnswerReferee
    function isWrongPatternChoice(
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
        (AnswerTypes.Frame memory f, bytes calldata table) = _pattern(req, ans, q.pointer, q.n, tokens, prompt, output);
        _expectInputs(inputs, 5);
        (uint256 chosen, uint256 start,) = _span(tokens, ans.tokenCount(), positions, inputs);
        if (output.length > Patterns.MOST_TEXT || start > output.length || chosen >= f.vocabulary) return true;
        uint256 state = Patterns.walk(table, 0, output[:start]);
        if (state == Patterns.NOWHERE) return true;
        uint256 step = positions - tokens.promptCount;
        bool allowed = other == f.stops[0]
            ? Patterns.need(table, state) == 0
            : _allows(f, table, state, start, step, other, inputs[4]);
        if (other == chosen || !allowed) revert NotCompeting(step, other);
        int256 over = _at(q, Graph.LOGITS, 0, chosen, inputs[2]) - _at(q, Graph.LOGITS, 0, other, inputs[3]);
        return over < 0 || (over == 0 && other < chosen);
    }

    /// @dev Whether a token, no stop token, may be output token `step` after `length` bytes that led to `state`.
    function _allows(
        AnswerTypes.Frame memory f,
        bytes calldata table,
        uint256 state,
        uint256 length,
        uint256 step,
        uint256 token,
        IReferee.Input calldata entry
    ) private pure returns (bool) {
        MerkleTree.check(f.vocabularyRoot, f.vocabulary, token, MerkleTree.hashLeaf(entry.data), entry.proof);
        bytes calldata spelled = entry.data[Commitments.ENTRY_NUMBERS:];
        if (spelled.length == 0 || length + spelled.length > Patterns.MOST_TEXT || _stops(f, token)) return false;
        return _leaves(f, table, Patterns.walk(table, state, spelled), step);
    }

    /// @dev Whether a token that leads to `state` leaves tokens enough to end, if it is output token `step`.
    function _leaves(AnswerTypes.Frame memory f, bytes calldata table, uint256 state, uint256 step)
        private
        pure
        returns (bool)
    {
        return state != Patterns.NOWHERE && Patterns.need(table, state) + step + 1 < f.limit;
    }

    function _stops(AnswerTypes.Frame memory f, uint256 token) private pure returns (bool) {
        for (uint256 i; i < f.stops.length; ++i) {
            if (f.stops[i] == token) return true;
        }
        return false;
    }

    /// @dev An output token, and where it begins and ends. inputs: it, and the token before it.
    function _span(IReferee.Tokens calldata tokens, uint256 tokenCount, uint256 index, IReferee.Input[] calldata inputs)
        private
        pure
        returns (uint256 token, uint256 start, uint256 end)
    {
        uint256 count = tokens.promptCount + tokenCount;
        if (index < tokens.promptCount) revert IReferee.NoSuchElement(index, count);
        (token, end) = _entry(tokens, count, index, inputs[0]);
        if (index != tokens.promptCount) (, start) = _entry(tokens, count, index - 1, inputs[1]);
    }

    function _pattern(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        address pointer,
        IFamily.Numbers memory n,
        IReferee.Tokens calldata tokens,
        bytes calldata prompt,
        bytes calldata output
    ) private view returns (AnswerTypes.Frame memory f, bytes calldata table) {
        f = _frame(req, ans, pointer, n, tokens, prompt, output);
        table = AnswerTypes.patternOf(prompt, f);
        if (table.length == 0) revert OtherForm();
    }

    /* TYPES */

    /// @dev What the prompt's type is read by. Reverts unless prompt, output and tokens are the request's and the answer's.
    function _frame(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        address pointer,
        IFamily.Numbers memory n,
        IReferee.Tokens calldata tokens,
        bytes calldata prompt,
        bytes calldata output
    ) private view returns (AnswerTypes.Frame memory) {
        _checkText(req.promptHash, prompt);
        _checkText(ans.outputHash, output);
        _checkTokens(ans, tokens);
        if (!Prompts.isTyped(prompt)) revert NotTyped();
        uint256 room = n.contextLength < tokens.promptCount ? 0 : n.contextLength - tokens.promptCount;
        uint256 limit = room < req.maxTokens() ? room : req.maxTokens();
        return AnswerTypes.Frame(n.vocabularyRoot, n.shape.vocabulary, Commitments.stopTokens(pointer, n), limit);
    }
}
