// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test} from "forge-std/Test.sol";
import {Vm} from "forge-std/Vm.sol";

import {Oracle} from "../../contracts/Oracle.sol";
import {ServiceId} from "../../contracts/interfaces/Ids.sol";
import {ILens} from "../../contracts/interfaces/ILens.sol";
import {IModelRegistry} from "../../contracts/interfaces/IModelRegistry.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IPanelArbiter} from "../../contracts/interfaces/IPanelArbiter.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {MockAttester} from "../../contracts/mocks/MockAttester.sol";

/// @title One deployment with one service and its seats, for fuzzing.
abstract contract World is Test {
    uint256 internal constant HONEST_OWNERS = 5;
    uint256 internal constant LIAR_SEATS = 3;
    uint256 internal constant SEATS = HONEST_OWNERS + LIAR_SEATS;

    IModelRegistry internal registry;
    Oracle internal oracle;
    ILens internal lens;
    IPanelArbiter internal panel;
    ServiceId internal service;
    IPanelArbiter.PanelTerms internal panelTerms;
    IServices.Terms internal terms;

    /// @dev Five honest owners with a seat each, one liar with three: no panel of three can hold two of the liar's.
    address[] internal owners;

    function _deploy() internal {
        vm.warp(1_800_000_000);
        vm.roll(1_000_000);
        registry = IModelRegistry(deployCode("ModelRegistry.sol:ModelRegistry"));
        address seats = deployCode("Seats.sol:Seats", abi.encode(registry, 12_000));
        oracle = Oracle(deployCode("Oracle.sol:Oracle", abi.encode(seats)));
        lens = ILens(deployCode("Lens.sol:Lens", abi.encode(oracle)));
        panel = IPanelArbiter(deployCode("PanelArbiter.sol:PanelArbiter", abi.encode(oracle, registry)));
        panelTerms = IPanelArbiter.PanelTerms({
            challengeBondWei: 0.1 ether,
            voteFeeWei: 0.01 ether,
            absencePenaltyWei: 0.01 ether,
            commitSeconds: 100,
            revealSeconds: 100,
            panelSize: 3,
            tolerance: 0
        });
        terms = IServices.Terms({
            model: registry.register(_manifest()),
            arbiter: panel,
            arbiterTerms: abi.encode(panelTerms),
            attester: address(new MockAttester()),
            attesterTerms: "",
            bondWei: 1 ether,
            seatWei: 2 ether,
            missPenaltyWei: 0.001 ether,
            basePriceWei: 0.001 ether,
            bytePriceWei: 1 gwei,
            tokenPriceWei: 0.0001 ether,
            maxPromptBytes: 256,
            maxTokens: 64,
            turnSeconds: 60,
            windowSeconds: 120,
            lifetimeSeconds: 600,
            minOwners: 5,
            valueCapWei: 1 ether
        });
        service = oracle.createService(terms);
        for (uint256 i; i < SEATS; ++i) {
            owners.push(i < HONEST_OWNERS ? makeAddr(string.concat("owner ", vm.toString(i))) : makeAddr("liar"));
            _join(owners[i]);
        }
        skip(terms.lifetimeSeconds);
        for (uint16 i; i < SEATS; ++i) {
            oracle.activate(service, i);
        }
    }

    /// @dev The owner operates its seats itself.
    function _join(address owner) internal returns (uint16 seat) {
        vm.deal(owner, owner.balance + 10 ether);
        vm.prank(owner);
        return oracle.join{value: 10 ether}(service, owner);
    }

    function _params(uint24 maxTokens, uint32 callbackGas) internal view returns (IOracle.Params memory) {
        return IOracle.Params({
            maxTokens: maxTokens,
            temperature: 0,
            cutoff: 0,
            callbackGas: callbackGas,
            callbackGasPriceWei: 1 gwei,
            deadline: uint48(vm.getBlockTimestamp() + terms.lifetimeSeconds),
            valueFinney: 0,
            isPrivate: false
        });
    }

    function _manifest() private pure returns (IModelRegistry.Manifest memory manifest) {
        manifest.fileSha256 = keccak256("file");
        manifest.fileBytes = 1;
        manifest.contextLength = 512;
        manifest.stopTokens = new uint32[](1);
    }

    /// @dev The data of the first event with this signature among `logs`.
    function _event(Vm.Log[] memory logs, bytes32 signature) internal pure returns (bytes memory data) {
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] == signature) return logs[i].data;
        }
        revert("no such event");
    }
}
