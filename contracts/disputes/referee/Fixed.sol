// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {LibBit} from "solady/utils/LibBit.sol";

/// @title Rounding, division and saturation, as docs/numerics.md defines them.
library Fixed {
    /// @notice v / 2^s to nearest, halves upward; v * 2^-s where s is negative.
    function shift(int256 v, int256 s) internal pure returns (int256) {
        if (s > 0) return (v + int256(1 << (uint256(s) - 1))) >> uint256(s);
        return v << uint256(-s);
    }

    /// @notice v / d to nearest, halves away from zero. d > 0.
    function divide(int256 v, int256 d) internal pure returns (int256) {
        return v < 0 ? -((-v + d / 2) / d) : (v + d / 2) / d;
    }

    function saturate(int256 v, int256 largest) internal pure returns (int256) {
        return v > largest ? largest : v < -largest ? -largest : v;
    }

    /// @notice Bits of v: 0 for 0, k + 1 for 2^k to 2^(k+1) - 1.
    function bitLength(uint256 v) internal pure returns (uint256) {
        return v == 0 ? 0 : LibBit.fls(v) + 1;
    }
}
