// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IReferee} from "./IReferee.sol";

/// @title One family of operators. The size limit of contracts splits the referee into families.
/// @notice Between the referee's own contracts.
interface IFamily {
    /// @notice A model's numbers from which the layout of its passes follows (`Graph`).
    /// @param headNorms whether queries and keys are normalised head by head.
    /// @param isGemma whether embeddings are scaled, the outputs of both blocks normalised before they are added, and the
    /// gate GELU.
    struct Shape {
        bool headNorms;
        bool isGemma;
        uint256 layers;
        uint256 width;
        uint256 hidden;
        uint256 heads;
        uint256 kvHeads;
        uint256 headWidth;
        uint256 vocabulary;
    }

    /// @notice A model's numbers, from its manifest.
    /// @param context positions that there are cosines for. @param contextLength most tokens, as the manifest says.
    /// @param window positions that a local layer sees; 0: no layer is local. @param period the last of every so many
    /// layers is not local. @param layerLeaves leaves of one layer's weights. @param prefixCount of the prompt's wrapper; so `suffixCount`.
    /// @param replacementToken stands in a prompt for ids beyond the vocabulary.
    struct Numbers {
        Shape shape;
        bool interleaved;
        uint256 ropeWidth;
        uint256 context;
        uint256 window;
        uint256 period;
        uint256 contextLength;
        uint256 epsilon;
        uint256 headEpsilon;
        bytes32 rotationsRoot;
        bytes32 vocabularyRoot;
        bytes32 weightsRoot;
        uint256 layerLeaves;
        uint256 weightLeaves;
        uint256 prefixCount;
        uint256 suffixCount;
        uint256 stopCount;
        uint256 replacementToken;
    }

    /// @notice An element and all that its inputs are bound to.
    /// @param pointer whose code holds the model's numbers `n`. @param name of the operator: `Graph.named`.
    struct Question {
        address pointer;
        Numbers n;
        IReferee.Roots roots;
        uint256 positions;
        uint256 step;
        uint256 name;
        uint256 row;
        uint256 column;
    }

    /// @notice Computes one element of the operator `question.name` from its inputs.
    /// @dev Reverts unless every input hashes to a root of the question. Trusts the question.
    function compute(Question calldata question, IReferee.Input[] calldata inputs) external view returns (int256);
}
