// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IOracle} from "./IOracle.sol";
import {IReferee} from "./IReferee.sol";
import {ModelId} from "./Ids.sol";

/// @title The judge of text prompts: says whether a few tokens show that an answer's tokens are not its prompt's.
/// @notice docs/text.md has the rules. Of all rows of tokens for a prompt, the right one is the one that no proof
/// touches. The same rules in Python: `oracle/disputes/text_referee.py`. Prompts of models whose vocabulary reads no text
/// are `ITokenReferee`'s to judge.
interface ITextReferee {
    /* TYPES */

    /// @notice What is wrong, by what shows it. The wrapper's tokens are `ITokenReferee`'s to judge.
    /// Count: fewer tokens than the wrapper has, or more with the output's than the context.
    /// End: the last token does not end where the reading does.
    /// Spelling: a token does not spell the bytes up to its end. Status: a token that no text gives here.
    /// Flag: a part whose first token begins no piece, or a flag where there are no pieces.
    /// Byte: a byte of a character that has a token. Cut: a piece is not cut where the cutter cuts it.
    /// Whole: a piece that is one token is others. Pair: another merge comes before two neighbours.
    /// Id: not the id that the prompt names.
    enum Fault {
        Count,
        End,
        Spelling,
        Status,
        Flag,
        Byte,
        Cut,
        Whole,
        Pair,
        Id
    }

    /// @notice How a model's vocabulary reads text.
    /// @param kind 1: bytes; 2: SentencePiece. @param cutter of `Cutter`; 0 for SentencePiece.
    /// @param wholeWords whether a piece that is a token is that token. @param prefixed whether a space is put before a
    /// text. @param missing bit b: no token spells the byte b. @param vocabularyRoot over entries: status (1 byte), left,
    /// right, rank (3 bytes each), what the token spells. @param vocabulary how many. @param replacement what an id
    /// beyond the vocabulary reads as. @param prefixCount tokens before the reading's. @param suffixCount after them.
    /// @param contextLength most tokens of wrapper, prompt and output together.
    struct Vocabulary {
        uint256 kind;
        uint256 cutter;
        bool wholeWords;
        bool prefixed;
        uint256 missing;
        bytes32 vocabularyRoot;
        uint256 vocabulary;
        uint256 replacement;
        uint256 prefixCount;
        uint256 suffixCount;
        uint256 contextLength;
    }

    /// @notice An answer's tokens. @param promptCount wrapper included. @param outputCount after them.
    /// @param root over leaves of four entries: id (4 bytes), end (4 bytes; the top bit says that a piece begins).
    struct Row {
        uint256 promptCount;
        uint256 outputCount;
        bytes32 root;
    }

    /// @notice A leaf under a root.
    struct Leaf {
        bytes data;
        bytes32[] proof;
    }

    /// @notice A proof.
    /// @param index the token at fault; of Cut the one that begins the piece. @param other of Cut the token that shows
    /// it; of Byte, Whole and Pair the id of a token that should be.
    /// @param tokens leaves of the row that hold: the token before `index`, unless that is the first of the reading's;
    /// `index`; of Status and Pair the token after it, unless it is the last; of Cut the token before `other`, and
    /// `other`, unless it is `index`. @param entries of the vocabulary: of Spelling, Status and Byte that of `index`'s
    /// token; of Pair those on its right spine above the merge's left part. @param right of Pair: those on the next
    /// token's left spine above the merge's right part. @param made of Byte, Whole and Pair: the entry of `other`.
    struct Proof {
        Fault fault;
        uint256 index;
        uint256 other;
        Leaf[] tokens;
        Leaf[] entries;
        Leaf[] right;
        Leaf made;
    }

    /* ERRORS */

    /// @notice Thrown for a contract whose code is not the table of Unicode classes.
    /// @dev Deploy the table from `oracle/engines/exact/unicode_classes.py`; the deployment script does.
    error WrongClasses(address classes, bytes32 codehash);

    /// @notice Thrown for what proves nothing, right or wrong.
    /// @dev Show what docs/text.md asks for that fault.
    error NoProof(Fault fault);

    /* RULINGS */

    /// @notice Whether a proof shows that an answer's tokens are not the request's prompt's. Reverts for what is no proof.
    /// @param prompt the request's, envelope included.
    function isWrongPrompt(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        ModelId model,
        IReferee.Tokens calldata tokens,
        bytes calldata prompt,
        Proof calldata shown
    ) external view returns (bool);

    /// @notice The ruling alone, on any vocabulary.
    function isWrongText(Vocabulary memory v, Row memory row, bytes calldata prompt, Proof calldata shown)
        external
        view
        returns (bool);
}
