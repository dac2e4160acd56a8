// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {BlockHeader} from "@openzeppelin/contracts/utils/BlockHeader.sol";

import {IDisputeGame} from "../../interfaces/IDisputeGame.sol";
import {ModelId} from "../../interfaces/Ids.sol";
import {IFamily} from "../../interfaces/IFamily.sol";
import {IOracle} from "../../interfaces/IOracle.sol";
import {IReferee} from "../../interfaces/IReferee.sol";
import {ITokenReferee} from "../../interfaces/ITokenReferee.sol";
import {MerkleTree} from "../../libraries/MerkleTree.sol";
import {Prompts} from "../../libraries/Prompts.sol";
import {RequestLib} from "../../libraries/RequestLib.sol";
import {Paths} from "../Paths.sol";
import {AnswerTypes} from "./AnswerTypes.sol";
import {Commitments} from "./Commitments.sol";
import {Graph} from "./Graph.sol";
import {Logits} from "./Logits.sol";
import {Reading} from "./Reading.sol";
import {Sampling} from "./Sampling.sol";

/// @title TokenReferee
contract TokenReferee is ITokenReferee, Logits {
    using RequestLib for IOracle.Request;
    using RequestLib for IOracle.Answer;

    /// @notice An output that spells so many bytes ends there: every answer can be posted, also sealed, as no token that
    /// nodes serve spells more than 1 KiB.
    uint256 public constant FULL_OUTPUT_BYTES = 70 * 1024;

    /// @dev keccak256 of the table's code: `oracle/engines/sampling.table()`, int32, big-endian.
    bytes32 public constant NOISE_TABLE_HASH = 0x96a9cca52b5f68e979aa0c2e8fac0d1ab2e55a0068a3afbfd52b36c219fd57f4;

    address public immutable noiseTable;

    constructor(IReferee referee_, address noiseTable_) Logits(referee_) {
        if (noiseTable_.codehash != NOISE_TABLE_HASH) revert WrongNoiseTable(noiseTable_, noiseTable_.codehash);
        noiseTable = noiseTable_;
    }

    /* PROOFS */

    /// @inheritdoc ITokenReferee
    function proveChoice(
        IDisputeGame game,
        IDisputeGame.GameId gameId,
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IReferee.Tokens calldata tokens,
        bytes calldata prompt,
        uint256 better,
        IReferee.Input[] calldata inputs
    ) external {
        (ModelId model, uint256 positions, bytes32 operators_) = _opened(game, gameId, req);
        if (!isWrongChoice(req, ans, model, tokens, positions, operators_, prompt, better, inputs)) {
            revert IReferee.NothingWrong();
        }
        game.won(gameId, req, ans);
    }

    /* RULINGS */

    /// @inheritdoc ITokenReferee
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
    ) public view returns (bool) {
        _checkUntyped(req, prompt);
        IFamily.Question memory q = _end(model, positions, operators_);
        bool sampled = req.temperature() != 0;
        bool limited = sampled && req.cutoff() != 0;
        _expectInputs(inputs, sampled ? limited ? 5 : 4 : 3);
        _checkTokens(ans, tokens);
        (uint256 chosen,) = _entry(tokens, tokens.promptCount + ans.tokenCount(), positions, inputs[0]);
        if (chosen >= q.n.shape.vocabulary) return true;

        int256 worth = _at(q, Graph.LOGITS, 0, chosen, inputs[1]);
        int256 other = _at(q, Graph.LOGITS, 0, better, inputs[2]);
        if (limited) {
            int256 least = _at(q, Graph.LOGITS_MAX, 0, 0, inputs[4]) - int256(req.cutoff());
            if (worth < least) return true;
            if (other < least) return false;
        }
        if (sampled) {
            bytes32 seed = _seed(req, ans, inputs[3].data);
            int256 inverse = Sampling.inverseTemperature(req.temperature());
            uint256 position = positions - tokens.promptCount;
            worth = Sampling.candidate(worth, inverse, _noise(seed, position, chosen));
            other = Sampling.candidate(other, inverse, _noise(seed, position, better));
        }
        return other > worth || (other == worth && better < chosen);
    }

    /// @inheritdoc ITokenReferee
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
    ) external view returns (bool) {
        address pointer = referee.pointerOf(model);
        IFamily.Numbers memory n = Commitments.numbers(pointer);
        _checkTokens(ans, tokens);
        if (fault == Fault.Prompt) {
            return _isWrongPrompt(req, pointer, n, tokens, ans.tokenCount(), index, prompt, inputs);
        }
        if (fault == Fault.Padding) return _isWrongPadding(tokens, ans.tokenCount(), index, inputs);
        // A pattern's tokens spell its output as an untyped answer's do.
        if (fault == Fault.Text && AnswerTypes.isPattern(prompt)) _checkText(req.promptHash, prompt);
        else _checkUntyped(req, prompt);
        if (fault == Fault.End) return _isWrongEnd(req, ans, pointer, n, tokens, index, output, inputs);
        return _isWrongText(ans, pointer, n, tokens, index, output, inputs);
    }

    function _checkUntyped(IOracle.Request calldata req, bytes calldata prompt) private pure {
        _checkText(req.promptHash, prompt);
        if (Prompts.isTyped(prompt)) revert Typed();
    }

    /// @dev Nothing reads it. But a watcher's own tree would differ from the answer's, and it must not lose by that.
    function _isWrongPadding(
        IReferee.Tokens calldata tokens,
        uint256 tokenCount,
        uint256 index,
        IReferee.Input[] calldata inputs
    ) private pure returns (bool) {
        uint256 count = tokens.promptCount + tokenCount;
        if (index < count) revert IReferee.NoSuchElement(index, count);
        _expectInputs(inputs, 1);
        (uint256 token, uint256 end) = _entry(tokens, ENTRIES << _levels(count), index, inputs[0]);
        return token != 0 || end != 0;
    }

    /// @dev Where the vocabulary reads no text, a prompt is its kind and three bytes a token, big-endian, between the
    /// wrapper's tokens. Else `TextReferee` judges what stands between them, and here the wrapper alone.
    function _isWrongPrompt(
        IOracle.Request calldata req,
        address pointer,
        IFamily.Numbers memory n,
        IReferee.Tokens calldata tokens,
        uint256 tokenCount,
        uint256 index,
        bytes calldata prompt,
        IReferee.Input[] calldata inputs
    ) private view returns (bool) {
        _checkText(req.promptHash, prompt);
        bool takesText = Commitments.text(pointer).kind != 0;
        bytes calldata ids = Prompts.proper(prompt);
        ids = ids.length == 0 || takesText ? ids[:0] : ids[Prompts.KIND_BYTES:];
        uint256 count = n.prefixCount + ids.length / Prompts.ID_BYTES + n.suffixCount;
        if (takesText) {
            // Between prefix and suffix stand as many as the answer says.
            if (tokens.promptCount < count) return true;
            if (count != 0 && index >= n.prefixCount && index + n.suffixCount < tokens.promptCount) {
                revert IReferee.NoSuchElement(index, count);
            }
            if (count == 0 && !Reading.isEmpty(prompt)) revert IReferee.NoSuchElement(index, count);
        } else {
            if (count == 0) count = 1; // the replacement token alone
            if (tokens.promptCount != count) return true;
        }
        if (index >= tokens.promptCount) revert IReferee.NoSuchElement(index, tokens.promptCount);
        _expectInputs(inputs, 1);
        (uint256 token, uint256 end) = _entry(tokens, tokens.promptCount + tokenCount, index, inputs[0]);
        uint256 fromEnd = tokens.promptCount - index;
        if (index < n.prefixCount) return token != Commitments.wrapperToken(pointer, n, index) || end != 0;
        if (fromEnd <= n.suffixCount) {
            uint256 place = n.prefixCount + n.suffixCount - fromEnd;
            return token != Commitments.wrapperToken(pointer, n, place) || end != 0;
        }
        return token != _named(n, ids, index - n.prefixCount) || end != 0;
    }

    /// @dev Token `index` of a prompt of ids, whatever its bytes; the replacement token where there is none.
    function _named(IFamily.Numbers memory n, bytes calldata ids, uint256 index) private pure returns (uint256 token) {
        uint256 start = index * Prompts.ID_BYTES;
        if (start + Prompts.ID_BYTES > ids.length) return n.replacementToken;
        token = uint24(bytes3(ids[start:start + Prompts.ID_BYTES]));
        return token < n.shape.vocabulary ? token : n.replacementToken;
    }

    /// @dev An output ends with its first stop token, or where it is full, or holds as many tokens as it may.
    function _isWrongEnd(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        address pointer,
        IFamily.Numbers memory n,
        IReferee.Tokens calldata tokens,
        uint256 index,
        bytes calldata output,
        IReferee.Input[] calldata inputs
    ) private view returns (bool) {
        uint256 count = tokens.promptCount + ans.tokenCount();
        if (count > n.contextLength) return true;
        if (index < tokens.promptCount) revert IReferee.NoSuchElement(index, count);
        _expectInputs(inputs, 1);
        (uint256 token, uint256 end) = _entry(tokens, count, index, inputs[0]);
        bool ends = Commitments.isStop(pointer, n, token) || end >= FULL_OUTPUT_BYTES;
        if (index != count - 1) return ends;
        if (!ends && ans.tokenCount() < req.maxTokens() && count < n.contextLength) return true;
        _checkText(ans.outputHash, output);
        return end != output.length;
    }

    function _isWrongText(
        IOracle.Answer calldata ans,
        address pointer,
        IFamily.Numbers memory n,
        IReferee.Tokens calldata tokens,
        uint256 index,
        bytes calldata output,
        IReferee.Input[] calldata inputs
    ) private view returns (bool) {
        _checkText(ans.outputHash, output);
        uint256 count = tokens.promptCount + ans.tokenCount();
        if (index < tokens.promptCount) revert IReferee.NoSuchElement(index, count);
        _expectInputs(inputs, 3);
        (uint256 token, uint256 end) = _entry(tokens, count, index, inputs[0]);
        uint256 start;
        if (index > tokens.promptCount) (, start) = _entry(tokens, count, index - 1, inputs[1]);
        if (token >= n.shape.vocabulary || end > output.length || start > end) return true;
        if (Commitments.isStop(pointer, n, token)) return end != start;
        bytes32 leaf = MerkleTree.hashLeaf(inputs[2].data);
        MerkleTree.check(n.vocabularyRoot, n.shape.vocabulary, token, leaf, inputs[2].proof);
        return keccak256(inputs[2].data[Commitments.ENTRY_NUMBERS:]) != keccak256(output[start:end]);
    }

    /* OPENINGS */

    /// @inheritdoc ITokenReferee
    function unfold(ModelId model, IOracle.Answer calldata ans, uint256 promptCount, bytes32[] calldata nodes)
        external
        view
        returns (bytes32 root, uint256 levels)
    {
        IFamily.Numbers memory n = Commitments.numbers(referee.pointerOf(model));
        uint256 least = n.prefixCount + n.suffixCount;
        uint256 most = n.contextLength < ans.tokenCount() ? 0 : n.contextLength - ans.tokenCount();
        if (promptCount < least || promptCount > most) revert PromptOutOfRange(promptCount, least, most);
        levels = _levels(promptCount + ans.tokenCount());
        uint256 count = 1 << (levels - Paths.tokensBelow(levels));
        if (nodes.length != count) revert IDisputeGame.WrongOpeningLength(count, nodes.length);
        root = MerkleTree.rootOf(nodes);
        bytes32 computed = keccak256(abi.encode(IReferee.Tokens(promptCount, root)));
        if (computed != ans.tokensRoot) revert IReferee.WrongTokens(ans.tokensRoot, computed);
    }

    /// @inheritdoc ITokenReferee
    function rootOf(bytes calldata entries) external pure returns (bytes32) {
        bytes32[] memory leaves = new bytes32[](entries.length / LEAF_BYTES);
        for (uint256 i; i < leaves.length; ++i) {
            leaves[i] = MerkleTree.hashLeaf(entries[i * LEAF_BYTES:(i + 1) * LEAF_BYTES]);
        }
        return MerkleTree.rootOf(leaves);
    }

    /// @dev Of the tree over so many tokens.
    function _levels(uint256 count) private pure returns (uint256) {
        return MerkleTree.depth((count + ENTRIES - 1) / ENTRIES);
    }

    /* SAMPLING */

    function _seed(IOracle.Request calldata req, IOracle.Answer calldata ans, bytes calldata header)
        private
        pure
        returns (bytes32)
    {
        if (keccak256(header) != ans.seedBlockHash) revert WrongHeader(ans.seedBlockHash, keccak256(header));
        return keccak256(abi.encode(req.id(), BlockHeader.getPrevRandao(header)));
    }

    function _noise(bytes32 seed, uint256 position, uint256 token) private view returns (int256) {
        return Sampling.noise(noiseTable, Sampling.draw(seed, position, token));
    }
}
