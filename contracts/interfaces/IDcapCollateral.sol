// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IRevocations} from "./IRevocations.sol";

/// @title Intel's signed documents about its platforms: certificates, revocation lists, TCB infos, QE identities.
/// @notice Anyone may post; the signature decides, back to a root key that is fixed at construction. Intel signs several
/// TCB evaluations at once, by number; so TCB infos and identities are kept for each number by itself, and what is posted
/// for one changes nothing for another. Within a number documents only ever get newer: older ones are a downgrade attack.
interface IDcapCollateral is IRevocations {
    enum Tee {
        Sgx,
        Tdx
    }

    enum Role {
        None,
        Root,
        Authority,
        TcbSigner,
        Platform
    }

    /// @notice A certificate in the form that verification needs. The last two words are set for platforms (PCK) only.
    /// @param revoked set by a revocation list, even before the certificate is posted; never reset.
    /// @param pceSvn security version of the provisioning enclave.
    /// @param issuer id of the certificate whose key signed this one.
    /// @param cpuSvn the sixteen TCB components, the first in the highest byte.
    struct Certificate {
        uint40 notBefore;
        uint40 notAfter;
        Role role;
        bool revoked;
        bytes6 fmspc;
        uint16 pceId;
        uint16 pceSvn;
        bytes32 issuer;
        bytes32 x;
        bytes32 y;
        uint128 cpuSvn;
        bytes16 ppid;
    }

    /// @notice A signed list of revoked serials of one issuer. Unix times in seconds.
    struct Crl {
        uint40 thisUpdate;
        uint40 nextUpdate;
    }

    /// @notice A TCB info or QE identity of one evaluation. Its content stands as code at `pointer`, packed as `TcbLevels` says.
    struct Document {
        address pointer;
        uint40 issueDate;
        uint40 nextUpdate;
        bytes32 signer;
    }

    /// @notice Everything that judges a quote of one platform by one evaluation, valid now.
    /// @param since as `evaluationSince` says. @param revokedSigners as `revokedSigners` says.
    /// @param expiresAt Unix time in seconds: the earliest end of validity of any certificate, list or document used.
    struct Platform {
        bytes32 x;
        bytes32 y;
        uint128 cpuSvn;
        uint16 pceSvn;
        bytes16 ppid;
        uint40 since;
        uint40 expiresAt;
        uint32 revokedSigners;
        bytes tcbInfo;
        bytes qeIdentity;
    }

    event CertificatePosted(bytes32 indexed id, bytes32 indexed issuer, Role role, uint256 serial, uint40 notAfter);
    event CertificateRevoked(bytes32 indexed id, bytes32 indexed issuer, uint256 serial);
    event CrlPosted(bytes32 indexed issuer, uint40 thisUpdate, uint40 nextUpdate);
    /// @notice A part of a list was read. @param digest SHA-256 of what its issuer signed.
    event CrlRead(bytes32 indexed issuer, bytes32 indexed digest, uint256 entries);
    event TcbInfoPosted(
        Tee indexed tee,
        bytes6 indexed fmspc,
        uint16 indexed pceId,
        uint16 evaluation,
        uint40 issueDate,
        uint40 nextUpdate
    );
    event QeIdentityPosted(Tee indexed tee, uint16 evaluation, uint40 issueDate, uint40 nextUpdate);

    /// @notice Thrown at deployment where P-256 signatures cannot be checked, or are all said to be good.
    /// @dev Deploy on a chain with the P-256 precompile (EIP-7951, RIP-7212).
    error NoP256Precompile();
    /// @notice Thrown when a root that is not Intel's is deployed on a chain that is not for development.
    /// @dev Deploy with Intel's root.
    error DevRootOnPublicChain(uint256 chainId);
    /// @notice Thrown when a document or certificate is not signed by who it says.
    /// @dev Post it as Intel serves it, after the certificates that vouch for it.
    error BadSignature();
    /// @notice Thrown when a certificate is unknown, or its role does not let it vouch for this.
    /// @dev Post the certificates first, from the root down.
    error WrongRole(bytes32 id, Role role);
    /// @notice Thrown when this certificate stands here already.
    /// @dev Nothing is to be done.
    error AlreadyPosted(bytes32 id);
    /// @notice Thrown when Intel has revoked the certificate.
    /// @dev Take a newer one; a revoked platform needs Intel's update.
    error Revoked(bytes32 id);
    /// @notice Thrown when a certificate is used outside its validity, in Unix time.
    /// @dev Take a newer certificate.
    error OutsideValidity(bytes32 id, uint40 notBefore, uint40 notAfter);
    /// @notice Thrown when a document says that it is issued in the future, or should have been replaced by now.
    /// @dev Fetch the document again: `didyma tee collateral`.
    error DocumentOutsideValidity(uint40 issueDate, uint40 nextUpdate);
    /// @notice Thrown when a document is not newer than what is stored.
    /// @dev Nothing is to be done: what stands here is as new.
    error NotNewer(uint40 storedIssueDate);
    /// @notice Thrown when that many of a list's entries, or more, were read before.
    /// @dev Go on after the entries that were read.
    error AlreadyRead(uint256 entries);
    /// @notice Thrown when an issuer's list of revoked certificates was not posted.
    /// @dev Post it: `didyma tee collateral`.
    error CrlMissing(bytes32 issuer);
    /// @notice Thrown when no TCB info for this platform and evaluation was posted.
    /// @dev Post it: `didyma tee collateral`.
    error TcbInfoMissing(Tee tee, bytes6 fmspc, uint16 pceId, uint16 evaluation);
    /// @notice Thrown when no identity of the quoting enclave for this evaluation was posted.
    /// @dev Post it: `didyma tee collateral`.
    error QeIdentityMissing(Tee tee, uint16 evaluation);

    /// @notice Whether the root key is not Intel's: then nothing here proves anything, and the chain is a private one.
    function isDev() external view returns (bool);

    /// @notice Adds a certificate. `issuer` is 0 for the root.
    /// @param der the certificate in DER.
    function postCertificate(bytes32 issuer, bytes calldata der) external returns (bytes32 id);

    /// @notice Reads a newer revocation list of an issuer and marks the certificates that it revokes. Once all of it has
    /// been read it replaces the older list.
    /// @dev A mark costs 27,000 gas, so that one transaction holds some 600. A longer list is posted several times, and
    /// read on from where it stopped, whoever posted it then; the marks count at once, the list's dates at the end.
    /// @param until number of entries that will have been read.
    function postCrl(bytes32 issuer, bytes calldata der, uint256 until) external;

    /// @notice Adds the TCB info of one kind of platform by one evaluation, or replaces it by a newer one.
    /// @param json the bytes that Intel signed: the value of "tcbInfo" in its API's answer, character for character.
    /// @param signer id of the certificate of the key that signed it.
    function postTcbInfo(bytes calldata json, bytes32 r, bytes32 s, bytes32 signer) external;

    /// @notice Adds the identity of a quoting enclave by one evaluation, or replaces it; parameters as of `postTcbInfo`.
    function postQeIdentity(bytes calldata json, bytes32 r, bytes32 s, bytes32 signer) external;

    /// @notice Id of the certificate with that serial. Its last four bytes are zero.
    function certificateId(bytes32 issuer, uint256 serial) external pure returns (bytes32);

    /// @notice All that judges a quote signed under the platform certificate `id` by the evaluation of that number.
    /// Reverts unless all of it is valid now.
    function platform(Tee tee, bytes32 id, uint16 evaluation) external view returns (Platform memory);

    /// @notice Whether nothing that judged a platform was revoked since: neither its certificate nor the issuer, nor any
    /// signer of documents. Never reverts.
    /// @param signers what `revokedSigners` was when the platform was judged.
    function isCurrent(bytes32 id, uint32 signers) external view returns (bool);

    /// @notice How many certificates of document signers were revoked. What any of them had signed is doubtful from then
    /// on; what has been judged must be judged again, even if its documents were issued anew by another before.
    function revokedSigners() external view returns (uint32);

    /// @notice Unix time in seconds at which the first document of an evaluation was posted; 0 if none was.
    function evaluationSince(uint16 evaluation) external view returns (uint40);

    /// @notice How many entries of an issuer's list have been read so far. @param digest SHA-256 of what the issuer signed.
    function crlRead(bytes32 issuer, bytes32 digest) external view returns (uint256);

    function certificate(bytes32 id) external view returns (Certificate memory);

    function crl(bytes32 issuer) external view returns (Crl memory);

    function tcbInfo(Tee tee, bytes6 fmspc, uint16 pceId, uint16 evaluation) external view returns (Document memory);

    function qeIdentity(Tee tee, uint16 evaluation) external view returns (Document memory);
}
