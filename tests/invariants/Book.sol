// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test} from "forge-std/Test.sol";

import {IModelRegistry} from "../../contracts/interfaces/IModelRegistry.sol";
import {MerkleTree} from "../../contracts/libraries/MerkleTree.sol";

/// @dev One tensor of a pass. data: of each leaf the same number of bytes; what is missing of `leafBytes` is zero.
struct Tensor {
    uint32 rows;
    uint8 rowDepth;
    uint32 rowLeaves;
    uint32 leafBytes;
    bytes32 root;
    bytes data;
}

/// @dev What the referee is shown of an input. list: where `root` is proven, see `Book`.
struct Read {
    bytes data;
    bytes32 root;
    uint8 list;
    uint32 index;
    bytes32[] proof;
}

/// @dev A number told wrong. values: the leaf with it.
struct Lie {
    uint32 step;
    uint32 operator;
    uint32 leaf;
    uint32 element;
    bytes values;
    Read[] reads;
}

struct PassPage {
    Tensor[][] steps;
    Lie[] lies;
}

struct QuestionPage {
    bytes prompt;
    uint32[] reading;
    uint32[] output;
    PassPage[] passes;
}

struct BookPages {
    IModelRegistry.Manifest manifest;
    bytes noiseTable;
    bytes classTable;
    bytes header;
    uint32 randaoAt;
    bytes[] entries;
    uint32 longestPrompt;
    uint32 logitsAt;
    uint32 largestAt;
    QuestionPage[] questions;
}

/// @title What an honest party knows of the village's model: `tests/disputes/make_village.py` writes it.
/// @notice Passes are kept as code of addresses of their own, which is read without storage.
abstract contract Book is Test {
    uint256 internal constant NO_LIST = 0;
    uint256 internal constant STEPS_LIST = 1;
    uint256 internal constant OPERATORS_LIST = 2;
    uint256 internal constant ENTRY = 3;

    /// @dev reading: the tokens that the prompt reads as. output: the longest right one, greedy.
    struct Question {
        bytes prompt;
        uint32[] reading;
        uint32[] output;
    }

    Question[] internal questions;
    /// @dev Of the vocabulary: ten bytes, and what the token spells.
    bytes[] internal vocabularyEntries;
    bytes internal header;
    uint256 internal randaoAt;
    uint256 internal longestPrompt;
    uint256 internal logitsAt;
    uint256 internal largestAt;
    uint256 internal steps;
    address internal noiseTable;
    address internal classTable;
    uint32[] internal stopTokens;
    address private _spelled;

    /// @dev By question and output position: each step's tensors, and lies.
    mapping(uint256 question => mapping(uint256 position => address[])) private _steps;
    mapping(uint256 question => mapping(uint256 position => address[])) private _lies;
    mapping(uint256 question => mapping(uint256 position => address)) private _roots;
    uint160 private _shelf = uint160(0xb00c) << 144;

    function _read() internal returns (IModelRegistry.Manifest memory) {
        BookPages memory b = abi.decode(vm.readFileBinary("tests/vectors/village.bin"), (BookPages));
        (noiseTable, classTable) = (_made(b.noiseTable), _made(b.classTable));
        (header, randaoAt) = (b.header, b.randaoAt);
        (longestPrompt, logitsAt, largestAt) = (b.longestPrompt, b.logitsAt, b.largestAt);
        stopTokens = b.manifest.stopTokens;
        bytes32[] memory spelled = new bytes32[](b.entries.length);
        for (uint256 i; i < b.entries.length; ++i) {
            vocabularyEntries.push(b.entries[i]);
            spelled[i] = keccak256(abi.encodePacked(bytes1(0), b.entries[i]));
        }
        _spelled = _keep(abi.encode(spelled));
        for (uint256 q; q < b.questions.length; ++q) {
            QuestionPage memory page = b.questions[q];
            questions.push(Question(page.prompt, page.reading, page.output));
            for (uint256 p; p < page.passes.length; ++p) {
                steps = page.passes[p].steps.length;
                bytes32[][] memory roots = new bytes32[][](steps);
                for (uint256 s; s < steps; ++s) {
                    roots[s] = new bytes32[](page.passes[p].steps[s].length);
                    for (uint256 i; i < roots[s].length; ++i) {
                        roots[s][i] = page.passes[p].steps[s][i].root;
                    }
                    _steps[q][p].push(_keep(abi.encode(page.passes[p].steps[s])));
                }
                _roots[q][p] = _keep(abi.encode(roots));
                for (uint256 i; i < page.passes[p].lies.length; ++i) {
                    _lies[q][p].push(_keep(abi.encode(page.passes[p].lies[i])));
                }
            }
        }
        return b.manifest;
    }

    function _made(bytes memory creation) private returns (address made) {
        assembly ("memory-safe") {
            made := create(0, add(creation, 0x20), mload(creation))
        }
    }

    /// @dev Code begins with a byte that stops, should anybody call it.
    function _keep(bytes memory data) private returns (address spot) {
        spot = address(++_shelf);
        vm.etch(spot, bytes.concat(bytes1(0), data));
    }

    function _kept(address spot) private view returns (bytes memory data) {
        data = new bytes(spot.code.length - 1);
        assembly ("memory-safe") {
            extcodecopy(spot, add(data, 0x20), 1, mload(data))
        }
    }

    /* THE MODEL */

    function _vocabulary() internal view returns (uint256) {
        return vocabularyEntries.length;
    }

    function _isStop(uint256 token) internal view returns (bool) {
        return token == stopTokens[0];
    }

    /// @dev What a token adds to an output.
    function _spelling(uint256 token) internal view returns (bytes memory piece) {
        if (token >= vocabularyEntries.length || _isStop(token)) return "";
        bytes memory entry = vocabularyEntries[token];
        piece = new bytes(entry.length - 10);
        assembly ("memory-safe") {
            mcopy(add(piece, 0x20), add(entry, 0x2a), mload(piece))
        }
    }

    function _spellingProof(uint256 token) internal view returns (bytes32[] memory) {
        return _proof(abi.decode(_kept(_spelled), (bytes32[])), token);
    }

    /* PASSES */

    function _passes(uint256 q) internal view returns (uint256) {
        return questions[q].output.length;
    }

    function _step(uint256 q, uint256 p, uint256 s) internal view returns (Tensor[] memory) {
        return abi.decode(_kept(_steps[q][p][s]), (Tensor[]));
    }

    /// @dev Of every operator, by step.
    function _rootsOf(uint256 q, uint256 p) internal view returns (bytes32[][] memory) {
        return abi.decode(_kept(_roots[q][p]), (bytes32[][]));
    }

    function _lieCount(uint256 q, uint256 p) internal view returns (uint256) {
        return _lies[q][p].length;
    }

    function _lie(uint256 q, uint256 p, uint256 i) internal view returns (Lie memory) {
        return abi.decode(_kept(_lies[q][p][i]), (Lie));
    }

    /* TENSORS */

    /// @dev Leaf `index` of the tree; 32 zero bytes where the layout has none.
    function _leaf(Tensor memory t, uint256 index) internal pure returns (bytes memory leaf) {
        uint256 row = index >> t.rowDepth;
        uint256 chunk = index & ((1 << t.rowDepth) - 1);
        if (row >= t.rows || chunk >= t.rowLeaves) return new bytes(32);
        uint256 kept = t.data.length / (uint256(t.rows) * t.rowLeaves);
        leaf = new bytes(t.leafBytes);
        bytes memory data = t.data;
        uint256 from = (row * t.rowLeaves + chunk) * kept;
        assembly ("memory-safe") {
            mcopy(add(leaf, 0x20), add(add(data, 0x20), from), kept)
        }
    }

    function _leaves(Tensor memory t) internal pure returns (bytes32[] memory nodes) {
        uint256 count = 1 << (t.rowDepth + MerkleTree.depth(t.rows));
        nodes = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            nodes[i] = _hash(_leaf(t, i));
        }
    }

    function _logit(Tensor memory t, uint256 token) internal pure returns (int256 value) {
        bytes memory data = t.data;
        assembly ("memory-safe") {
            value := sar(224, mload(add(add(data, 0x20), mul(4, token))))
        }
    }

    /* TREES */

    function _hash(bytes memory leaf) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0), leaf));
    }

    function _root(bytes32[] memory nodes) internal pure returns (bytes32) {
        bytes32[] memory copy = new bytes32[](nodes.length);
        for (uint256 i; i < nodes.length; ++i) {
            copy[i] = nodes[i];
        }
        return MerkleTree.rootOf(copy);
    }

    function _proof(bytes32[] memory nodes, uint256 index) internal pure returns (bytes32[] memory path) {
        uint256 width = nodes.length;
        bytes32[] memory row = new bytes32[](width);
        for (uint256 i; i < width; ++i) {
            row[i] = nodes[i];
        }
        bytes32 none = MerkleTree.empty(0);
        path = new bytes32[](MerkleTree.depth(width));
        for (uint256 level; level < path.length; ++level) {
            uint256 beside = index ^ 1;
            path[level] = beside < width ? row[beside] : none;
            for (uint256 k; k < width; k += 2) {
                row[k / 2] = MerkleTree.hashNode(row[k], k + 1 < width ? row[k + 1] : none);
            }
            none = MerkleTree.hashNode(none, none);
            width = (width + 1) / 2;
            index >>= 1;
        }
    }
}
