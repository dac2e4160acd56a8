// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IRevocations} from "./IRevocations.sol";

/// @title Intel's signed documents about its platforms: certificates, revocation lists, TCB infos, QE identities.
/// @notice Anyone may post; the signature decides, back to a root key that is fixed at construction. Documents only ever
/// get newer: older collateral is a downgrade attack.
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

    /// @notice A TCB info or QE identity. Its content stands as code at `pointer`, packed as `TcbLevels` says.
    struct Document {
        address pointer;
        uint16 evalNumber;
        uint40 issueDate;
        uint40 nextUpdate;
        bytes32 signer;
    }

    /// @notice Everything that judges a quote of one platform, valid now.
    /// @param expiresAt Unix time in seconds: the earliest end of validity of any certificate, list or document used.
    struct Platform {
        bytes32 x;
        bytes32 y;
        uint128 cpuSvn;
        uint16 pceSvn;
        bytes16 ppid;
        uint16 evalNumber;
        uint40 expiresAt;
        bytes tcbInfo;
        bytes qeIdentity;
    }

    event CertificatePosted(bytes32 indexed id, bytes32 indexed issuer, Role role, uint256 serial, uint40 notAfter);
    event CertificateRevoked(bytes32 indexed id, bytes32 indexed issuer, uint256 serial);
    event CrlPosted(bytes32 indexed issuer, uint40 thisUpdate, uint40 nextUpdate);
    event TcbInfoPosted(
        Tee indexed tee,
        bytes6 indexed fmspc,
        uint16 indexed pceId,
        uint16 evalNumber,
        uint40 issueDate,
        uint40 nextUpdate
    );
    event QeIdentityPosted(Tee indexed tee, uint16 evalNumber, uint40 issueDate, uint40 nextUpdate);

    /// @notice Thrown at deployment where P-256 signatures cannot be checked, or are all said to be good.
    error NoP256Precompile();
    /// @notice Thrown when a root that is not Intel's is deployed on a chain that is not for development.
    error DevRootOnPublicChain(uint256 chainId);
    error BadSignature();
    /// @notice Thrown when a certificate is unknown, or its role does not let it vouch for this.
    error WrongRole(bytes32 id, Role role);
    error AlreadyPosted(bytes32 id);
    error Revoked(bytes32 id);
    /// @notice Thrown when a certificate is used outside its validity, in Unix time.
    error OutsideValidity(bytes32 id, uint40 notBefore, uint40 notAfter);
    /// @notice Thrown when a document says that it is issued in the future, or should have been replaced by now.
    error DocumentOutsideValidity(uint40 issueDate, uint40 nextUpdate);
    /// @notice Thrown when a document is not newer than what is stored, or rests on an older evaluation.
    error NotNewer(uint40 storedIssueDate, uint16 storedEvalNumber);
    error CrlMissing(bytes32 issuer);
    error TcbInfoMissing(Tee tee, bytes6 fmspc, uint16 pceId);
    error QeIdentityMissing(Tee tee);
    /// @notice Thrown when the QE identity rests on an older evaluation than the TCB info.
    error QeIdentityOlder(uint16 qeIdentity, uint16 tcbInfo);

    /// @notice Whether the root key is not Intel's: then nothing here proves anything, and the chain is a private one.
    function isDev() external view returns (bool);

    /// @notice Adds a certificate. `issuer` is 0 for the root.
    /// @param der the certificate in DER.
    function postCertificate(bytes32 issuer, bytes calldata der) external returns (bytes32 id);

    /// @notice Replaces an issuer's revocation list by a newer one, and marks the certificates that it revokes.
    function postCrl(bytes32 issuer, bytes calldata der) external;

    /// @notice Replaces the TCB info of one kind of platform by a newer one.
    /// @param json the bytes that Intel signed: the value of "tcbInfo" in its API's answer, character for character.
    /// @param signer id of the certificate of the key that signed it.
    function postTcbInfo(bytes calldata json, bytes32 r, bytes32 s, bytes32 signer) external;

    /// @notice Replaces the identity of a quoting enclave by a newer one; parameters as of `postTcbInfo`.
    function postQeIdentity(bytes calldata json, bytes32 r, bytes32 s, bytes32 signer) external;

    /// @notice Id of the certificate with that serial. Its last byte is zero.
    function certificateId(bytes32 issuer, uint256 serial) external pure returns (bytes32);

    /// @notice All that judges a quote signed under the platform certificate `id`. Reverts unless all of it is valid now.
    function platform(Tee tee, bytes32 id) external view returns (Platform memory);

    /// @notice Whether a platform's certificate and its issuer are still good, and its TCB info is still of the
    /// evaluation given. Never reverts.
    function isCurrent(Tee tee, bytes32 id, uint256 evalNumber) external view returns (bool);

    function certificate(bytes32 id) external view returns (Certificate memory);

    function crl(bytes32 issuer) external view returns (Crl memory);

    function tcbInfo(Tee tee, bytes6 fmspc, uint16 pceId) external view returns (Document memory);

    function qeIdentity(Tee tee) external view returns (Document memory);
}
