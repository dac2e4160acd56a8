// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IFamily} from "../../interfaces/IFamily.sol";
import {IOracle} from "../../interfaces/IOracle.sol";
import {IReferee} from "../../interfaces/IReferee.sol";
import {ITextReferee} from "../../interfaces/ITextReferee.sol";
import {ITokenReferee} from "../../interfaces/ITokenReferee.sol";
import {ModelId} from "../../interfaces/Ids.sol";
import {MerkleTree} from "../../libraries/MerkleTree.sol";
import {Prompts} from "../../libraries/Prompts.sol";
import {RequestLib} from "../../libraries/RequestLib.sol";
import {Commitments} from "./Commitments.sol";
import {Cutter} from "./Cutter.sol";
import {Inputs} from "./Inputs.sol";
import {Reading} from "./Reading.sol";

/// @title TextReferee
contract TextReferee is ITextReferee, Inputs {
    using RequestLib for IOracle.Answer;

    uint256 private constant SENTENCEPIECE = 2;
    uint256 private constant NEVER = 0;
    uint256 private constant PLAIN = 1;
    uint256 private constant WHOLE = 2;
    uint256 private constant BYTE = 3;
    uint256 private constant NO_TOKEN = 0xffffff;
    uint256 private constant BEGINS = 0x80000000;

    /// @dev keccak256 of `oracle/engines/exact/unicode_classes.py`, `table()`.
    bytes32 public constant CLASSES_HASH = 0x294e564a6f0b7d843d845978d149567b77eeee27daf76fe5bfee0954403a5ddb;

    IReferee public immutable referee;
    address public immutable classes;

    /// @notice The token at fault: what its leaf says, and where it stands.
    /// @param start end of the token before it. @param next index of the token after it. @param last index after the
    /// reading's tokens. @param shown how many leaves of the row were read.
    struct Claim {
        uint256 id;
        uint256 start;
        uint256 end;
        bool begins;
        uint256 next;
        uint256 last;
        uint256 shown;
    }

    /// @notice A token of the vocabulary. @param spelled keccak256 of what it spells. @param length of it, in bytes.
    struct Entry {
        uint256 status;
        uint256 left;
        uint256 right;
        uint256 rank;
        bytes32 spelled;
        uint256 length;
    }

    constructor(IReferee referee_, address classes_) {
        referee = referee_;
        if (classes_.codehash != CLASSES_HASH) revert WrongClasses(classes_, classes_.codehash);
        classes = classes_;
    }

    /* RULINGS */

    /// @inheritdoc ITextReferee
    function isWrongPrompt(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        ModelId model,
        IReferee.Tokens calldata tokens,
        bytes calldata prompt,
        Proof calldata shown
    ) external view returns (bool) {
        if (keccak256(prompt) != req.promptHash) {
            revert ITokenReferee.WrongText(req.promptHash, keccak256(prompt));
        }
        _checkTokens(ans, tokens);
        address pointer = referee.pointerOf(model);
        Commitments.Text memory t = Commitments.text(pointer);
        if (t.kind == 0) revert NoProof(shown.fault);
        IFamily.Numbers memory n = Commitments.numbers(pointer);
        Vocabulary memory v = Vocabulary({
            kind: t.kind,
            cutter: t.cutter,
            wholeWords: t.wholeWords,
            prefixed: t.prefixed,
            missing: t.missing,
            vocabularyRoot: n.vocabularyRoot,
            vocabulary: n.shape.vocabulary,
            replacement: n.replacementToken,
            prefixCount: n.prefixCount,
            suffixCount: n.suffixCount,
            contextLength: n.contextLength
        });
        return isWrongText(v, Row(tokens.promptCount, ans.tokenCount(), tokens.root), prompt, shown);
    }

    /// @inheritdoc ITextReferee
    function isWrongText(Vocabulary memory v, Row memory row, bytes calldata prompt, Proof calldata shown)
        public
        view
        returns (bool)
    {
        (bytes memory data, Reading.Part memory part) = Reading.of_(prompt, v.prefixed, v.missing, 0);
        uint256 first = v.prefixCount;
        // Where there would be no token at all, the replacement token stands for the wrapper.
        if (v.prefixCount == 0 && v.suffixCount == 0 && data.length == 0) first = 1;
        if (shown.fault == Fault.Count) {
            return row.promptCount < first + v.suffixCount || row.promptCount + row.outputCount > v.contextLength;
        }
        if (row.promptCount < first + v.suffixCount) revert NoProof(shown.fault);
        uint256 last = row.promptCount - v.suffixCount;
        if (shown.fault == Fault.End) {
            if (first == last) return data.length != 0;
            (, uint256 end,) = _token(row, last - 1, shown.tokens[0]);
            return end != data.length;
        }

        Claim memory c = _claim(row, first, last, shown);
        if (c.start != 0) (data, part) = Reading.of_(prompt, v.prefixed, v.missing, c.start);
        bool exists = part.end != part.start;
        if (shown.fault == Fault.Spelling && !exists) return true;
        if (!exists || part.ofIds != (shown.fault == Fault.Id)) revert NoProof(shown.fault);
        if (shown.fault == Fault.Id) return _isWrongId(v, data, part, c);
        if (shown.fault == Fault.Spelling) return _isWrongSpelling(v, data, part, c, shown);
        if (shown.fault == Fault.Status) return _isWrongStatus(v, row, part, c, shown);
        if (shown.fault == Fault.Flag) {
            return v.kind == SENTENCEPIECE ? c.begins : c.start == part.start && !c.begins;
        }
        if (shown.fault == Fault.Byte) return _isWrongByte(v, data, part, c, shown);
        if (shown.fault == Fault.Pair) return _isWrongPair(v, row, part, c, shown);
        if (v.kind == SENTENCEPIECE || !c.begins) revert NoProof(shown.fault);
        uint256 piece = Cutter.pieceEnd(data, c.start, part.end, v.cutter, classes);
        if (shown.fault == Fault.Cut) return _isWrongCut(row, part, c, piece, shown);
        return _isWrongWhole(v, data, c, piece, shown);
    }

    function _isWrongId(Vocabulary memory v, bytes memory data, Reading.Part memory part, Claim memory c)
        private
        pure
        returns (bool)
    {
        uint256 end = c.start + Prompts.ID_BYTES;
        if (end > part.end || c.end != end || c.begins) return true;
        uint256 named;
        uint256 start = c.start;
        assembly ("memory-safe") {
            named := shr(232, mload(add(add(data, 0x20), start)))
        }
        return c.id != (named < v.vocabulary ? named : v.replacement);
    }

    function _isWrongSpelling(
        Vocabulary memory v,
        bytes memory data,
        Reading.Part memory part,
        Claim memory c,
        Proof calldata shown
    ) private pure returns (bool) {
        if (c.id >= v.vocabulary || c.end <= c.start || c.end > part.end) return true;
        return !_spells(_shown(v, c.id, shown.entries[0]), data, c.start, c.end);
    }

    function _isWrongStatus(
        Vocabulary memory v,
        Row memory row,
        Reading.Part memory part,
        Claim memory c,
        Proof calldata shown
    ) private pure returns (bool) {
        uint256 status = _shown(v, c.id, shown.entries[0]).status;
        if (status != WHOLE) return status == NEVER;
        if (!c.begins) return true; // whatever follows, which a challenger may not have seen
        bool ends = c.end == part.end || c.next == c.last;
        if (!ends) (,, ends) = _token(row, c.next, shown.tokens[c.shown]);
        return !ends;
    }

    function _isWrongByte(
        Vocabulary memory v,
        bytes memory data,
        Reading.Part memory part,
        Claim memory c,
        Proof calldata shown
    ) private pure returns (bool) {
        Entry memory made = _shown(v, shown.other, shown.made);
        bool isBase = made.status == PLAIN && made.left == NO_TOKEN;
        if (_shown(v, c.id, shown.entries[0]).status != BYTE || !isBase) revert NoProof(shown.fault);
        uint256 from = c.start + 1 < part.start + made.length ? part.start : c.start + 1 - made.length;
        for (; from <= c.start && from + made.length <= part.end; ++from) {
            if (_spells(made, data, from, from + made.length)) return true;
        }
        return false;
    }

    /// @dev A merge across the border comes first, if it comes before what swallows its parts on either side; on a tie
    /// the leftmost does.
    function _isWrongPair(
        Vocabulary memory v,
        Row memory row,
        Reading.Part memory part,
        Claim memory c,
        Proof calldata shown
    ) private pure returns (bool) {
        if (c.next == c.last || c.end < part.start || c.end >= part.end) revert NoProof(shown.fault);
        (uint256 y,, bool begins) = _token(row, c.next, shown.tokens[c.shown]);
        if (begins) revert NoProof(shown.fault);
        uint256 x = c.id;
        uint256 least = type(uint256).max;
        for (uint256 k; k < shown.entries.length; ++k) {
            Entry memory swallows = _shown(v, x, shown.entries[k]);
            (x, least) = (swallows.right, swallows.rank);
        }
        uint256 most = type(uint256).max;
        for (uint256 k; k < shown.right.length; ++k) {
            Entry memory swallows = _shown(v, y, shown.right[k]);
            (y, most) = (swallows.left, swallows.rank);
        }
        Entry memory made = _shown(v, shown.other, shown.made);
        if (made.left == NO_TOKEN || made.left != x || made.right != y) revert NoProof(shown.fault);
        return made.rank < least && made.rank <= most;
    }

    function _isWrongCut(Row memory row, Reading.Part memory part, Claim memory c, uint256 piece, Proof calldata shown)
        private
        pure
        returns (bool)
    {
        (uint256 start, uint256 end, bool begins) = (c.start, c.end, c.begins);
        if (shown.other != shown.index) {
            if (shown.other < shown.index || shown.other >= c.last) revert NoProof(shown.fault);
            (, start,) = _token(row, shown.other - 1, shown.tokens[c.shown]);
            (, end, begins) = _token(row, shown.other, shown.tokens[c.shown + 1]);
        }
        if (start < part.start || start >= part.end) revert NoProof(shown.fault);
        bool within = shown.other != shown.index && begins && c.start < start && start < piece;
        return within || (start < piece && piece < end) || (start == piece && !begins);
    }

    function _isWrongWhole(Vocabulary memory v, bytes memory data, Claim memory c, uint256 piece, Proof calldata shown)
        private
        pure
        returns (bool)
    {
        Entry memory made = _shown(v, shown.other, shown.made);
        if (!v.wholeWords || (made.status != PLAIN && made.status != WHOLE)) revert NoProof(shown.fault);
        return c.id != shown.other && _spells(made, data, c.start, piece);
    }

    /* WHAT IS SHOWN */

    /// @dev The token at fault.
    function _claim(Row memory row, uint256 first, uint256 last, Proof calldata shown)
        private
        pure
        returns (Claim memory c)
    {
        uint256 index = shown.index;
        if (index < first || index >= last) revert NoProof(shown.fault);
        (c.next, c.last) = (index + 1, last);
        if (index != first) (, c.start,) = _token(row, index - 1, shown.tokens[c.shown++]);
        (c.id, c.end, c.begins) = _token(row, index, shown.tokens[c.shown++]);
    }

    function _token(Row memory row, uint256 index, Leaf calldata shown)
        private
        pure
        returns (uint256 id, uint256 end, bool begins)
    {
        (id, end) = _entryOf(row.root, row.promptCount + row.outputCount, index, shown.data, shown.proof);
        return (id, end & (BEGINS - 1), end & BEGINS != 0);
    }

    function _shown(Vocabulary memory v, uint256 id, Leaf calldata shown) private pure returns (Entry memory) {
        MerkleTree.check(v.vocabularyRoot, v.vocabulary, id, MerkleTree.hashLeaf(shown.data), shown.proof);
        uint256 numbers = uint80(bytes10(shown.data));
        bytes calldata spelled = shown.data[Commitments.ENTRY_NUMBERS:];
        return Entry({
            status: numbers >> 72,
            left: uint24(numbers >> 48),
            right: uint24(numbers >> 24),
            rank: uint24(numbers),
            spelled: keccak256(spelled),
            length: spelled.length
        });
    }

    function _spells(Entry memory entry, bytes memory data, uint256 start, uint256 end) private pure returns (bool) {
        if (entry.length != end - start) return false;
        bytes32 hash;
        assembly ("memory-safe") {
            hash := keccak256(add(add(data, 0x20), start), sub(end, start))
        }
        return hash == entry.spelled;
    }
}
