// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title The fixed-point formats of docs/numerics.md, "Words and notation": fraction bits, and largest magnitudes.
library Constants {
    /// @dev Fraction bits: of residual stream, scores and logits.
    uint256 internal constant RESIDUAL_BITS = 16;
    /// @dev Of normalised rows.
    uint256 internal constant NORMED_BITS = 20;
    /// @dev Of queries, keys, values, context, gate and up.
    uint256 internal constant INNER_BITS = 18;
    /// @dev Of SiLU(gate) * up.
    uint256 internal constant ACT_BITS = 24;
    /// @dev Of x / rms.
    uint256 internal constant UNIT_BITS = 24;
    /// @dev Of norm weights, at most.
    uint256 internal constant SCALE_BITS = 24;

    int256 internal constant LARGEST_MANTISSA = 2 ** 15 - 1;
    int256 internal constant INT32 = 2 ** 31 - 1;
    /// @dev Of the residual stream, of what is added to it, and of its rows where they are normalised.
    int256 internal constant LARGEST_RESIDUAL = 2 ** 47 - 1;
    /// @dev Of an attention value.
    int256 internal constant LARGEST_VALUE = 2 ** 25 - 1;
    /// @dev Of SiLU(gate) * up.
    int256 internal constant LARGEST_ACT = 2 ** 47 - 1;

    /// @dev log2(e) with 24 fraction bits, to nearest.
    int256 internal constant LOG2_E = 24_204_406;
    /// @dev 2 sqrt(2 / pi) log2(e), and 0.044715 times that, with 24 fraction bits, to nearest.
    int256 internal constant GELU_LINEAR = 38_624_644;
    int256 internal constant GELU_CUBIC = 1_727_101;
    /// @dev 8: from there on GELU(g) is g, or 0.
    int256 internal constant LARGEST_GELU = 2 ** 21;
}
