// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IRevocations} from "../interfaces/IRevocations.sol";
import {IDcapCollateral} from "../interfaces/IDcapCollateral.sol";
import {P256} from "./P256.sol";
import {TcbLevels} from "./TcbLevels.sol";
import {X509} from "./X509.sol";
import {SSTORE2} from "solady/utils/SSTORE2.sol";

/// @title DcapCollateral
contract DcapCollateral is IDcapCollateral {
    /// @dev Id of the root, which stands for its key and has no certificate here.
    bytes32 private constant ROOT = 0;

    /// @dev Public key of "Intel SGX Root CA", SHA-256 of its certificate
    /// 44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3.
    bytes32 private constant INTEL_X = 0x0ba9c4c0c0c86193a3fe23d6b02cda10a8bbd4e88e48b4458561a36e705525f5;
    bytes32 private constant INTEL_Y = 0x67918e2edc88e40d860bd0cc4ee26aacc988e505a953558c453f6b0904ae7394;

    /// @inheritdoc IDcapCollateral
    bool public immutable isDev;

    /// @inheritdoc IRevocations
    uint32 public generation;
    /// @inheritdoc IDcapCollateral
    uint32 public revokedSigners;

    /// @inheritdoc IDcapCollateral
    mapping(uint16 evaluation => uint40) public evaluationSince;

    /// @dev How far a list has been read: entries, and how many bytes they took.
    struct Reading {
        uint128 entries;
        uint128 position;
    }

    mapping(bytes32 id => Certificate) private _certificates;
    mapping(bytes32 issuer => Crl) private _crls;
    mapping(bytes32 issuer => mapping(bytes32 digest => Reading)) private _readings;
    mapping(Tee => mapping(bytes6 fmspc => mapping(uint16 pceId => mapping(uint16 evaluation => Document)))) private
        _tcbInfos;
    mapping(Tee => mapping(uint16 evaluation => Document)) private _qeIdentities;

    /// @param x with `y` the root's public key: Intel's, or on a development chain any.
    constructor(bytes32 x, bytes32 y) {
        if (!P256.works()) revert NoP256Precompile();
        isDev = x != INTEL_X || y != INTEL_Y;
        // The chain ids that local test chains use: Anvil and Hardhat; Geth's and Ganache's development modes.
        if (isDev && block.chainid != 31337 && block.chainid != 1337) revert DevRootOnPublicChain(block.chainid);

        Certificate storage root = _certificates[ROOT];
        (root.role, root.x, root.y, root.notAfter) = (Role.Root, x, y, type(uint40).max);
    }

    /* POSTING */

    /// @inheritdoc IDcapCollateral
    function postCertificate(bytes32 issuer, bytes calldata der) external returns (bytes32 id) {
        X509.Certificate memory c = X509.readCertificate(der);
        Role role = _roleUnder(issuer, c);
        _checkSignature(issuer, c.digest, c.r, c.s);
        id = certificateId(issuer, c.serial);
        Certificate storage stored = _certificates[id];
        if (stored.revoked) revert Revoked(id);
        if (stored.role != Role.None) revert AlreadyPosted(id);

        (stored.notBefore, stored.notAfter, stored.role) = (c.notBefore, c.notAfter, role);
        (stored.issuer, stored.x, stored.y) = (issuer, c.x, c.y);
        if (role == Role.Platform) {
            X509.Sgx memory sgx = X509.readSgx(der, c.sgxStart, c.sgxEnd);
            (stored.fmspc, stored.pceId, stored.pceSvn) = (sgx.fmspc, sgx.pceId, sgx.pceSvn);
            (stored.cpuSvn, stored.ppid) = (sgx.cpuSvn, sgx.ppid);
        }
        emit CertificatePosted(id, issuer, role, c.serial, c.notAfter);
    }

    /// @inheritdoc IDcapCollateral
    function postCrl(bytes32 issuer, bytes calldata der, uint256 until) external {
        Role role = _certificates[issuer].role;
        if (role != Role.Root && role != Role.Authority) revert WrongRole(issuer, role);
        X509.Crl memory c = X509.readCrl(der);
        _checkSignature(issuer, c.digest, c.r, c.s);
        _checkIsCurrent(c.thisUpdate, c.nextUpdate);
        Crl storage stored = _crls[issuer];
        if (c.thisUpdate <= stored.thisUpdate) revert NotNewer(stored.thisUpdate);

        Reading storage reading = _readings[issuer][c.digest];
        uint256 entries = reading.entries;
        uint256 position = c.entriesAt + reading.position;
        if (position < c.entriesEnd && until <= entries) revert AlreadyRead(entries);
        for (; position < c.entriesEnd && entries < until; ++entries) {
            uint256 serial;
            (serial, position) = X509.readEntry(der, position, c.entriesEnd);
            _revoke(issuer, serial);
        }
        if (position < c.entriesEnd) {
            // Counted from the first entry: a signature of another length may move what it signed.
            (reading.entries, reading.position) = (uint128(entries), uint128(position - c.entriesAt));
            emit CrlRead(issuer, c.digest, entries);
        } else {
            (stored.thisUpdate, stored.nextUpdate) = (c.thisUpdate, c.nextUpdate);
            emit CrlPosted(issuer, c.thisUpdate, c.nextUpdate);
        }
    }

    /// @inheritdoc IDcapCollateral
    function postTcbInfo(bytes calldata json, bytes32 r, bytes32 s, bytes32 signer) external {
        _checkSigner(signer, sha256(json), r, s);
        (Tee tee, TcbLevels.Head memory head, bytes memory packed) = TcbLevels.packTcbInfo(json);
        _store(_tcbInfos[tee][head.fmspc][head.pceId][head.evaluation], head, packed, signer);
        emit TcbInfoPosted(tee, head.fmspc, head.pceId, head.evaluation, head.issueDate, head.nextUpdate);
    }

    /// @inheritdoc IDcapCollateral
    function postQeIdentity(bytes calldata json, bytes32 r, bytes32 s, bytes32 signer) external {
        _checkSigner(signer, sha256(json), r, s);
        (Tee tee, TcbLevels.Head memory head, bytes memory packed) = TcbLevels.packQeIdentity(json);
        _store(_qeIdentities[tee][head.evaluation], head, packed, signer);
        emit QeIdentityPosted(tee, head.evaluation, head.issueDate, head.nextUpdate);
    }

    /* READING */

    /// @inheritdoc IDcapCollateral
    function certificateId(bytes32 issuer, uint256 serial) public pure returns (bytes32) {
        return keccak256(abi.encode(issuer, serial)) & ~bytes32(uint256(type(uint32).max));
    }

    /// @inheritdoc IDcapCollateral
    function platform(Tee tee, bytes32 id, uint16 evaluation) external view returns (Platform memory p) {
        Certificate storage leaf = _certificates[id];
        bytes32 issuer = leaf.issuer;
        Document storage info = _tcbInfos[tee][leaf.fmspc][leaf.pceId][evaluation];
        Document storage qe = _qeIdentities[tee][evaluation];
        if (leaf.role == Role.Platform && info.pointer == address(0)) {
            revert TcbInfoMissing(tee, leaf.fmspc, leaf.pceId, evaluation);
        }
        if (qe.pointer == address(0)) revert QeIdentityMissing(tee, evaluation);

        uint256 expiry = _checkedUntil(id, Role.Platform);
        expiry = _earlier(expiry, _checkedUntil(issuer, Role.Authority));
        expiry = _earlier(expiry, _checkedUntil(info.signer, Role.TcbSigner));
        if (qe.signer != info.signer) expiry = _earlier(expiry, _checkedUntil(qe.signer, Role.TcbSigner));
        expiry = _earlier(expiry, _crlUntil(ROOT));
        expiry = _earlier(expiry, _crlUntil(issuer));
        _checkIsCurrent(info.issueDate, info.nextUpdate);
        _checkIsCurrent(qe.issueDate, qe.nextUpdate);
        expiry = _earlier(expiry, _earlier(info.nextUpdate, qe.nextUpdate));

        (p.x, p.y, p.cpuSvn, p.pceSvn, p.ppid) = (leaf.x, leaf.y, leaf.cpuSvn, leaf.pceSvn, leaf.ppid);
        (p.since, p.expiresAt, p.revokedSigners) = (evaluationSince[evaluation], uint40(expiry), revokedSigners);
        (p.tcbInfo, p.qeIdentity) = (SSTORE2.read(info.pointer), SSTORE2.read(qe.pointer));
    }

    /// @inheritdoc IDcapCollateral
    function isCurrent(bytes32 id, uint32 signers) external view returns (bool) {
        Certificate storage leaf = _certificates[id];
        return
            leaf.role == Role.Platform && !leaf.revoked && !_certificates[leaf.issuer].revoked
                && revokedSigners == signers;
    }

    /// @inheritdoc IDcapCollateral
    function certificate(bytes32 id) external view returns (Certificate memory) {
        return _certificates[id];
    }

    /// @inheritdoc IDcapCollateral
    function crl(bytes32 issuer) external view returns (Crl memory) {
        return _crls[issuer];
    }

    /// @inheritdoc IDcapCollateral
    function crlRead(bytes32 issuer, bytes32 digest) external view returns (uint256) {
        return _readings[issuer][digest].entries;
    }

    /// @inheritdoc IDcapCollateral
    function tcbInfo(Tee tee, bytes6 fmspc, uint16 pceId, uint16 evaluation) external view returns (Document memory) {
        return _tcbInfos[tee][fmspc][pceId][evaluation];
    }

    /// @inheritdoc IDcapCollateral
    function qeIdentity(Tee tee, uint16 evaluation) external view returns (Document memory) {
        return _qeIdentities[tee][evaluation];
    }

    /* INTERNALS */

    /// @dev The root vouches for authorities and for the signers of documents, authorities vouch for platforms; a
    /// platform, and nothing else, has the SGX extension.
    function _roleUnder(bytes32 issuer, X509.Certificate memory c) private view returns (Role role) {
        Role issuerRole = _certificates[issuer].role;
        if (issuerRole == Role.Root) role = c.isAuthority ? Role.Authority : Role.TcbSigner;
        else if (issuerRole == Role.Authority && !c.isAuthority) role = Role.Platform;
        if (role == Role.None || (role == Role.Platform) != (c.sgxStart != 0)) revert WrongRole(issuer, issuerRole);
    }

    function _checkSignature(bytes32 issuer, bytes32 digest, bytes32 r, bytes32 s) private view {
        Certificate storage c = _certificates[issuer];
        if (!P256.verify(digest, r, s, c.x, c.y)) revert BadSignature();
    }

    function _checkSigner(bytes32 signer, bytes32 digest, bytes32 r, bytes32 s) private view {
        _checkedUntil(signer, Role.TcbSigner);
        _checkSignature(signer, digest, r, s);
    }

    /// @dev Marks a certificate, posted or not. The counters tell those who have judged by it.
    function _revoke(bytes32 issuer, uint256 serial) private {
        bytes32 id = certificateId(issuer, serial);
        Certificate storage c = _certificates[id];
        if (c.revoked) return;

        c.revoked = true;
        ++generation;
        if (c.role == Role.TcbSigner) ++revokedSigners;
        emit CertificateRevoked(id, issuer, serial);
    }

    function _store(Document storage stored, TcbLevels.Head memory head, bytes memory packed, bytes32 signer) private {
        _checkIsCurrent(head.issueDate, head.nextUpdate);
        // A document of a revoked signer gives way to any other, whatever their dates.
        if (head.issueDate <= stored.issueDate && !_certificates[stored.signer].revoked) {
            revert NotNewer(stored.issueDate);
        }
        if (evaluationSince[head.evaluation] == 0) evaluationSince[head.evaluation] = uint40(block.timestamp);
        stored.pointer = SSTORE2.write(packed);
        (stored.issueDate, stored.nextUpdate, stored.signer) = (head.issueDate, head.nextUpdate, signer);
    }

    /// @dev Reverts unless the certificate is good for that role now; returns its end of validity.
    function _checkedUntil(bytes32 id, Role role) private view returns (uint256) {
        Certificate storage c = _certificates[id];
        if (c.role != role) revert WrongRole(id, c.role);
        if (c.revoked) revert Revoked(id);
        if (block.timestamp < c.notBefore || block.timestamp > c.notAfter) {
            revert OutsideValidity(id, c.notBefore, c.notAfter);
        }
        return c.notAfter;
    }

    function _crlUntil(bytes32 issuer) private view returns (uint256) {
        Crl storage list = _crls[issuer];
        if (list.nextUpdate == 0) revert CrlMissing(issuer);
        _checkIsCurrent(list.thisUpdate, list.nextUpdate);
        return list.nextUpdate;
    }

    function _checkIsCurrent(uint40 issueDate, uint40 nextUpdate) private view {
        if (block.timestamp < issueDate || block.timestamp >= nextUpdate) {
            revert DocumentOutsideValidity(issueDate, nextUpdate);
        }
    }

    function _earlier(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
