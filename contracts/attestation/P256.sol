// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title ECDSA over P-256 by the precompile of EIP-7951.
/// @notice High s passes: Intel's signers use it, and no signature is an identifier here.
library P256 {
    address private constant PRECOMPILE = address(0x100);

    /// @notice Whether (r, s) signs `digest` under the key (x, y). False where the precompile is missing.
    function verify(bytes32 digest, bytes32 r, bytes32 s, bytes32 x, bytes32 y) internal view returns (bool) {
        // A call to an address without code succeeds with empty output, as does the precompile on a bad signature.
        (bool called, bytes memory output) = PRECOMPILE.staticcall(abi.encode(digest, r, s, x, y));
        return called && output.length == 32 && bytes32(output) == bytes32(uint256(1));
    }

    /// @notice Whether this chain checks signatures: a good one passes (FIPS 186-4 example for P-256 with SHA-256,
    /// RFC 6979 A.2.5, message "sample"), and a bad one does not.
    function works() internal view returns (bool) {
        bytes32 digest = sha256("sample");
        bytes32 r = 0xefd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716;
        bytes32 s = 0xf7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8;
        bytes32 x = 0x60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6;
        bytes32 y = 0x7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299;
        return verify(digest, r, s, x, y) && !verify(sha256("other"), r, s, x, y);
    }
}
