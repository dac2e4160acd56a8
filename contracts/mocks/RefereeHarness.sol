// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Fixed} from "../disputes/referee/Fixed.sol";
import {Operators} from "../disputes/referee/Operators.sol";
import {Powers} from "../disputes/referee/Powers.sol";
import {Quants} from "../disputes/referee/Quants.sol";
import {Sampling} from "../disputes/referee/Sampling.sol";

/// @title Makes the referee's libraries callable, many cases a call, for the tests that compare them with the reference.
contract RefereeHarness {
    /// @notice `inputs`: the operator's numbers, case after case.
    function elements(bytes32 operator, int256[] calldata inputs, address table)
        external
        view
        returns (int256[] memory y)
    {
        bytes memory powers = Powers.TABLE;
        uint256 arity = _arity(operator);
        y = new int256[](inputs.length / arity);
        for (uint256 i; i < y.length; ++i) {
            y[i] = _element(operator, inputs[arity * i:arity * (i + 1)], powers, table);
        }
    }

    function dots(uint256 kind, bytes[] calldata lanes, bytes[] calldata rows)
        external
        pure
        returns (int256[] memory y)
    {
        y = new int256[](rows.length);
        for (uint256 i; i < rows.length; ++i) {
            y[i] = Quants.dot(kind, lanes[i], rows[i]);
        }
    }

    function dot(uint256 kind, bytes calldata lanes, bytes calldata row) external pure returns (int256) {
        return Quants.dot(kind, lanes, row);
    }

    function product(bytes calldata x, bytes calldata y) external pure returns (int256) {
        return Quants.product(x, y);
    }

    /// @notice All of a row's weights, one by one.
    function weights(uint256 kind, bytes calldata row, uint256 columns) external pure returns (int256[] memory y) {
        if (row.length != Quants.rowBytes(kind, columns)) revert Quants.WrongLength(0, row.length);
        y = new int256[](columns);
        for (uint256 k; k < columns; ++k) {
            y[k] = Quants.weight(kind, row, k);
        }
    }

    function fixedPoints(uint256 kind, bytes calldata vector, uint256 count, uint256 bits)
        external
        pure
        returns (int256[] memory y)
    {
        y = new int256[](count);
        for (uint256 k; k < count; ++k) {
            y[k] = Quants.fixedPoint(kind, vector, k, bits);
        }
    }

    function mantissa(bytes calldata lanes, uint256 k) external pure returns (int256) {
        return Quants.mantissa(lanes, k);
    }

    function largest(bytes calldata row) external pure returns (int256) {
        return Operators.largest(row);
    }

    function total(bytes calldata row) external pure returns (int256) {
        return Operators.total(row);
    }

    function context(bytes calldata shares, bytes calldata values, int256 sum) external pure returns (int256) {
        return Operators.context(shares, values, sum);
    }

    function _arity(bytes32 operator) private pure returns (uint256) {
        if (operator == "shift" || operator == "divide" || operator == "mantissa") return 2;
        if (
            operator == "share" || operator == "gated" || operator == "gelu" || operator == "add" || operator == "embed"
        ) return 2;
        if (operator == "rowShift" || operator == "noise") return 1;
        if (operator == "inverseTemperature") return 1;
        if (operator == "power") return 2;
        if (operator == "draw" || operator == "candidate" || operator == "embedScaled") return 3;
        if (operator == "normalize") return 6;
        return 4; // meanRoot, score, rotate, linear
    }

    function _element(bytes32 operator, int256[] calldata x, bytes memory powers, address table)
        private
        view
        returns (int256)
    {
        if (operator == "shift") return Fixed.shift(x[0], x[1]);
        if (operator == "divide") return Fixed.divide(x[0], x[1]);
        if (operator == "mantissa") return Operators.mantissa(x[0], uint256(x[1]));
        if (operator == "share") return Operators.share(powers, x[0], x[1]);
        if (operator == "gated") return Operators.gated(x[0], x[1], false);
        if (operator == "gelu") return Operators.gated(x[0], x[1], true);
        if (operator == "add") return Operators.add(x[0], x[1]);
        if (operator == "embed") return Operators.embed(x[0], uint256(x[1]));
        if (operator == "embedScaled") return Operators.embedScaled(x[0], uint256(x[1]), uint256(x[2]));
        if (operator == "rowShift") return int256(Operators.rowShift(uint256(x[0])));
        if (operator == "noise") return Sampling.noise(table, uint256(x[0]));
        if (operator == "inverseTemperature") return Sampling.inverseTemperature(uint256(x[0]));
        if (operator == "power") return Powers.power(powers, uint256(x[0]), uint256(x[1]));
        if (operator == "draw") return int256(Sampling.draw(bytes32(uint256(x[0])), uint256(x[1]), uint256(x[2])));
        if (operator == "candidate") return Sampling.candidate(x[0], x[1], x[2]);
        if (operator == "meanRoot") {
            return int256(Operators.meanRoot(uint256(x[0]), uint256(x[1]), uint256(x[2]), uint256(x[3])));
        }
        if (operator == "score") return Operators.score(x[0], x[1], uint256(x[2]), uint256(x[3]));
        if (operator == "rotate") {
            (int256 a, int256 b) = Operators.rotate(x[0], x[1], x[2], x[3]);
            return a * 2 ** 64 + b;
        }
        if (operator == "linear") return Operators.linear(x[0], x[1], x[2], x[3]);
        if (operator == "normalize") {
            return Operators.normalize(x[0], uint256(x[1]), uint256(x[2]), x[3], uint256(x[4]), x[5]);
        }
        revert();
    }
}
