// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ModelId} from "./Ids.sol";
import {IDisputeGame} from "./IDisputeGame.sol";
import {IOracle} from "./IOracle.sol";
import {IReferee} from "./IReferee.sol";

/// @title The referee of typed answers: whether an output is an answer of its prompt's type; a choice's margin; and what
/// a pattern allows.
/// @notice docs/answers.md has the rules. Of all answers to a typed prompt, whatever its bytes, one is right, and no
/// proof touches it. Answers to other prompts are `ITokenReferee`'s to judge. The same rules in Python:
/// `oracle/disputes/answer_referee.py`.
interface IAnswerReferee {
    /// @dev Of an answer to a pattern. Output: longer than 8,192 bytes. Token: the last is not the first stop token, or does
    /// not end where the output does; or one before it is a stop token, spells nothing, ends behind the output, or leads
    /// nowhere, or to a state that needs as many bytes as tokens may follow, or more. Stop: the answer ends where the
    /// pattern needs more, though another token is allowed.
    enum PatternFault {
        Output,
        Token,
        Stop
    }

    /// @notice Thrown for a prompt whose answer has no type.
    /// @dev Refute such an answer by `Refutations.refute` or `TokenReferee.proveChoice`.
    error NotTyped();
    /// @notice Thrown when what is shown is about a pattern and the type of the prompt's answer is none, or the other way
    /// round.
    /// @dev Refute answers to patterns by `Refutations.refutePattern` or `AnswerReferee.provePattern`, answers to other types
    /// by `Refutations.refuteAnswer` or `AnswerReferee.proveMargin`.
    error OtherForm();
    /// @notice Thrown when a token is no other than the answer's that may stand at that step.
    /// @dev Name another token that the type allows there.
    error NotCompeting(uint256 step, uint256 token);

    /// @notice Whether an answer to a typed prompt is at fault without any computing: its output says none of the type's
    /// answers, or has not as many tokens as that; or output token `index` is not that answer's, or has an end.
    /// @param index of the token in question, among prompt and output. @param prompt the request's. @param output the
    /// answer's. @param token its leaf; anything if the output is at fault.
    function isWrongAnswer(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        ModelId model,
        IReferee.Tokens calldata tokens,
        bytes calldata prompt,
        bytes calldata output,
        uint256 index,
        IReferee.Input calldata token
    ) external view returns (bool);

    /// @notice Whether two logits show an answer to a typed prompt wrong: `other`, which may stand where the answer's
    /// token after `positions` tokens does, beats it; or is beaten by less than the margin, or by as little before the
    /// answer's witness; or is the witness and is beaten by something else than the margin.
    /// @param operators_ root over the end's operators' outputs. @param inputs the logit of the answer's token; of `other`.
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
    ) external view returns (bool);

    /// @notice Ends a game whose logits nobody disputes, as `isWrongMargin` says. The end's operators must be open. Anyone
    /// may call.
    /// @param game is told by `won`; it must trust this referee.
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
    ) external;

    /// @notice Whether an answer to a pattern is at fault without any computing.
    /// @param which for Token the index of the token in question, among prompt and output; for Stop the id of the token that
    /// the answer might have gone on with. @param prompt the request's. @param output the answer's.
    /// @param inputs for Token its leaf, and the leaf of the token before it, or anything if it is the output's first; for
    /// Stop the token's entry in the vocabulary.
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
    ) external view returns (bool);

    /// @notice Whether two logits show an answer to a pattern wrong: `other`, which the pattern allows where the answer's
    /// token after `positions` tokens stands, beats it. The first stop token is allowed there if the pattern needs no more.
    /// @param operators_ root over the end's operators' outputs. @param inputs the answer's token; the token before it, or
    /// anything if it is the output's first; the logit of the answer's token; of `other`; and the entry of `other` in the
    /// vocabulary, or anything if it is the first stop token.
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
    ) external view returns (bool);

    /// @notice Ends a game whose logits nobody disputes, as `isWrongPatternChoice` says. The end's operators must be open.
    /// Anyone may call.
    /// @param game is told by `won`; it must trust this referee.
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
    ) external;
}
