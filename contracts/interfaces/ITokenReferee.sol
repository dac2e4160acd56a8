// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IDisputeGame} from "./IDisputeGame.sol";
import {ModelId} from "./Ids.sol";
import {IOracle} from "./IOracle.sol";
import {IReferee} from "./IReferee.sol";

/// @title The referee of tokens: which one the logits choose, and what an answer's tokens must look like.
/// @notice Of an answer to a typed prompt it judges the prompt's tokens and the padding alone, and of a pattern's whether
/// its tokens spell its output.
interface ITokenReferee {
    /// @dev Prompt: not the tokens that the prompt reads as. End: too long, too short, a stop token before the end. Text: a
    /// token that does not spell its part of the output. Padding: an entry after the last token that is not zero. Where the
    /// prompt is typed, `IAnswerReferee` judges the output's tokens, and not End; nor Text, unless its type is a pattern.
    ///
    /// Every prompt has one reading, which no fault touches. Where the model's vocabulary reads text, it is docs/text.md's,
    /// and Prompt is about the wrapper's tokens alone; `ITextReferee` judges the others. Else it is the wrapper's prefix, a
    /// token for each three bytes after the first byte, the suffix. An id beyond the vocabulary reads as the manifest's
    /// replacement token; one or two bytes at the end are ignored; a prompt without any token reads as one replacement
    /// token.
    enum Fault {
        Prompt,
        End,
        Text,
        Padding
    }

    /// @notice Thrown when code at the noise table's address is not the table.
    /// @dev Deploy the table from `oracle/engines/sampling.py`; the deployment script does.
    error WrongNoiseTable(address table, bytes32 codeHash);
    /// @notice Thrown for a prompt whose answer has a type.
    /// @dev Refute such an answer by `Refutations.refuteAnswer`, or `AnswerReferee.proveMargin`; a pattern's by
    /// `Refutations.refutePattern`, or `AnswerReferee.provePattern`.
    error Typed();
    /// @notice Thrown when prompt or output is not the request's or the answer's.
    /// @dev Pass the prompt or output whose hash is `expected`.
    error WrongText(bytes32 expected, bytes32 computed);
    /// @notice Thrown when a prompt lacks the model's wrapper, or leaves no room for its answer.
    /// @dev Refute the answer instead: no honest one has such a count.
    error PromptOutOfRange(uint256 promptCount, uint256 least, uint256 most);
    /// @notice Thrown when a header is not that of the seed's block.
    /// @dev Pass the header of the block whose hash is `expected`, as RLP.
    error WrongHeader(bytes32 expected, bytes32 computed);

    /// @notice Whether the model chooses another token than the answer's after `positions` tokens, since `better` beats it.
    /// @param operators_ root over the end's operators' outputs. @param prompt the request's.
    /// @param inputs the answer's token; its logit; the logit of `better`; if sampled, the seed block's header; if sampled
    /// with a cutoff, the largest logit.
    function isWrongChoice(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        ModelId model,
        IReferee.Tokens calldata tokens,
        uint256 positions,
        bytes32 operators_,
        bytes calldata prompt,
        uint256 better,
        IReferee.Input[] calldata inputs
    ) external view returns (bool);

    /// @notice Whether an answer's tokens are at fault without any computing.
    /// @param index of the token in question, among prompt and output.
    /// @param prompt the request's; anything for Padding. @param output the answer's; anything for Prompt, Padding, and an End
    /// before the last token.
    /// @param inputs the token; for Text, also the token before it and the token's entry in the vocabulary.
    function isMalformed(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        ModelId model,
        IReferee.Tokens calldata tokens,
        Fault fault,
        uint256 index,
        bytes calldata prompt,
        bytes calldata output,
        IReferee.Input[] calldata inputs
    ) external view returns (bool);

    /// @notice Ends a game whose logits nobody disputes: shows that they choose `better`. The end's operators must be open.
    /// Anyone may call.
    /// @param game is told by `won`; it must trust this referee.
    function proveChoice(
        IDisputeGame game,
        IDisputeGame.GameId gameId,
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IReferee.Tokens calldata tokens,
        bytes calldata prompt,
        uint256 better,
        IReferee.Input[] calldata inputs
    ) external;

    /// @notice What the tree over an answer's tokens looks like, as the node shows its upper part.
    /// Reverts unless it is the answer's, and of as many tokens as a right answer has: with the model's wrapper, and no
    /// more than its context.
    /// @param nodes those `Paths.tokensBelow` levels above the leaves.
    function unfold(ModelId model, IOracle.Answer calldata ans, uint256 promptCount, bytes32[] calldata nodes)
        external
        view
        returns (bytes32 root, uint256 levels);

    /// @notice Root over neighbouring leaves of such a tree. entries: eight bytes a token, as `IReferee.Tokens` says.
    function rootOf(bytes calldata entries) external pure returns (bytes32);
}
