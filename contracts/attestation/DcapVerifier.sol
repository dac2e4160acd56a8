// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IAttestationVerifier, OUT_OF_DATE, REVOKED} from "../interfaces/IAttestationVerifier.sol";
import {IDcapCollateral} from "../interfaces/IDcapCollateral.sol";
import {IDcapVerifier} from "../interfaces/IDcapVerifier.sol";
import {IRevocations} from "../interfaces/IRevocations.sol";
import {Der} from "./Der.sol";
import {P256} from "./P256.sol";
import {TcbLevels} from "./TcbLevels.sol";

/// @title Quotes of Intel DCAP: TDX in versions 4 and 5, SGX in version 3.
/// @notice Evidence is the quote without its lengths and certificates: header (48 bytes), in version 5 the body's type and
/// length (6), body (TDX 584, in version 5 648; SGX 384), signature of all that (64), attestation key (64), report of the
/// quoting enclave (384), its signature (64), length of its authentication data (2) and those, id of the platform's
/// certificate (32). That certificate, and all else, must stand in the collateral.
contract DcapVerifier is IDcapVerifier {
    uint256 private constant HEADER_BYTES = 48;
    uint256 private constant SGX_BODY_BYTES = 384;
    /// @dev Attestation key type 2 (ECDSA P-256) and TEE type, as they stand in the header after the version.
    bytes32 private constant SGX_HEADER = hex"020000000000";
    bytes32 private constant TDX_HEADER = hex"020081000000";
    /// @dev Body type 3 (TD report of TDX 1.5), 648 bytes.
    bytes32 private constant TDX15_BODY = hex"030088020000";
    bytes32 private constant INTEL_QE_VENDOR = hex"939a7233f79c4ca9940a0db3957f0607";
    /// @dev SEPT_VE_DISABLE and nothing else: no debugging, PKS, key locker or performance monitoring.
    bytes32 private constant TD_ATTRIBUTES = hex"0000001000000000";

    IDcapCollateral public immutable collateral;

    bytes32 private immutable SGX_KIND;
    bytes32 private immutable TDX_KIND;

    /// @dev Where the parts of evidence begin.
    struct Layout {
        IDcapCollateral.Tee tee;
        uint256 bodyAt;
        uint256 signatureAt;
        uint256 qeAt;
        uint256 authAt;
        uint256 credentialAt;
    }

    constructor(IDcapCollateral collateral_) {
        collateral = collateral_;
        bool isDev = collateral_.isDev();
        SGX_KIND = isDev ? bytes32("dev-sgx") : bytes32("dcap-sgx");
        TDX_KIND = isDev ? bytes32("dev-tdx") : bytes32("dcap-tdx");
    }

    /// @inheritdoc IAttestationVerifier
    function verify(bytes calldata evidence, uint16 evaluation) external view returns (Verified memory v) {
        Layout memory parts = _layout(evidence);
        bytes32 id = Der.word(evidence, parts.credentialAt);
        IDcapCollateral.Platform memory p = collateral.platform(parts.tee, id, evaluation);

        _checkSignatures(evidence, parts, p);
        TcbLevels.Level memory level = _checkQe(evidence, parts, p.qeIdentity);
        (uint128 launched, uint128 running) =
            parts.tee == IDcapCollateral.Tee.Tdx ? _checkTd(evidence, parts) : _checkEnclave(evidence, parts);
        level = TcbLevels.join(level, TcbLevels.judge(p.tcbInfo, p.cpuSvn, p.pceSvn, launched));
        if (running != launched) {
            level = TcbLevels.join(level, TcbLevels.judge(p.tcbInfo, p.cpuSvn, p.pceSvn, running));
        }
        if (level.status & REVOKED != 0) revert PlatformRevoked(level.status);
        (v.tcbStatus, v.advisories) = (level.status, level.advisories);
        if (level.status & OUT_OF_DATE != 0) v.behindSince = p.since;

        (v.kind, v.measurementId) = _measure(evidence, parts);
        v.platformId = keccak256(abi.encode(p.ppid));
        v.credential = id | bytes32(uint256(p.revokedSigners));
        uint256 reportDataAt = parts.bodyAt + (parts.tee == IDcapCollateral.Tee.Tdx ? 520 : 320);
        (v.reportBinding, v.encryptionKey) = (Der.word(evidence, reportDataAt), Der.word(evidence, reportDataAt + 32));
        v.expiresAt = p.expiresAt;
    }

    /// @inheritdoc IAttestationVerifier
    function revocations() external view returns (IRevocations) {
        return collateral;
    }

    /// @inheritdoc IAttestationVerifier
    function stands(bytes32 credential) external view returns (bool) {
        uint32 revokedSigners = uint32(uint256(credential));
        return collateral.isCurrent(credential ^ bytes32(uint256(revokedSigners)), revokedSigners);
    }

    /// @dev Checks version, types, vendor, and that the parts fill the evidence exactly.
    function _layout(bytes calldata evidence) private pure returns (Layout memory parts) {
        if (evidence.length < HEADER_BYTES) revert WrongLength(HEADER_BYTES, evidence.length);
        uint256 version = _littleEndian16(evidence, 0);
        bool isTdx = Der.has(evidence, 2, 6, TDX_HEADER);
        uint256 bodyBytes;
        parts.bodyAt = HEADER_BYTES;
        if (version == 3 && Der.has(evidence, 2, 6, SGX_HEADER)) {
            bodyBytes = SGX_BODY_BYTES;
        } else if (version == 4 && isTdx) {
            bodyBytes = 584;
        } else if (version == 5 && isTdx && Der.has(evidence, HEADER_BYTES, 6, TDX15_BODY)) {
            bodyBytes = 648;
            parts.bodyAt += 6;
        } else {
            revert UnsupportedQuote(version, bytes6(evidence[2:8]));
        }
        if (!Der.has(evidence, 12, 16, INTEL_QE_VENDOR)) revert WrongVendor(bytes16(evidence[12:28]));

        parts.tee = isTdx ? IDcapCollateral.Tee.Tdx : IDcapCollateral.Tee.Sgx;
        parts.signatureAt = parts.bodyAt + bodyBytes;
        parts.qeAt = parts.signatureAt + 128;
        parts.authAt = parts.qeAt + SGX_BODY_BYTES + 64 + 2;
        if (evidence.length < parts.authAt) revert WrongLength(parts.authAt, evidence.length);
        parts.credentialAt = parts.authAt + _littleEndian16(evidence, parts.authAt - 2);
        if (evidence.length != parts.credentialAt + 32) revert WrongLength(parts.credentialAt + 32, evidence.length);
    }

    /// @dev Platform key -> quoting enclave's report -> attestation key -> quote.
    function _checkSignatures(bytes calldata evidence, Layout memory parts, IDcapCollateral.Platform memory p)
        private
        view
    {
        uint256 keyAt = parts.signatureAt + 64;
        bytes32 keyHash = sha256(bytes.concat(evidence[keyAt:parts.qeAt], evidence[parts.authAt:parts.credentialAt]));
        if (Der.word(evidence, parts.qeAt + 320) != keyHash || Der.word(evidence, parts.qeAt + 352) != 0) {
            revert UnboundKey();
        }

        uint256 qeEnd = parts.qeAt + SGX_BODY_BYTES;
        bytes32 digest = sha256(evidence[parts.qeAt:qeEnd]);
        if (!P256.verify(digest, Der.word(evidence, qeEnd), Der.word(evidence, qeEnd + 32), p.x, p.y)) {
            revert BadQeSignature();
        }

        digest = sha256(evidence[:parts.signatureAt]);
        (bytes32 r, bytes32 s) = (Der.word(evidence, parts.signatureAt), Der.word(evidence, parts.signatureAt + 32));
        if (!P256.verify(digest, r, s, Der.word(evidence, keyAt), Der.word(evidence, keyAt + 32))) {
            revert BadQuoteSignature();
        }
    }

    function _checkQe(bytes calldata evidence, Layout memory parts, bytes memory identity)
        private
        pure
        returns (TcbLevels.Level memory)
    {
        bytes32 signer = Der.word(evidence, parts.qeAt + 128);
        uint128 attributes = uint128(bytes16(Der.word(evidence, parts.qeAt + 48)));
        uint256 product = _littleEndian16(evidence, parts.qeAt + 256);
        bool selectsNothing = Der.has(evidence, parts.qeAt + 16, 4, 0);
        if (!selectsNothing || _isDebug(evidence, parts.qeAt) || !TcbLevels.isQe(identity, signer, attributes, product))
        {
            revert WrongQe(signer, attributes, product);
        }
        return TcbLevels.judgeQe(identity, _littleEndian16(evidence, parts.qeAt + 258));
    }

    /// @dev Returns the security versions of the TDX module and its loader: those that launched the domain, and those
    /// running now. They differ where the module was updated beneath the domain, and TDX 1.0 knows only the first.
    function _checkTd(bytes calldata evidence, Layout memory parts)
        private
        pure
        returns (uint128 launched, uint128 running)
    {
        uint256 body = parts.bodyAt;
        bool isTdx15 = parts.signatureAt - body == 648;
        // MRSIGNERSEAM and SEAM attributes; in version 5 also MRSERVICETD: nobody migrates the domain.
        if (!_isZero(evidence, body + 64, 56) || !_isZero(evidence, body + 584 + 16, isTdx15 ? 48 : 0)) {
            revert ForeignModule();
        }
        if (!Der.has(evidence, body + 120, 8, TD_ATTRIBUTES)) {
            revert UnsafeAttributes(bytes8(evidence[body + 120:body + 128]));
        }
        launched = uint128(bytes16(Der.word(evidence, body)));
        running = isTdx15 ? uint128(bytes16(Der.word(evidence, body + 584))) : launched;
    }

    /// @dev An enclave must be initialised and not debuggable. It has no TDX module.
    function _checkEnclave(bytes calldata evidence, Layout memory parts) private pure returns (uint128, uint128) {
        bytes8 flags = bytes8(Der.word(evidence, parts.bodyAt + 48));
        if (flags[0] & 0x01 == 0 || _isDebug(evidence, parts.bodyAt)) revert UnsafeAttributes(flags);
        return (0, 0);
    }

    /// @dev TDX: TD attributes, XFAM, MRTD, MRCONFIGID, MROWNER, MROWNERCONFIG and RTMR0 to 3, which are neighbours. SGX:
    /// all but CPUSVN and report data.
    function _measure(bytes calldata evidence, Layout memory parts) private view returns (bytes32 kind, bytes32 id) {
        bool isTdx = parts.tee == IDcapCollateral.Tee.Tdx;
        kind = isTdx ? TDX_KIND : SGX_KIND;
        (uint256 from, uint256 to) = isTdx ? (uint256(120), uint256(520)) : (uint256(16), uint256(320));
        id = keccak256(bytes.concat(kind, evidence[parts.bodyAt + from:parts.bodyAt + to]));
    }

    /// @dev The debug flag in the attributes of an enclave's report.
    function _isDebug(bytes calldata evidence, uint256 reportAt) private pure returns (bool) {
        return uint8(evidence[reportAt + 48]) & 0x02 != 0;
    }

    /// @dev At most 64 bytes.
    function _isZero(bytes calldata evidence, uint256 parts, uint256 length) private pure returns (bool) {
        uint256 first = length > 32 ? 32 : length;
        return Der.has(evidence, parts, first, 0) && Der.has(evidence, parts + first, length - first, 0);
    }

    function _littleEndian16(bytes calldata data, uint256 parts) private pure returns (uint256) {
        return uint256(uint8(data[parts])) | uint256(uint8(data[parts + 1])) << 8;
    }
}
