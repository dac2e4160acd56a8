// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Fixed} from "./Fixed.sol";

/// @title Sampling by Gumbel-max in integers: what a token's logit and its noise are worth together.
/// @dev The same rules in Python: `oracle/engines/sampling.py`.
library Sampling {
    /// @notice 1 / temperature with 16 fraction bits.
    function inverseTemperature(uint256 temperature) internal pure returns (int256) {
        return int256((2 ** 33 / temperature + 1) >> 1);
    }

    /// @notice The 32-bit draw of a token at an output position.
    function draw(bytes32 seed, uint256 position, uint256 token) internal pure returns (uint256) {
        uint256 word = uint256(keccak256(abi.encode(seed, position, token / 8)));
        return uint32(word >> (224 - 32 * (token % 8)));
    }

    /// @notice Gumbel noise with 24 fraction bits.
    /// @param table contract whose code holds two rows of 2049 entries, int32, big-endian.
    function noise(address table, uint256 drawn) internal view returns (int256) {
        uint256 odd = 2 * drawn + 1;
        uint256 side = odd >> 32;
        uint256 w = side == 0 ? odd : 2 ** 33 - odd;
        uint256 octave = Fixed.bitLength(w) - 1;
        uint256 rest = (w - (1 << octave)) << (32 - octave);
        uint256 index = side * 2049 + (octave << 6) + (rest >> 26);
        uint256 pair;
        assembly ("memory-safe") {
            extcodecopy(table, 0, shl(2, index), 8)
            pair := mload(0)
        }
        int256 here = int32(uint32(pair >> 224));
        int256 there = int32(uint32(pair >> 192));
        return here + (((there - here) * int256(rest & (2 ** 26 - 1))) >> 26);
    }

    /// @notice What a token is chosen by: the largest wins, the lowest id on a tie.
    function candidate(int256 logit, int256 inverse, int256 gumbel) internal pure returns (int256) {
        return logit * inverse + (gumbel << 8);
    }
}
