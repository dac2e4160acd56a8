// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Der} from "./Der.sol";

/// @title Certificates and revocation lists in the one profile that Intel issues.
/// @notice Intel's profile fixes algorithm, curve, key usage and basic constraints byte for byte, so this reads no other:
/// ECDSA P-256 with SHA-256; an authority may sign certificates and lists and has path length zero; any other may only
/// sign data. Names mean nothing here, only signatures do. Unknown critical extensions are refused.
library X509 {
    /// @dev SEQUENCE { ecdsa-with-SHA256 }
    bytes32 private constant ECDSA_SHA256 = hex"300a06082a8648ce3d040302";
    /// @dev SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING { uncompressed point } } up to the point.
    bytes32 private constant P256_KEY = hex"3059301306072a8648ce3d020106082a8648ce3d03010703420004";
    /// @dev [0] { INTEGER 2 }: version 3.
    bytes32 private constant VERSION_3 = hex"a003020102";
    bytes32 private constant KEY_USAGE = hex"551d0f";
    bytes32 private constant BASIC_CONSTRAINTS = hex"551d13";
    /// @dev 1.2.840.113741.1.13.1
    bytes32 private constant SGX = hex"2a864886f84d010d01";

    /// @notice Thrown when a certificate or list is not signed with ECDSA on P-256 and SHA-256.
    /// @dev Only Intel's own are; check what was posted.
    error UnsupportedAlgorithm(uint256 position);
    /// @notice Thrown when a certificate has a critical extension that is not understood.
    /// @dev Check that it is one of Intel's.
    error UnsupportedExtension(uint256 position);
    /// @notice Thrown when key usage and basic constraints are neither an authority's nor a data signer's.
    /// @dev Check that it is one of Intel's.
    error UnsupportedUsage();
    /// @notice Thrown when the extension that names a platform is not as Intel writes it.
    /// @dev Take the certificate from the quote, unchanged.
    error BadSgxExtension(uint256 position);

    /// @param digest what the signature (r, s) signs.
    /// @param sgxStart where the content of the SGX extension begins; 0 without one.
    struct Certificate {
        bytes32 digest;
        bytes32 r;
        bytes32 s;
        uint256 serial;
        uint40 notBefore;
        uint40 notAfter;
        bytes32 x;
        bytes32 y;
        bool isAuthority;
        uint256 sgxStart;
        uint256 sgxEnd;
    }

    /// @param entriesAt where the revoked certificates begin: each a SEQUENCE that starts with the serial.
    struct Crl {
        bytes32 digest;
        bytes32 r;
        bytes32 s;
        uint40 thisUpdate;
        uint40 nextUpdate;
        uint256 entriesAt;
        uint256 entriesEnd;
    }

    /// @notice The SGX extension of a platform certificate.
    struct Sgx {
        bytes16 ppid;
        uint128 cpuSvn;
        uint16 pceSvn;
        uint16 pceId;
        bytes6 fmspc;
    }

    function readCertificate(bytes calldata der) internal pure returns (Certificate memory c) {
        uint256 position;
        uint256 end;
        (position, end, c.digest, c.r, c.s) = _readSigned(der);

        if (!Der.has(der, position, 5, VERSION_3)) revert Der.BadDer(position);
        (c.serial, position) = Der.number(der, position + 5, end, 160);
        position = _expectAlgorithm(der, position);
        (, position) = Der.open(der, position, end, Der.SEQUENCE); // issuer's name
        (uint256 validityAt, uint256 validityEnd) = Der.open(der, position, end, Der.SEQUENCE);
        (c.notBefore, position) = Der.time(der, validityAt, validityEnd);
        (c.notAfter, position) = Der.time(der, position, validityEnd);
        if (position != validityEnd) revert Der.BadDer(position);
        (, position) = Der.open(der, position, end, Der.SEQUENCE); // subject's name

        if (!Der.has(der, position, 27, P256_KEY) || position + 91 > end) revert UnsupportedAlgorithm(position);
        (c.x, c.y) = (Der.word(der, position + 27), Der.word(der, position + 59));
        position += 91;

        (position, end) = _openLast(der, position, end, 0xa3);
        (position, end) = _openLast(der, position, end, Der.SEQUENCE);
        _readExtensions(der, position, end, c);
    }

    function readCrl(bytes calldata der) internal pure returns (Crl memory c) {
        uint256 position;
        uint256 end;
        (position, end, c.digest, c.r, c.s) = _readSigned(der);

        uint256 version;
        (version, position) = Der.number(der, position, end, 8);
        if (version != 1) revert Der.BadDer(position); // version 2
        position = _expectAlgorithm(der, position);
        (, position) = Der.open(der, position, end, Der.SEQUENCE); // issuer's name
        (c.thisUpdate, position) = Der.time(der, position, end);
        (c.nextUpdate, position) = Der.time(der, position, end);

        (uint256 tag, uint256 start, uint256 stop) = Der.read(der, position, end);
        if (tag == Der.SEQUENCE) {
            (c.entriesAt, c.entriesEnd) = (start, stop);
            position = stop;
        }
        (position, end) = _openLast(der, position, end, 0xa0);
        (position, end) = _openLast(der, position, end, Der.SEQUENCE);
        // A critical extension would make the list partial, or another issuer's.
        while (position < end) {
            uint256 extensionAt = position;
            (start, position) = Der.open(der, position, end, Der.SEQUENCE);
            (, start) = Der.open(der, start, position, Der.OID);
            if (der[start] != bytes1(uint8(Der.OCTET_STRING))) revert UnsupportedExtension(extensionAt);
        }
    }

    /// @notice Serial of the revoked certificate listed at `position`, and where the next begins.
    function readEntry(bytes calldata der, uint256 position, uint256 end)
        internal
        pure
        returns (uint256 serial, uint256 stop)
    {
        uint256 start;
        (start, stop) = Der.open(der, position, end, Der.SEQUENCE);
        (serial,) = Der.number(der, start, stop, 160);
    }

    /// @notice Fields .1 to .4 of the extension, which stand first and in this order.
    function readSgx(bytes calldata der, uint256 position, uint256 end) internal pure returns (Sgx memory sgx) {
        (position, end) = _openLast(der, position, end, Der.SEQUENCE);

        uint256 next;
        (position, next) = _openField(der, position, end, 10, 0x01);
        sgx.ppid = bytes16(_octets(der, position, next, 16));

        (position, next) = _openField(der, next, end, 10, 0x02);
        (uint256 componentAt, uint256 componentsEnd) = _openLast(der, position, next, Der.SEQUENCE);
        uint256 svn;
        for (uint256 i = 1; i < 18; i++) {
            (uint256 valueAt, uint256 stop) = _openField(der, componentAt, componentsEnd, 11, 0x0200 | i);
            (svn, valueAt) = Der.number(der, valueAt, stop, i < 17 ? 8 : 16);
            if (valueAt != stop) revert BadSgxExtension(valueAt);
            if (i < 17) sgx.cpuSvn = sgx.cpuSvn << 8 | uint128(svn);
            componentAt = stop;
        }
        sgx.pceSvn = uint16(svn);
        // Field 18, the raw CPUSVN, says nothing that the components do not.
        (, componentAt) = _openField(der, componentAt, componentsEnd, 11, 0x0212);
        if (componentAt != componentsEnd) revert BadSgxExtension(componentAt);

        (position, next) = _openField(der, next, end, 10, 0x03);
        sgx.pceId = uint16(bytes2(_octets(der, position, next, 2)));
        (position, next) = _openField(der, next, end, 10, 0x04);
        sgx.fmspc = bytes6(_octets(der, position, next, 6));
    }

    /// @dev SEQUENCE { to be signed, algorithm, signature } and nothing after. Returns the content of the first.
    function _readSigned(bytes calldata der)
        private
        pure
        returns (uint256 start, uint256 stop, bytes32 digest, bytes32 r, bytes32 s)
    {
        (uint256 position, uint256 end) = _openLast(der, 0, der.length, Der.SEQUENCE);
        (start, stop) = Der.open(der, position, end, Der.SEQUENCE);
        digest = sha256(der[position:stop]);

        (position, end) = _openLast(der, _expectAlgorithm(der, stop), end, Der.BIT_STRING);
        if (position == end || der[position] != 0) revert Der.BadDer(position); // unused bits
        (position, end) = _openLast(der, position + 1, end, Der.SEQUENCE);
        uint256 value;
        (value, position) = Der.number(der, position, end, 256);
        r = bytes32(value);
        (value, position) = Der.number(der, position, end, 256);
        s = bytes32(value);
        if (position != end) revert Der.BadDer(position);
    }

    function _readExtensions(bytes calldata der, uint256 position, uint256 end, Certificate memory c) private pure {
        bytes32 usage;
        bytes32 constraints;
        while (position < end) {
            (uint256 oidAt, uint256 stop) = Der.open(der, position, end, Der.SEQUENCE);
            (uint256 start, uint256 oidEnd) = Der.open(der, oidAt, stop, Der.OID);
            (uint256 tag, uint256 valueAt, uint256 valueEnd) = Der.read(der, oidEnd, stop);
            bool critical = tag == Der.BOOLEAN;
            if (critical) (tag, valueAt, valueEnd) = Der.read(der, valueEnd, stop);
            if (tag != Der.OCTET_STRING || valueEnd != stop) revert Der.BadDer(position);

            uint256 oidLength = oidEnd - start;
            if (oidLength == 3 && Der.has(der, start, 3, KEY_USAGE)) {
                usage = _short(der, valueAt, valueEnd);
            } else if (oidLength == 3 && Der.has(der, start, 3, BASIC_CONSTRAINTS)) {
                constraints = _short(der, valueAt, valueEnd);
            } else if (oidLength == 9 && Der.has(der, start, 9, SGX)) {
                (c.sgxStart, c.sgxEnd) = (valueAt, valueEnd);
            } else if (critical) {
                revert UnsupportedExtension(position);
            }
            position = stop;
        }
        // keyCertSign and cRLSign, CA with path length 0; or digitalSignature and nonRepudiation, not a CA.
        c.isAuthority = usage == hex"03020106" && constraints == hex"30060101ff020100";
        if (!c.isAuthority && (usage != hex"030206c0" || constraints != hex"3000")) revert UnsupportedUsage();
    }

    /// @dev SEQUENCE { OID 1.2.840.113741.1.13.1 . `suffix`, value }: where the value begins and the element ends.
    function _openField(bytes calldata der, uint256 position, uint256 end, uint256 oidLength, uint256 suffix)
        private
        pure
        returns (uint256 start, uint256 stop)
    {
        (start, stop) = Der.open(der, position, end, Der.SEQUENCE);
        (uint256 oidAt, uint256 oidEnd) = Der.open(der, start, stop, Der.OID);
        bytes32 oid = SGX | bytes32(suffix) << (256 - 8 * oidLength);
        if (oidEnd - oidAt != oidLength || !Der.has(der, oidAt, oidLength, oid)) revert BadSgxExtension(position);
        start = oidEnd;
    }

    /// @dev An OCTET STRING of `length` bytes that fills [at, end).
    function _octets(bytes calldata der, uint256 position, uint256 end, uint256 length) private pure returns (bytes32) {
        (uint256 start, uint256 stop) = _openLast(der, position, end, Der.OCTET_STRING);
        if (stop - start != length) revert BadSgxExtension(position);
        return Der.word(der, start);
    }

    /// @dev As `Der.open`, of an element that ends exactly at `end`.
    function _openLast(bytes calldata der, uint256 position, uint256 end, uint256 tag)
        private
        pure
        returns (uint256 start, uint256 stop)
    {
        (start, stop) = Der.open(der, position, end, tag);
        if (stop != end) revert Der.BadDer(stop);
    }

    function _expectAlgorithm(bytes calldata der, uint256 position) private pure returns (uint256) {
        if (!Der.has(der, position, 12, ECDSA_SHA256)) revert UnsupportedAlgorithm(position);
        return position + 12;
    }

    /// @dev Up to 32 bytes, zero padded; longer ones compare unequal to anything.
    function _short(bytes calldata der, uint256 start, uint256 stop) private pure returns (bytes32) {
        return stop - start > 31 ? bytes32(type(uint256).max) : bytes32(der[start:stop]);
    }
}
