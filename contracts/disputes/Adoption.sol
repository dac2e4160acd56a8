// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IDisputeGame} from "../interfaces/IDisputeGame.sol";
import {ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {IReferee} from "../interfaces/IReferee.sol";
import {IServices} from "../interfaces/IServices.sol";
import {GameServices} from "./GameServices.sol";

/// @title Which services the dispute game judges.
/// @notice Refuses terms under which an honest party would run out of time, a node would not be repaid for a game, or a
/// proof would earn less than a challenge risks. What a proof costs, only the price of gas says: docs/economics.md. Its code
/// runs on the game's storage, once for each service; it stores nothing of its own.
contract Adoption is GameServices {
    uint256 private constant MAX_CEILING_PERCENT = 200;
    uint256 private constant MAX_CLOCK_SECONDS = 30 days;

    constructor(IOracle oracle_, IReferee referee_) GameServices(oracle_, referee_) {}

    /// @notice `IArbiter.adopt` of the game.
    function adopt(ServiceId service, IServices.Terms calldata terms) external returns (uint32 disputeSeconds) {
        if (msg.sender != address(oracle)) revert IDisputeGame.NotOracle(msg.sender);
        IDisputeGame.GameTerms memory game = abi.decode(terms.arbiterTerms, (IDisputeGame.GameTerms));
        uint256 steps = referee.checkPrompts(terms.model, terms.maxPromptBytes);
        _checkTerms(terms, game);

        _indexOf[service] = ++_serviceCount;
        _services[_serviceCount] = Service(service, terms.model, game, steps);
        emit IDisputeGame.GameServiceAdopted(service, game);
        return uint32(2 * uint256(game.clockSeconds) + game.firstMoveSeconds + 2 * OPENINGS * game.moveSeconds);
    }

    function _checkTerms(IServices.Terms calldata terms, IDisputeGame.GameTerms memory game) private pure {
        if (game.moveSeconds == 0 || game.firstMoveSeconds < game.moveSeconds) {
            revert IDisputeGame.MovesTooShort(game.moveSeconds, game.firstMoveSeconds);
        }
        if (game.queueSeconds < OPENINGS) revert IDisputeGame.QueueTooShort(game.queueSeconds, OPENINGS);
        // A prefill, a game's openings, and what it takes to have each mined: `docs/economics.md`, "Many games at once".
        uint256 leastSeconds = uint256(game.firstMoveSeconds) + game.queueSeconds + OPENINGS * game.moveSeconds;
        if (game.clockSeconds < leastSeconds || game.clockSeconds > MAX_CLOCK_SECONDS) {
            revert IDisputeGame.ClockOutOfRange(game.clockSeconds, leastSeconds, MAX_CLOCK_SECONDS);
        }
        if (game.ceilingPercent < 100 || game.ceilingPercent > MAX_CEILING_PERCENT) {
            revert IDisputeGame.CeilingOutOfRange(game.ceilingPercent, 100, MAX_CEILING_PERCENT);
        }
        if (game.openingWei == 0) revert IDisputeGame.OpeningsUnpaid();
        uint256 openingsWei = _gasWei(game, OPENINGS);
        if (game.challengeBondWei < openingsWei) {
            revert IDisputeGame.ChallengeBondTooSmall(game.challengeBondWei, openingsWei);
        }
        uint256 rewardWei = terms.bondWei * REWARD_PERCENT / 100;
        uint256 leastWei = 2 * uint256(game.challengeBondWei);
        if (rewardWei < leastWei) revert IDisputeGame.RewardTooSmall(rewardWei, leastWei);
    }
}
