// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Keys that were made inside TEEs, and what is known of the code that holds them.
/// @notice Evidence binds a key to chain, registry, node, model and a recent block; the key itself signs the registration,
/// so anyone may send it. A key lives a week at most, and never longer than what vouches for it.
interface IAttestedKeys {
    /// @param node who runs the machine: it alone can revoke the key. @param signer address of the key.
    /// @param modelRoot id of the model that the measured code has loaded. @param engineId digest of how it computes.
    /// @param challengeBlock number of a block at most `MAX_CHALLENGE_AGE` old, whose hash the evidence contains.
    /// @param evaluation number of the vendor's TCB evaluation to be judged by: signed, for whoever relays the call must
    /// not choose another.
    struct Registration {
        address node;
        address signer;
        bytes32 modelRoot;
        bytes32 engineId;
        uint32 challengeBlock;
        uint16 evaluation;
    }

    /// @notice What a policy may ask of a key. Its hash is stored; whoever asks brings it, from the event.
    /// @dev Fields as in `IAttestationVerifier.Verified`.
    struct Details {
        bytes32 kind;
        bytes32 measurementId;
        bytes32 platformId;
        bytes32 modelRoot;
        bytes32 engineId;
        bytes32 encryptionKey;
        uint128 advisories;
        uint40 behindSince;
        uint8 tcbStatus;
    }

    /// @param expiresAt Unix time in seconds from which the key is dead; 0 once revoked.
    /// @param evaluation number of the vendor's TCB evaluation that judged the platform.
    /// @param challengeBlock of the newest registration. @param credential as `IAttestationVerifier.Verified` has it.
    /// @param details hash of the key's `Details`.
    struct Key {
        address node;
        uint40 expiresAt;
        uint16 evaluation;
        uint32 challengeBlock;
        bytes32 credential;
        bytes32 details;
    }

    event KeyRegistered(
        address indexed signer, address indexed node, bytes32 indexed modelRoot, Details details, uint40 expiresAt
    );
    event KeyRevoked(address indexed signer);

    /// @notice Thrown when the evidence was made for something else: another chain, registry, node, key, model or
    /// block.
    /// @dev Make new evidence for this chain, registry, node and key.
    error WrongBinding(bytes32 expected, bytes32 given);
    /// @notice Thrown when the challenge is not one of the last `MAX_CHALLENGE_AGE` blocks.
    /// @dev Make new evidence with the hash of a recent block.
    error ChallengeNotRecent(uint256 challengeBlock);
    /// @notice Thrown when a key is registered with a challenge not later than its last: evidence counts once.
    /// @dev Make new evidence with the hash of a later block.
    error NotNewer(uint256 challengeBlock, uint256 registered);
    /// @notice Thrown when the registration is not signed by the key that it registers.
    /// @dev Sign it with the key inside the TEE.
    error WrongSigner(address expected, address recovered);
    /// @notice Thrown when the key was revoked; a key is revoked for good.
    /// @dev Make a new key.
    error KeyIsRevoked(address signer);
    /// @notice Thrown when anyone but a key's node revokes it.
    /// @dev Send it from the node's operator key.
    error NotNode(address caller, address node);

    /// @notice Registers a key, or prolongs it with newer evidence.
    /// @param evidence as the verifier takes it. @param signature of `digestOf(registration)` by the key: r, s, v.
    function register(Registration calldata registration, bytes calldata evidence, bytes calldata signature)
        external
        returns (uint40 expiresAt);

    /// @notice Ends a key for ever. Only its node may.
    function revoke(address signer) external;

    /// @notice Whether a key may sign now, and `details` are its own. Never reverts.
    function isActive(address signer, Details calldata details) external view returns (bool);

    function keyOf(address signer) external view returns (Key memory);

    /// @notice What the first half of the evidence's report data must be.
    function bindingOf(Registration calldata registration, bytes32 challengeHash) external view returns (bytes32);

    /// @notice EIP-712 digest that the key signs.
    function digestOf(Registration calldata registration) external view returns (bytes32);
}
