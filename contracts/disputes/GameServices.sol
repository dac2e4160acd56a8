// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IArbiter} from "../interfaces/IArbiter.sol";
import {IDisputeGame} from "../interfaces/IDisputeGame.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {IReferee} from "../interfaces/IReferee.sol";
import {IServices} from "../interfaces/IServices.sol";
import {ModelId, ServiceId} from "../interfaces/Types.sol";

/// @title The services that the dispute game judges: their terms, and what these make games cost.
/// @dev Terms under which somebody honest would lose money, or run out of time, are refused.
abstract contract GameServices is IDisputeGame {
    /// @param steps of the model's passes.
    struct Service {
        ServiceId id;
        ModelId model;
        GameTerms terms;
        uint256 steps;
    }

    /// @notice Each open challenge makes the next dearer by bond / RAMP.
    uint256 public constant RAMP = 16;

    /// @notice Openings that a whole game can need: two lists, three times nodes, values; and the tokens.
    uint256 public constant OPENINGS = 7;

    uint256 internal constant REWARD_PERCENT = 30;
    uint256 private constant MAX_CEILING_PERCENT = 200;
    uint256 private constant MAX_CLOCK_SECONDS = 30 days;

    IOracle public immutable oracle;
    IReferee public immutable referee;

    uint32 private _serviceCount;
    mapping(uint256 index => Service) internal _services;
    mapping(ServiceId service => uint256) internal _indexOf;

    constructor(IOracle oracle_, IReferee referee_) {
        oracle = oracle_;
        referee = referee_;
    }

    /// @inheritdoc IArbiter
    function adopt(ServiceId service, IServices.Terms calldata terms) external returns (uint32 disputeSeconds) {
        if (msg.sender != address(oracle)) revert NotOracle(msg.sender);
        GameTerms memory game = abi.decode(terms.arbiterTerms, (GameTerms));
        uint256 steps = referee.checkPrompts(terms.model, terms.maxPromptBytes);
        _checkTerms(terms, game);

        _indexOf[service] = ++_serviceCount;
        _services[_serviceCount] = Service(service, terms.model, game, steps);
        emit GameServiceAdopted(service, game);
        return uint32(2 * uint256(game.clockSeconds) + game.firstMoveSeconds + 2 * OPENINGS * game.moveSeconds);
    }

    /// @inheritdoc IDisputeGame
    function termsOf(ServiceId service) public view returns (GameTerms memory) {
        return _services[_indexOf[service]].terms;
    }

    /// @inheritdoc IDisputeGame
    function modelOf(ServiceId service) external view returns (ModelId) {
        return _services[_indexOf[service]].model;
    }

    /// @dev Refuses terms under which somebody honest would lose.
    function _checkTerms(IServices.Terms calldata terms, GameTerms memory game) private pure {
        if (game.moveSeconds == 0 || game.firstMoveSeconds < game.moveSeconds) {
            revert MovesTooShort(game.moveSeconds, game.firstMoveSeconds);
        }
        if (game.queueSeconds < OPENINGS) revert QueueTooShort(game.queueSeconds, OPENINGS);
        // A prefill, a game's openings, and what it takes to have each mined: `docs/economics.md`, "Many games at once".
        uint256 leastSeconds = uint256(game.firstMoveSeconds) + game.queueSeconds + OPENINGS * game.moveSeconds;
        if (game.clockSeconds < leastSeconds || game.clockSeconds > MAX_CLOCK_SECONDS) {
            revert ClockOutOfRange(game.clockSeconds, leastSeconds, MAX_CLOCK_SECONDS);
        }
        if (game.ceilingPercent < 100 || game.ceilingPercent > MAX_CEILING_PERCENT) {
            revert CeilingOutOfRange(game.ceilingPercent, 100, MAX_CEILING_PERCENT);
        }
        if (game.openingWei == 0) revert OpeningsUnpaid();
        uint256 openingsWei = _gasWei(game, OPENINGS);
        if (game.challengeBondWei < openingsWei) revert ChallengeBondTooSmall(game.challengeBondWei, openingsWei);
        uint256 rewardWei = terms.bondWei * REWARD_PERCENT / 100;
        uint256 leastWei = 2 * uint256(game.challengeBondWei);
        if (rewardWei < leastWei) revert RewardTooSmall(rewardWei, leastWei);
    }

    function _price(GameTerms memory terms, uint256 openGames) internal pure returns (uint256) {
        uint256 bondWei = terms.challengeBondWei;
        uint256 rampWei = bondWei + bondWei * openGames / RAMP;
        uint256 ceilingWei = bondWei * terms.ceilingPercent / 100;
        return rampWei < ceilingWei ? rampWei : ceilingWei;
    }

    /// @dev What a losing challenger owes the node for its openings.
    function _gasWei(GameTerms memory terms, uint256 openings) internal pure returns (uint256) {
        return uint256(terms.openingWei) * openings * 6 / 5;
    }
}
