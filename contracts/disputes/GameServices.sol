// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IDisputeGame} from "../interfaces/IDisputeGame.sol";
import {ModelId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {IReferee} from "../interfaces/IReferee.sol";

/// @title The services that the dispute game judges, and what their terms make games cost.
/// @dev Their storage. `DisputeGame` reads it, `Adoption` writes it.
abstract contract GameServices {
    /// @param steps of the model's passes.
    struct Service {
        ServiceId id;
        ModelId model;
        IDisputeGame.GameTerms terms;
        uint256 steps;
    }

    /// @notice Each open challenge makes the next dearer by bond / RAMP.
    uint256 public constant RAMP = 16;

    /// @notice Openings that a whole game can need: two for the tokens, two lists, four times nodes, values.
    uint256 public constant OPENINGS = 9;

    /// @dev Parts of an answer's tokens that a challenger may ask for after the first, instead of all that follows it.
    uint256 internal constant MORE_PARTS = OPENINGS - 2;

    uint256 internal constant REWARD_PERCENT = 30;

    IOracle public immutable oracle;
    IReferee public immutable referee;

    // `Adoption` writes them.
    // slither-disable-start uninitialized-state
    uint32 internal _serviceCount;
    mapping(uint256 index => Service) internal _services;
    mapping(ServiceId service => uint256) internal _indexOf;
    // slither-disable-end uninitialized-state

    constructor(IOracle oracle_, IReferee referee_) {
        oracle = oracle_;
        referee = referee_;
    }

    function _price(IDisputeGame.GameTerms memory terms, uint256 openGames) internal pure returns (uint256) {
        uint256 bondWei = terms.challengeBondWei;
        uint256 rampWei = bondWei + bondWei * openGames / RAMP;
        uint256 ceilingWei = bondWei * terms.ceilingPercent / 100;
        return rampWei < ceilingWei ? rampWei : ceilingWei;
    }

    /// @dev What a losing challenger owes the node for its openings.
    function _gasWei(IDisputeGame.GameTerms memory terms, uint256 openings) internal pure returns (uint256) {
        return uint256(terms.openingWei) * openings * 6 / 5;
    }
}
