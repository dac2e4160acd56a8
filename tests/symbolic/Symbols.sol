// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Where Halmos makes symbols.
/// @dev A symbol of as many bits as its type has needs no check that it fits. Those that Halmos makes of a check's arguments
/// have 256 bits, and each call that takes one in checks it anew.
interface ISymbols {
    function createUint(uint256 bits, string memory name) external pure returns (uint256);
}

ISymbols constant SYMBOLS = ISymbols(address(uint160(uint256(keccak256("svm cheat code")))));
