// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IAttestedKeys} from "./IAttestedKeys.sol";
import {IAttester} from "./IAttester.sol";
import {ServiceId} from "./Ids.sol";
import {IOracle} from "./IOracle.sol";

/// @title Answers signed by attested keys, under the policy of a service.
/// @notice A policy says which code and which machines a service believes, how out of date they may be, and how much may
/// be at stake on an answer that is final at once. It is fixed when the service is created and can only shrink: the guardian
/// takes a measurement or a machine away, lowers the caps, or asks for a newer TCB evaluation, at once and for ever.
///
/// A key is admitted to a service once for each registration (`admit`, by anyone); then an answer needs its signature
/// alone. Each answer checks what may end in between: the key's life, its platform's standing, and whether the policy has
/// shrunk.
///
/// Warning: whoever has physical access to a machine can read keys from its memory bus. Above the caps, and from machines
/// that are not listed, even an attested answer therefore has a challenge window.
interface IAttestedAnswers is IAttestedKeys, IAttester {
    /// @notice `IServices.Terms.attesterTerms`, ABI-encoded.
    /// @param guardian may shrink the policy; zero for nobody.
    /// @param engineId the engine that keys must have attested: the one that the service's disputes are judged by.
    /// @param acceptsConfiguration whether platforms with CONFIGURATION_NEEDED are believed.
    /// @param leastEvaluation number of the oldest TCB evaluation to be judged by: the vendor goes on signing older ones,
    /// which do not know what was found since.
    /// @param graceSeconds how long after `behindSince` a platform may be OUT_OF_DATE; 0: not at all.
    /// @param graceCapWei in place of the service's `valueCapWei` for keys of such platforms.
    /// @param advisories numbers of the security advisories, at most 16, that the measured code mitigates: platforms with
    /// SW_HARDENING_NEEDED are believed if all theirs are among them.
    /// @param measurements measurement ids to believe.
    /// @param platforms platform ids of the machines whose answers may be final at once.
    struct Policy {
        address guardian;
        bytes32 engineId;
        bool acceptsConfiguration;
        uint16 leastEvaluation;
        uint32 graceSeconds;
        uint96 graceCapWei;
        uint16[] advisories;
        bytes32[] measurements;
        bytes32[] platforms;
    }

    /// @notice What is left of a policy's caps; how often it has shrunk.
    struct Caps {
        uint96 capWei;
        uint96 graceCapWei;
        uint32 version;
    }

    /// @param until Unix time in seconds at which the key's registration or the platform's grace ends.
    /// @param challengeBlock of the registration that was judged. @param version of the policy that judged.
    /// @param generation of the vendor's revocations when the key was judged: while it is the same, its platform stands.
    /// @param isListed whether its machine's answers may be final at once. @param isBehind whether `graceCapWei` holds.
    struct Admission {
        uint40 until;
        uint32 challengeBlock;
        uint32 version;
        uint32 generation;
        bool isListed;
        bool isBehind;
    }

    event PolicyAdopted(ServiceId indexed service, Policy policy, uint256 capWei);
    event KeyAdmitted(ServiceId indexed service, address indexed signer, bytes32 encryptionKey, Admission admission);
    /// @param ids measurements and platforms that are no longer believed.
    event PolicyShrunk(
        ServiceId indexed service, bytes32[] ids, uint256 capWei, uint256 graceCapWei, uint16 leastEvaluation
    );

    /// @notice Thrown when anyone but the oracle asks whether an answer is attested.
    /// @dev Call `Oracle.answerAttested`.
    error NotOracle(address caller);
    /// @notice Thrown when a policy could never work; `reason` says which and why.
    /// @dev Read `reason`, and change the policy.
    error BadPolicy(string reason);
    /// @notice Thrown when anyone but the policy's guardian changes it.
    /// @dev Send it from the guardian's account, or make another service.
    error NotGuardian(ServiceId service, address caller);
    /// @notice Thrown when caps are to be raised, or the least evaluation lowered.
    /// @dev A policy is only made stricter; for looser terms, make another service.
    error OnlyShrinks(ServiceId service);
    /// @notice Thrown when a key is not active, or `details` are not its own.
    /// @dev Register the key, or pass the details that its registration has.
    error KeyNotActive(address signer);
    /// @notice Thrown when a key has attested another model or engine than the service's.
    /// @dev Attest the service's model and engine; `didyma service show` names them.
    error WrongModel(bytes32 modelRoot, bytes32 engineId);
    /// @notice Thrown when a key's measurement is not among the policy's.
    /// @dev Run the image that the policy names, or make a service for yours.
    error UnknownMeasurement(bytes32 measurementId);
    /// @notice Thrown when the policy does not allow a platform's TCB status, advisories or age.
    /// @dev Update the platform's firmware, and register again.
    error UnacceptablePlatform(uint8 tcbStatus, uint128 advisories, uint40 behindSince);
    /// @notice Thrown when a key was judged by an evaluation older than the policy's least.
    /// @dev Post Intel's newer documents (`didyma tee collateral`), and register again.
    error EvaluationTooOld(uint16 evaluation, uint16 least);
    /// @notice Thrown when an answer's signature is not by a key that is admitted to the service and active now.
    /// @dev Call `admit` for the key first, and sign the answer with it.
    error NotAdmitted(ServiceId service, address signer);

    /// @notice Judges an active key by a service's policy, so that its answers count. Anyone may call.
    /// @param details as `KeyRegistered` has them.
    function admit(ServiceId service, address signer, Details calldata details) external;

    /// @notice Takes measurements and platforms out of a policy, lowers its caps and raises its least evaluation, for
    /// ever. Keys must be admitted anew.
    /// @param leastEvaluation no less than what it is. No key counts until one was judged by it, or by a newer one.
    function shrink(
        ServiceId service,
        bytes32[] calldata ids,
        uint96 capWei,
        uint96 graceCapWei,
        uint16 leastEvaluation
    ) external;

    /// @notice Whether a key could sign an answer now.
    function isAdmitted(ServiceId service, address signer) external view returns (bool);

    function admissionOf(ServiceId service, address signer) external view returns (Admission memory);

    function capsOf(ServiceId service) external view returns (Caps memory);

    /// @notice Number of the oldest TCB evaluation that a service lets keys be judged by; 0 without a policy.
    function leastEvaluationOf(ServiceId service) external view returns (uint16);

    /// @notice EIP-712 digest that a key signs: the request, with all its parameters, and what was computed. The service
    /// in it names the model, for its id is the hash of its terms.
    function answerDigestOf(IOracle.Request calldata req, IOracle.Answer calldata ans) external view returns (bytes32);

    /// @notice Whether a service believes a measurement, or a machine's answers at once.
    function isBelieved(ServiceId service, bytes32 id) external view returns (bool);
}
