// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {SSTORE2} from "solady/utils/SSTORE2.sol";

import {IFamily} from "../../interfaces/IFamily.sol";
import {IModelRegistry} from "../../interfaces/IModelRegistry.sol";
import {IReferee} from "../../interfaces/IReferee.sol";
import {Graph} from "./Graph.sol";
import {Quants} from "./Quants.sol";

/// @title What a manifest commits to, as far as the referee needs it: numbers, kept as the code of a contract, its `pointer`.
/// @dev `oracle/disputes/commitments.py` makes them. A manifest that lies about its file harms only nodes that serve it, and
/// nodes check the manifest first.
library Commitments {
    /// @notice The tensors of a layer in the order of their leaves.
    enum Role {
        AttnNorm,
        AttnQ,
        AttnK,
        AttnV,
        AttnQBias,
        AttnKBias,
        AttnVBias,
        AttnQNorm,
        AttnKNorm,
        AttnOutput,
        FfnNorm,
        FfnGate,
        FfnUp,
        FfnDown,
        AttnPostNorm,
        FfnPostNorm
    }

    /// @notice How a vocabulary reads text (docs/text.md). @param kind 0: not at all, prompts are ids; 1: bytes;
    /// 2: SentencePiece. @param cutter of `Cutter`; 0 for SentencePiece. @param wholeWords whether a piece that is a token
    /// is that token. @param prefixed whether a space is put before a text. @param missing bit b: no token spells the
    /// byte b.
    struct Text {
        uint256 kind;
        uint256 cutter;
        bool wholeWords;
        bool prefixed;
        uint256 missing;
    }

    uint256 internal constant ROLES = 16;
    uint256 internal constant ABSENT = 255;
    uint256 internal constant VECTOR_LEAF = 256;
    /// @dev A vector's kind is its GGML type plus this times the bits that its weights have fewer than usual.
    uint256 internal constant VECTOR_TYPES = 16;
    /// @dev Longest passes and rows whose every operator fits a transaction; measured, keys `referee_most_` in gas.json.
    uint256 private constant MAX_POSITIONS = 16_384;
    uint256 private constant MAX_LAYERS = 1000;
    uint256 private constant MAX_COLUMNS = 65_536;
    uint256 private constant MAX_F16_COLUMNS = 16_384;
    /// @dev Levels that four openings go down.
    uint256 private constant MAX_LEVELS = 32;
    /// @dev Each id of a choice is compared with each of them.
    uint256 private constant MAX_STOPS = 32;
    uint256 private constant NUMBERS_BYTES = 26 * 32;
    uint256 private constant SHAPE_BYTES = 9 * 32;
    uint256 private constant TEXT_BYTES = 5 * 32;
    uint256 private constant KINDS = NUMBERS_BYTES + TEXT_BYTES;
    /// @dev Kinds of vocabularies and names of cutters that `TextReferee` knows.
    uint256 private constant MOST_KIND = 2;
    uint256 private constant MOST_CUTTER = 4;
    /// @notice Bytes of a vocabulary's entry before what the token spells.
    uint256 internal constant ENTRY_NUMBERS = 10;

    // Kinds start with those of the tensors outside layers.
    uint256 internal constant EMBEDDING = 0;
    uint256 internal constant OUTPUT_NORM = 1;
    uint256 internal constant OUTPUT = 2;
    uint256 private constant LAYERS = 3;

    /// @notice Keeps a manifest's numbers.
    function write(IModelRegistry.Manifest calldata manifest) internal returns (address pointer) {
        (IFamily.Numbers memory n, Text memory t, bytes memory kinds) = _decode(manifest);
        return SSTORE2.write(
            bytes.concat(
                abi.encode(n),
                abi.encode(t),
                kinds,
                _packed(manifest.prefixTokens, n.shape.vocabulary),
                _packed(manifest.suffixTokens, n.shape.vocabulary),
                _packed(manifest.stopTokens, n.shape.vocabulary)
            )
        );
    }

    function numbers(address pointer) internal view returns (IFamily.Numbers memory) {
        return abi.decode(SSTORE2.read(pointer, 0, NUMBERS_BYTES), (IFamily.Numbers));
    }

    /// @notice The first of them, for layouts alone.
    function shape(address pointer) internal view returns (IFamily.Shape memory) {
        return abi.decode(SSTORE2.read(pointer, 0, SHAPE_BYTES), (IFamily.Shape));
    }

    /// @notice How the model's vocabulary reads text.
    function text(address pointer) internal view returns (Text memory) {
        return abi.decode(SSTORE2.read(pointer, NUMBERS_BYTES, KINDS), (Text));
    }

    /// @notice The GGML type of a tensor outside layers.
    function kind(address pointer, uint256 which) internal view returns (uint256) {
        return uint8(SSTORE2.read(pointer, KINDS + which, KINDS + which + 1)[0]);
    }

    /// @notice The GGML type of a layer's tensor, or ABSENT. layer: from 0.
    function kind(address pointer, uint256 layer, Role role) internal view returns (uint256) {
        return kind(pointer, LAYERS + ROLES * layer + uint256(role));
    }

    /// @notice Token `index` of prefix, suffix and stop tokens, one after the other.
    function wrapperToken(address pointer, IFamily.Numbers memory n, uint256 index) internal view returns (uint256) {
        uint256 start = KINDS + LAYERS + ROLES * n.shape.layers + 4 * index;
        return uint32(bytes4(SSTORE2.read(pointer, start, start + 4)));
    }

    function isStop(address pointer, IFamily.Numbers memory n, uint256 token) internal view returns (bool) {
        for (uint256 i; i < n.stopCount; ++i) {
            if (wrapperToken(pointer, n, n.prefixCount + n.suffixCount + i) == token) return true;
        }
        return false;
    }

    /// @notice All stop tokens, as the manifest orders them.
    function stopTokens(address pointer, IFamily.Numbers memory n) internal view returns (uint256[] memory stops) {
        stops = new uint256[](n.stopCount);
        for (uint256 i; i < n.stopCount; ++i) {
            stops[i] = wrapperToken(pointer, n, n.prefixCount + n.suffixCount + i);
        }
    }

    /// @notice Index among all weight leaves of the first one of a layer's tensor. layer: from 0.
    function firstLeaf(address pointer, IFamily.Numbers memory n, uint256 layer, Role role)
        internal
        view
        returns (uint256 first)
    {
        first = n.shape.vocabulary + layer * n.layerLeaves;
        for (uint256 before; before < uint256(role); ++before) {
            if (kind(pointer, 0, Role(before)) != ABSENT) first += _leaves(n.shape, Role(before));
        }
    }

    function _leaves(IFamily.Shape memory g, Role role) private pure returns (uint256) {
        uint256 queries = g.heads * g.headWidth;
        uint256 keys = g.kvHeads * g.headWidth;
        if (role == Role.AttnNorm || role == Role.FfnNorm || role > Role.FfnDown) return vectorLeaves(g.width);
        if (role == Role.AttnQ) return queries;
        if (role == Role.AttnK || role == Role.AttnV) return keys;
        if (role == Role.AttnQBias) return vectorLeaves(queries);
        if (role == Role.AttnKBias || role == Role.AttnVBias) return vectorLeaves(keys);
        if (role == Role.AttnQNorm || role == Role.AttnKNorm) return vectorLeaves(g.headWidth);
        if (role == Role.FfnGate || role == Role.FfnUp) return g.hidden;
        return g.width;
    }

    function vectorLeaves(uint256 length) internal pure returns (uint256) {
        return (length + VECTOR_LEAF - 1) / VECTOR_LEAF;
    }

    function _decode(IModelRegistry.Manifest calldata manifest)
        private
        pure
        returns (IFamily.Numbers memory n, Text memory t, bytes memory kinds)
    {
        uint256 family;
        (family, n, t, kinds) = _architecture(manifest.architecture);
        if (manifest.stopTokens.length > MAX_STOPS) {
            revert IReferee.TooManyStops(manifest.stopTokens.length, MAX_STOPS);
        }
        if (t.kind > MOST_KIND || t.cutter > MOST_CUTTER) revert IReferee.UnknownText(t.kind, t.cutter);
        IFamily.Shape memory g = n.shape;
        if (family > 3) revert IReferee.UnknownFamily(family);
        if (g.layers == 0 || g.layers > MAX_LAYERS) revert IReferee.LayersOutOfRange(g.layers, MAX_LAYERS);
        if (g.width == 0 || g.hidden == 0 || g.headWidth == 0 || g.vocabulary == 0) {
            revert IReferee.NoWidth(g.width, g.hidden, g.headWidth, g.vocabulary);
        }
        if (g.kvHeads == 0 || g.heads % g.kvHeads != 0 || g.heads == 0) {
            revert IReferee.HeadsUnequal(g.heads, g.kvHeads);
        }
        if (n.ropeWidth > g.headWidth || n.ropeWidth % 2 != 0) {
            revert IReferee.RopeOutOfRange(n.ropeWidth, g.headWidth);
        }
        // Without it, the norm of a row of zeros would divide by zero, and nobody could judge it.
        if (n.epsilon == 0 || n.headEpsilon == 0) revert IReferee.NoEpsilon(n.epsilon, n.headEpsilon);
        uint256 longest = n.context < MAX_POSITIONS ? n.context : MAX_POSITIONS;
        if (manifest.contextLength > longest) revert IReferee.ContextTooLong(manifest.contextLength, longest);
        g.headNorms = family > 1;
        g.isGemma = family == 3;
        // No other operator has more leaves.
        uint256 levels = Graph.depth(Graph.tensor(g, 1, Graph.SCORE, manifest.contextLength));
        if (levels > MAX_LEVELS) revert IReferee.ScoresTooDeep(levels, MAX_LEVELS);
        if (kinds.length != LAYERS + ROLES * g.layers) {
            revert IReferee.WrongKinds(LAYERS + ROLES * g.layers, kinds.length);
        }
        n.interleaved = family == 0;
        _checkRows(g, kinds);
        n.weightsRoot = manifest.weightsRoot;
        for (uint256 role; role < ROLES; ++role) {
            if (uint8(kinds[LAYERS + role]) != ABSENT) n.layerLeaves += _leaves(g, Role(role));
        }
        n.weightLeaves = g.vocabulary + g.layers * n.layerLeaves + vectorLeaves(g.width);
        if (uint8(kinds[OUTPUT]) != ABSENT) n.weightLeaves += g.vocabulary;
        n.contextLength = manifest.contextLength;
        n.prefixCount = manifest.prefixTokens.length;
        n.suffixCount = manifest.suffixTokens.length;
        n.stopCount = manifest.stopTokens.length;
        n.replacementToken = manifest.replacementToken;
        if (n.replacementToken >= g.vocabulary) revert IReferee.NoSuchToken(n.replacementToken, g.vocabulary);
    }

    /// @dev No operator of a model that can be asked about costs more than a transaction may.
    function _checkRows(IFamily.Shape memory g, bytes memory kinds) private pure {
        uint256 widest = g.heads * g.headWidth;
        if (g.width > widest) widest = g.width;
        if (g.hidden > widest) widest = g.hidden;
        uint256 most = MAX_COLUMNS;
        for (uint256 i; i < kinds.length; ++i) {
            if (_isMatrix(i) && _isFloats(uint8(kinds[i]))) most = MAX_F16_COLUMNS;
        }
        if (widest > most) revert IReferee.RowTooLong(widest, most);
    }

    /// @dev Whether tensor `i` of all kinds is a matrix.
    function _isMatrix(uint256 i) private pure returns (bool) {
        if (i < LAYERS) return i != OUTPUT_NORM;
        Role role = Role((i - LAYERS) % ROLES);
        return !(role == Role.AttnNorm || role == Role.FfnNorm || (role >= Role.AttnQBias && role <= Role.AttnKNorm)
                || role > Role.FfnDown);
    }

    /// @dev Whether a matrix's numbers are read one by one.
    function _isFloats(uint256 kind_) private pure returns (bool) {
        return kind_ == Quants.F16 || (kind_ >= Quants.BF16_MATRIX && kind_ != ABSENT);
    }

    /// @dev `oracle/disputes/commitments.NUMBERS`.
    function _architecture(bytes calldata encoded)
        private
        pure
        returns (uint256 family, IFamily.Numbers memory n, Text memory t, bytes memory kinds)
    {
        uint256[12] memory a;
        (a, n.epsilon, n.headEpsilon, n.rotationsRoot, n.vocabularyRoot, t, kinds) =
            abi.decode(encoded, (uint256[12], uint256, uint256, bytes32, bytes32, Text, bytes));
        family = a[0];
        n.shape = IFamily.Shape(false, false, a[1], a[2], a[3], a[4], a[5], a[6], a[9]);
        n.ropeWidth = a[7];
        n.context = a[8];
        n.window = a[10];
        n.period = a[11];
    }

    function _packed(uint32[] calldata tokens, uint256 vocabulary) private pure returns (bytes memory packed) {
        packed = new bytes(4 * tokens.length);
        for (uint256 i; i < tokens.length; ++i) {
            uint256 token = tokens[i];
            if (token >= vocabulary) revert IReferee.NoSuchToken(token, vocabulary);
            assembly ("memory-safe") {
                let at := add(add(packed, 0x20), shl(2, i))
                mstore8(at, shr(24, token))
                mstore8(add(at, 1), shr(16, token))
                mstore8(add(at, 2), shr(8, token))
                mstore8(add(at, 3), token)
            }
        }
    }
}
