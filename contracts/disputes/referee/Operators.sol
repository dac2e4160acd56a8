// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";

import {Constants} from "./Constants.sol";
import {Fixed} from "./Fixed.sol";
import {Powers} from "./Powers.sol";
import {Quants} from "./Quants.sol";

/// @title One output element of every operator of the exact engine, as docs/numerics.md defines them.
/// @notice Each function is one formula of few inputs, or one reduction over one row. Inputs are integers in the page's
/// formats; this library does not check that they are the right ones.
library Operators {
    using Fixed for int256;

    /// @notice Thrown when a sum, a largest or a mean is asked of no numbers.
    /// @dev No model that the referee enrolls has such a row; check what is shown.
    error EmptyRow();

    /* LINEAR */

    /// @notice y = sat(R(sum, down) + bias).
    /// @param down fraction bits of the weights and of the row, less the row's shift and the bits of y.
    function linear(int256 sum, int256 down, int256 bias, int256 most) internal pure returns (int256) {
        return (sum.shift(down) + bias).saturate(most);
    }

    /// @notice A number of the embedding's row as residual.
    function embed(int256 weight, uint256 weightBits) internal pure returns (int256) {
        return weight.shift(int256(weightBits) - int256(Constants.RESIDUAL_BITS));
    }

    /// @notice The same times sqrt(width).
    function embedScaled(int256 weight, uint256 weightBits, uint256 width) internal pure returns (int256) {
        int256 scale = int256((FixedPointMathLib.sqrt(width << 50) + 1) >> 1);
        return (weight.shift(int256(weightBits) - 24) * scale).shift(32);
    }

    /// @notice s of a row whose largest magnitude is `most`.
    function rowShift(uint256 most) internal pure returns (uint256) {
        uint256 length = Fixed.bitLength(most);
        return length > 15 ? length - 15 : 0;
    }

    function mantissa(int256 x, uint256 s) internal pure returns (int256) {
        return x.shift(int256(s)).saturate(Constants.LARGEST_MANTISSA);
    }

    /* NORM */

    /// @notice Root mean square with 16 fraction bits, in units of 2^s.
    function meanRoot(uint256 squareSum, uint256 s, uint256 width, uint256 epsilon) internal pure returns (uint256) {
        return FixedPointMathLib.sqrt(((squareSum << 18) / width + (epsilon >> (2 * s))) << 14);
    }

    /// @param down 24 and the fraction bits of the norm's weights, less those of the result.
    function normalize(int256 x, uint256 root, uint256 s, int256 weight, uint256 down, int256 most)
        internal
        pure
        returns (int256)
    {
        uint256 b = Fixed.bitLength(root);
        int256 inverse = int256((1 << (30 + b)) / root);
        // What no longer fits 32 bits is rounded to them first.
        uint256 spare = s > 16 ? s - 16 : 0;
        int256 unit = (x.shift(int256(spare)) * inverse).shift(int256(b + s - spare) - 10);
        return (unit * weight).shift(int256(down)).saturate(most);
    }

    /* ATTENTION */

    /// @notice Both numbers of a rotated pair.
    function rotate(int256 a, int256 b, int256 cosine, int256 sine) internal pure returns (int256, int256) {
        return (
            (a * cosine - b * sine).shift(24).saturate(Constants.INT32),
            (a * sine + b * cosine).shift(24).saturate(Constants.INT32)
        );
    }

    function limitValue(int256 v) internal pure returns (int256) {
        return v.saturate(Constants.LARGEST_VALUE);
    }

    /// @param scale 1 / sqrt(head width), 24 fraction bits.
    function score(int256 dot, int256 scale, uint256 queryShift, uint256 keyShift) internal pure returns (int256) {
        return (dot * scale).shift(44 - int256(queryShift) - int256(keyShift)).saturate(Constants.INT32);
    }

    /// @notice Largest of a row of int32, big-endian.
    function largest(bytes calldata row) internal pure returns (int256 most) {
        _checkRow(row);
        most = type(int256).min;
        assembly ("memory-safe") {
            for { let at := 0 } lt(at, row.length) { at := add(at, 4) } {
                let z := sar(224, calldataload(add(row.offset, at)))
                if sgt(z, most) { most := z }
            }
        }
    }

    /// @notice exp(z - most) with 22 fraction bits. most: at least z.
    function share(bytes memory table, int256 z, int256 most) internal pure returns (int256) {
        return Powers.power(table, uint256(((most - z) * Constants.LOG2_E).shift(24)), 22);
    }

    /// @notice Sum of a row of int32, big-endian: what softmax divides by.
    function total(bytes calldata row) internal pure returns (int256 sum) {
        _checkRow(row);
        assembly ("memory-safe") {
            for { let at := 0 } lt(at, row.length) { at := add(at, 4) } {
                sum := add(sum, sar(224, calldataload(add(row.offset, at))))
            }
        }
    }

    function _checkRow(bytes calldata row) private pure {
        if (row.length == 0) revert EmptyRow();
        if (row.length % 4 != 0) revert Quants.WrongLength(row.length / 4 * 4, row.length);
    }

    /// @notice Mean of a row of values weighted by a row of shares; both int32, big-endian.
    function context(bytes calldata shares, bytes calldata values, int256 sumOfShares) internal pure returns (int256) {
        _checkRow(shares);
        if (shares.length != values.length) revert Quants.WrongLength(shares.length, values.length);
        int256 sum;
        assembly ("memory-safe") {
            for { let at := 0 } lt(at, shares.length) { at := add(at, 4) } {
                let e := sar(224, calldataload(add(shares.offset, at)))
                let v := sar(224, calldataload(add(values.offset, at)))
                sum := add(sum, mul(e, v))
            }
        }
        return sum.divide(sumOfShares);
    }

    /* FEED FORWARD */

    /// @notice SiLU(gate) * up, or GELU(gate) * up, with 24 fraction bits.
    function gated(int256 gate, int256 up, bool isGelu) internal pure returns (int256) {
        bytes memory table = Powers.TABLE;
        int256 t = gate < 0 ? -gate : gate;
        if (isGelu) {
            if (t > Constants.LARGEST_GELU) t = Constants.LARGEST_GELU;
            int256 cube = ((t * t).shift(18) * t).shift(18);
            t = t * Constants.GELU_LINEAR + cube * Constants.GELU_CUBIC;
        } else {
            t *= Constants.LOG2_E;
        }
        int256 e = Powers.power(table, uint256(t.shift(26)), 30);
        int256 sigma = ((gate >= 0 ? int256(2 ** 30) : e) << 24).divide(2 ** 30 + e);
        return ((gate * sigma).shift(24) * up).shift(12).saturate(Constants.LARGEST_ACT);
    }

    function add(int256 x, int256 y) internal pure returns (int256) {
        return (x + y).saturate(Constants.LARGEST_RESIDUAL);
    }
}
