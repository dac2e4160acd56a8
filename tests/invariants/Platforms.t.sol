// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test} from "forge-std/Test.sol";

import {AttestedAnswers} from "../../contracts/attestation/AttestedAnswers.sol";
import {IAttestationVerifier, UNLISTABLE_ADVISORIES} from "../../contracts/interfaces/IAttestationVerifier.sol";
import {IAttestedAnswers} from "../../contracts/interfaces/IAttestedAnswers.sol";
import {IAttestedKeys} from "../../contracts/interfaces/IAttestedKeys.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IRevocations} from "../../contracts/interfaces/IRevocations.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {ServiceId} from "../../contracts/interfaces/Ids.sol";

/// @title Which platforms a service's policy believes, whatever a verifier says of them.
/// @dev This contract is the oracle and the verifier: it vouches for anything.
contract Platforms is Test, IAttestationVerifier, IRevocations {
    uint256 private constant NOW = 1_900_000_000;
    uint256 private constant SIGNER_KEY = 0x517;
    ServiceId private constant SERVICE = ServiceId.wrap("service");

    AttestedAnswers private keys;
    address private signer;
    Verified private vouched;

    function setUp() external {
        keys = new AttestedAnswers(IOracle(address(this)), IAttestationVerifier(this));
        signer = vm.addr(SIGNER_KEY);
        vm.roll(100);
        vm.warp(NOW);
    }

    /* VERIFIER */

    function verify(bytes calldata, uint16) external view returns (Verified memory) {
        return vouched;
    }

    function revocations() external view returns (IRevocations) {
        return this;
    }

    function stands(bytes32) external pure returns (bool) {
        return true;
    }

    function generation() external pure returns (uint32) {
        return 1;
    }

    /* TESTS */

    /// @dev A platform that must be hardened against something passes where all of that has a name and is on the list.
    function testFuzz_admit__platform_to_be_hardened__passes_if_every_advisory_is_named_and_listed(
        uint128 advisories,
        uint16[4] memory listed
    ) external {
        // Few numbers, so that they meet; some lanes are empty.
        advisories &= 0x00030003000300030003000300030003;
        uint16[] memory list = new uint16[](listed.length);
        for (uint256 i; i < list.length; ++i) {
            list[i] = listed[i] % 3 + 1;
        }
        bool named = advisories != 0;
        for (uint256 lane; lane < 8; ++lane) {
            uint16 advisory = uint16(advisories >> 16 * lane);
            if (advisory != 0 && !_holds(list, advisory)) named = false;
        }
        _adopt(list, false, 0);
        _expect(named, 4, advisories, 0);
    }

    function test_admit__hardening_that_no_advisory_names__passes_no_policy() external {
        _adopt(_all(), true, type(uint32).max);
        _expect(false, 4, 0, 0);
        _expect(false, 4, UNLISTABLE_ADVISORIES, 0);
    }

    function test_admit__advisories_and_no_list__passes_not() external {
        _adopt(new uint16[](0), true, type(uint32).max);
        _expect(false, 4, 7, 0);
        _expect(false, 4, 0, 0);
        _expect(true, 0, 7, 0);
    }

    /// @dev Each flag asks for its own permission.
    function testFuzz_admit__any_flags__each_asks_for_its_own_permission(
        uint8 status,
        bool acceptsConfiguration,
        bool listed,
        uint32 graceSeconds,
        uint32 behindFor
    ) external {
        status &= 7;
        behindFor = uint32(bound(behindFor, 0, 2 * uint256(graceSeconds) < 1e9 ? 2 * uint256(graceSeconds) : 1e9));
        _adopt(listed ? _all() : new uint16[](0), acceptsConfiguration, graceSeconds);
        bool passes = (status & 1 == 0 || behindFor < graceSeconds) && (status & 2 == 0 || acceptsConfiguration)
            && (status & 4 == 0 || listed);
        _expect(passes, status, 7, status & 1 == 0 ? 0 : uint40(NOW - behindFor));
    }

    /* HELPERS */

    function _all() private pure returns (uint16[] memory list) {
        list = new uint16[](16);
        for (uint16 i; i < 16; ++i) {
            list[i] = i + 1;
        }
    }

    function _holds(uint16[] memory list, uint16 advisory) private pure returns (bool) {
        for (uint256 i; i < list.length; ++i) {
            if (list[i] == advisory) return true;
        }
        return false;
    }

    function _adopt(uint16[] memory advisories, bool acceptsConfiguration, uint32 graceSeconds) private {
        IAttestedAnswers.Policy memory policy;
        (policy.advisories, policy.acceptsConfiguration) = (advisories, acceptsConfiguration);
        (policy.graceSeconds, policy.leastEvaluation) = (graceSeconds, 1);
        policy.measurements = new bytes32[](1);
        IServices.Terms memory terms;
        terms.attesterTerms = abi.encode(policy);
        keys.adopt(SERVICE, terms);
    }

    /// @dev Registers a key on a platform of which this is said, and admits it or not.
    function _expect(bool passes, uint8 status, uint128 advisories, uint40 behindSince) private {
        uint256 number = vm.getBlockNumber();
        vm.roll(number + 1);
        IAttestedKeys.Registration memory r;
        (r.node, r.signer, r.evaluation) = (address(this), signer, 1);
        r.challengeBlock = uint32(number);
        (vouched.tcbStatus, vouched.advisories, vouched.behindSince) = (status, advisories, behindSince);
        vouched.expiresAt = uint40(NOW + 1 days);
        vouched.reportBinding = keys.bindingOf(r, blockhash(r.challengeBlock));
        (uint8 v, bytes32 x, bytes32 y) = vm.sign(SIGNER_KEY, keys.digestOf(r));
        keys.register(r, "", abi.encodePacked(x, y, v));
        IAttestedKeys.Details memory details;
        (details.advisories, details.behindSince, details.tcbStatus) = (advisories, behindSince, status);
        if (!passes) {
            vm.expectRevert(
                abi.encodeWithSelector(IAttestedAnswers.UnacceptablePlatform.selector, status, advisories, behindSince)
            );
        }
        keys.admit(SERVICE, signer, details);
    }
}
