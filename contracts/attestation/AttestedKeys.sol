// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ECDSA} from "solady/utils/ECDSA.sol";
import {EIP712} from "solady/utils/EIP712.sol";

import {IAttestationVerifier} from "../interfaces/IAttestationVerifier.sol";
import {IAttestedKeys} from "../interfaces/IAttestedKeys.sol";

/// @title AttestedKeys
abstract contract AttestedKeys is IAttestedKeys, EIP712 {
    /// @notice Blocks, the age up to which a challenge proves that evidence is recent.
    uint256 public constant MAX_CHALLENGE_AGE = 256;
    /// @notice Seconds that a key lives at most.
    uint256 public constant MAX_LIFE = 7 days;

    bytes32 private constant BINDING = keccak256("didyma.attested-key.v1");
    bytes32 private constant REGISTRATION = keccak256(
        "Registration(address node,address signer,bytes32 modelRoot,bytes32 engineId,uint32 challengeBlock,uint16 evaluation)"
    );

    IAttestationVerifier public immutable verifier;

    mapping(address signer => Key) internal _keys;

    constructor(IAttestationVerifier verifier_) {
        verifier = verifier_;
    }

    /// @inheritdoc IAttestedKeys
    function register(Registration calldata r, bytes calldata evidence, bytes calldata signature)
        external
        returns (uint40 expiresAt)
    {
        Key storage key = _keys[r.signer];
        if (key.node != address(0)) {
            if (key.expiresAt == 0) revert KeyIsRevoked(r.signer);
            if (r.challengeBlock <= key.challengeBlock) revert NotNewer(r.challengeBlock, key.challengeBlock);
        }
        bytes32 challengeHash = block.number > r.challengeBlock && block.number - r.challengeBlock <= MAX_CHALLENGE_AGE
            ? blockhash(r.challengeBlock)
            : bytes32(0);
        if (challengeHash == 0) revert ChallengeNotRecent(r.challengeBlock);
        address recovered = ECDSA.tryRecoverCalldata(digestOf(r), signature);
        if (recovered == address(0) || recovered != r.signer) revert WrongSigner(r.signer, recovered);

        IAttestationVerifier.Verified memory v = verifier.verify(evidence, r.evaluation);
        bytes32 binding = bindingOf(r, challengeHash);
        if (v.reportBinding != binding) revert WrongBinding(binding, v.reportBinding);

        expiresAt = uint40(block.timestamp + MAX_LIFE);
        if (v.expiresAt < expiresAt) expiresAt = v.expiresAt;
        Details memory details = Details({
            kind: v.kind,
            measurementId: v.measurementId,
            platformId: v.platformId,
            modelRoot: r.modelRoot,
            engineId: r.engineId,
            encryptionKey: v.encryptionKey,
            advisories: v.advisories,
            behindSince: v.behindSince,
            tcbStatus: v.tcbStatus
        });
        (key.node, key.expiresAt, key.evaluation, key.challengeBlock) =
        (r.node, expiresAt, r.evaluation, r.challengeBlock);
        (key.credential, key.details) = (v.credential, keccak256(abi.encode(details)));
        emit KeyRegistered(r.signer, r.node, r.modelRoot, details, expiresAt);
    }

    /// @inheritdoc IAttestedKeys
    function revoke(address signer) external {
        Key storage key = _keys[signer];
        if (msg.sender != key.node) revert NotNode(msg.sender, key.node);
        key.expiresAt = 0;
        emit KeyRevoked(signer);
    }

    /// @inheritdoc IAttestedKeys
    function isActive(address signer, Details calldata details) public view returns (bool) {
        Key storage key = _keys[signer];
        return key.details == keccak256(abi.encode(details)) && _isActive(key);
    }

    /// @inheritdoc IAttestedKeys
    function keyOf(address signer) external view returns (Key memory) {
        return _keys[signer];
    }

    /// @inheritdoc IAttestedKeys
    function bindingOf(Registration calldata r, bytes32 challengeHash) public view returns (bytes32) {
        return keccak256(abi.encode(BINDING, block.chainid, address(this), r, challengeHash));
    }

    /// @inheritdoc IAttestedKeys
    function digestOf(Registration calldata r) public view returns (bytes32) {
        return _hashTypedData(keccak256(abi.encode(REGISTRATION, r)));
    }

    function _isActive(Key storage key) internal view returns (bool) {
        return block.timestamp < key.expiresAt && verifier.stands(key.credential);
    }

    function _domainNameAndVersion() internal pure override returns (string memory name, string memory version) {
        return ("Didyma attestation", "1");
    }
}
