// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ECDSA} from "solady/utils/ECDSA.sol";

import {
    CONFIGURATION_NEEDED,
    IAttestationVerifier,
    OUT_OF_DATE,
    SW_HARDENING_NEEDED
} from "../interfaces/IAttestationVerifier.sol";
import {IAttestedAnswers} from "../interfaces/IAttestedAnswers.sol";
import {IAttester} from "../interfaces/IAttester.sol";
import {ModelId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {IRevocations} from "../interfaces/IRevocations.sol";
import {IServices} from "../interfaces/IServices.sol";
import {RequestLib} from "../libraries/RequestLib.sol";
import {AttestedKeys} from "./AttestedKeys.sol";

/// @title AttestedAnswers
contract AttestedAnswers is IAttestedAnswers, AttestedKeys {
    using RequestLib for IOracle.Request;
    using RequestLib for IOracle.Answer;

    uint256 private constant MAX_ADVISORIES = 16;
    bytes32 private constant REQUEST =
        keccak256("Request(bytes32 service,bytes32 promptHash,uint256 head,uint256 rules,uint256 money)");
    bytes32 private constant ANSWER = keccak256(
        "Answer(Request request,bytes32 outputHash,bytes32 tokensRoot,uint24 tokenCount,bytes32 seedBlockHash)"
        "Request(bytes32 service,bytes32 promptHash,uint256 head,uint256 rules,uint256 money)"
    );

    /// @dev A policy as `check` and `admit` read it: an answer reads the first slot only.
    struct StoredPolicy {
        Caps caps;
        uint32 graceSeconds;
        bytes32 identity;
        address guardian;
        bool acceptsConfiguration;
        uint16 leastEvaluation;
        uint256 advisories;
    }

    IOracle public immutable oracle;
    /// @dev Called directly: each contract in between would cost an answer 2,600 gas.
    IRevocations private immutable REVOCATIONS;

    mapping(ServiceId service => StoredPolicy) private _policies;
    mapping(ServiceId service => mapping(bytes32 id => bool)) private _believed;
    mapping(ServiceId service => mapping(address signer => Admission)) private _admissions;

    constructor(IOracle oracle_, IAttestationVerifier verifier_) AttestedKeys(verifier_) {
        oracle = oracle_;
        REVOCATIONS = verifier_.revocations();
    }

    /* POLICY */

    /// @inheritdoc IAttester
    function adopt(ServiceId service, IServices.Terms calldata terms) external {
        if (msg.sender != address(oracle)) revert NotOracle(msg.sender);
        Policy memory policy = abi.decode(terms.attesterTerms, (Policy));
        if (policy.measurements.length == 0) revert BadPolicy("no measurement is believed");
        if (policy.leastEvaluation == 0) revert BadPolicy("no least evaluation");
        if (terms.valueCapWei >= uint256(type(uint24).max) * 1e15) {
            revert BadPolicy("no request can say so high a value");
        }
        if (policy.graceCapWei > terms.valueCapWei) revert BadPolicy("the grace's cap is above the value cap");

        StoredPolicy storage s = _policies[service];
        s.caps = Caps({capWei: uint96(terms.valueCapWei), graceCapWei: policy.graceCapWei, version: 1});
        s.graceSeconds = policy.graceSeconds;
        s.identity = _identity(ModelId.unwrap(terms.model), policy.engineId);
        s.guardian = policy.guardian;
        s.acceptsConfiguration = policy.acceptsConfiguration;
        s.leastEvaluation = policy.leastEvaluation;
        s.advisories = _packed(policy.advisories);
        _believe(service, policy.measurements);
        _believe(service, policy.platforms);
        emit PolicyAdopted(service, policy, terms.valueCapWei);
    }

    /// @inheritdoc IAttestedAnswers
    function shrink(
        ServiceId service,
        bytes32[] calldata ids,
        uint96 capWei,
        uint96 graceCapWei,
        uint16 leastEvaluation
    ) external {
        StoredPolicy storage s = _policies[service];
        if (msg.sender != s.guardian || msg.sender == address(0)) revert NotGuardian(service, msg.sender);
        Caps memory caps = s.caps;
        if (capWei > caps.capWei || graceCapWei > caps.graceCapWei || leastEvaluation < s.leastEvaluation) {
            revert OnlyShrinks(service);
        }

        s.caps = Caps({capWei: capWei, graceCapWei: graceCapWei, version: caps.version + 1});
        s.leastEvaluation = leastEvaluation;
        for (uint256 i; i < ids.length; ++i) {
            _believed[service][ids[i]] = false;
        }
        emit PolicyShrunk(service, ids, capWei, graceCapWei, leastEvaluation);
    }

    /* KEYS */

    /// @inheritdoc IAttestedAnswers
    function admit(ServiceId service, address signer, Details calldata details) external {
        StoredPolicy storage s = _policies[service];
        Key storage key = _keys[signer];
        if (!isActive(signer, details)) revert KeyNotActive(signer);
        if (_identity(details.modelRoot, details.engineId) != s.identity) {
            revert WrongModel(details.modelRoot, details.engineId);
        }
        if (!_believed[service][details.measurementId]) revert UnknownMeasurement(details.measurementId);
        if (key.evaluation < s.leastEvaluation) revert EvaluationTooOld(key.evaluation, s.leastEvaluation);
        if (!_isAcceptable(s, details)) {
            revert UnacceptablePlatform(details.tcbStatus, details.advisories, details.behindSince);
        }

        bool isBehind = details.tcbStatus & OUT_OF_DATE != 0;
        uint40 graceUntil = isBehind ? details.behindSince + s.graceSeconds : key.expiresAt;
        Admission memory admission = Admission({
            until: graceUntil < key.expiresAt ? graceUntil : key.expiresAt,
            challengeBlock: key.challengeBlock,
            version: s.caps.version,
            generation: REVOCATIONS.generation(),
            isListed: _believed[service][details.platformId],
            isBehind: isBehind
        });
        _admissions[service][signer] = admission;
        emit KeyAdmitted(service, signer, details.encryptionKey, admission);
    }

    /* ANSWERS */

    /// @inheritdoc IAttester
    function check(IOracle.Request calldata req, IOracle.Answer calldata ans, bytes calldata attestation)
        external
        view
        returns (address signer, bool atOnce)
    {
        signer = ECDSA.tryRecoverCalldata(answerDigestOf(req, ans), attestation);
        Admission memory admission = _admissions[req.service][signer];
        Caps memory caps = _policies[req.service].caps;
        if (!_isAdmitted(admission, caps, signer)) revert NotAdmitted(req.service, signer);

        uint256 valueWei = req.valueFinney() * 1e15;
        if (valueWei < req.feeWei()) valueWei = req.feeWei();
        atOnce = admission.isListed && valueWei <= (admission.isBehind ? caps.graceCapWei : caps.capWei);
    }

    /* VIEWS */

    /// @inheritdoc IAttestedAnswers
    function isAdmitted(ServiceId service, address signer) external view returns (bool) {
        return _isAdmitted(_admissions[service][signer], _policies[service].caps, signer);
    }

    /// @inheritdoc IAttestedAnswers
    function admissionOf(ServiceId service, address signer) external view returns (Admission memory) {
        return _admissions[service][signer];
    }

    /// @inheritdoc IAttestedAnswers
    function capsOf(ServiceId service) external view returns (Caps memory) {
        return _policies[service].caps;
    }

    /// @inheritdoc IAttestedAnswers
    function leastEvaluationOf(ServiceId service) external view returns (uint16) {
        return _policies[service].leastEvaluation;
    }

    /// @inheritdoc IAttestedAnswers
    function isBelieved(ServiceId service, bytes32 id) external view returns (bool) {
        return _believed[service][id];
    }

    /// @inheritdoc IAttestedAnswers
    function answerDigestOf(IOracle.Request calldata req, IOracle.Answer calldata ans) public view returns (bytes32) {
        return _hashTypedData(
            keccak256(
                abi.encode(
                    ANSWER,
                    keccak256(abi.encode(REQUEST, req)),
                    ans.outputHash,
                    ans.tokensRoot,
                    ans.tokenCount(),
                    ans.seedBlockHash
                )
            )
        );
    }

    /* INTERNALS */

    /// @dev Checks the key's standing again only if something was revoked since it was admitted.
    function _isAdmitted(Admission memory admission, Caps memory caps, address signer) private view returns (bool) {
        Key storage key = _keys[signer];
        if (
            block.timestamp >= admission.until || admission.version != caps.version
                || admission.challengeBlock != key.challengeBlock || key.expiresAt == 0
        ) return false;
        return admission.generation == REVOCATIONS.generation() || _isActive(key);
    }

    /// @dev One flag after the other. A policy accepts only what it names.
    function _isAcceptable(StoredPolicy storage s, Details calldata details) private view returns (bool) {
        uint8 status = details.tcbStatus;
        if (status & CONFIGURATION_NEEDED != 0 && !s.acceptsConfiguration) return false;
        if (status & OUT_OF_DATE != 0 && block.timestamp >= uint256(details.behindSince) + s.graceSeconds) {
            return false;
        }
        return status & SW_HARDENING_NEEDED == 0 || _isMitigated(details.advisories, s.advisories);
    }

    function _isMitigated(uint128 advisories, uint256 mitigated) private pure returns (bool) {
        if (mitigated == 0 || advisories == 0) return false;
        for (; advisories != 0; advisories >>= 16) {
            uint16 advisory = uint16(advisories);
            uint256 rest = mitigated;
            while (uint16(rest) != advisory && rest != 0) rest >>= 16;
            if (rest == 0 && advisory != 0) return false;
        }
        return true;
    }

    /// @dev 0xffff names no advisory: `UNLISTABLE_ADVISORIES` consists of it.
    function _packed(uint16[] memory advisories) private pure returns (uint256 packed) {
        if (advisories.length > MAX_ADVISORIES) revert BadPolicy("more advisories than 16");
        for (uint256 i; i < advisories.length; ++i) {
            if (advisories[i] == 0 || advisories[i] == type(uint16).max) revert BadPolicy("no such advisory");
            packed |= uint256(advisories[i]) << 16 * i;
        }
    }

    function _believe(ServiceId service, bytes32[] memory ids) private {
        for (uint256 i; i < ids.length; ++i) {
            _believed[service][ids[i]] = true;
        }
    }

    function _identity(bytes32 modelRoot, bytes32 engineId) private pure returns (bytes32) {
        return keccak256(abi.encode(modelRoot, engineId));
    }
}
