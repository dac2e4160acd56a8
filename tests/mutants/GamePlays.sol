// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {AdversaryInvariants} from "./Adversary.t.sol";
import {Plays} from "./Plays.sol";

/// @title What is played on dispute games and referees.
contract GamePlays is Plays {
    function setUp() external {
        _life(0);
        _refusals();
        for (uint256 i = 1; i < 16; ++i) {
            _life(i);
        }
    }

    function _life(uint256 life) private {
        _add("a life", "Adversary.t.sol:AdversaryInvariants", abi.encodeCall(AdversaryInvariants.live, (1, life)));
    }

    function _refusals() private {
        string[4] memory games = [
            "adopt__times_at_their_borders__are_taken_and_beyond_refused",
            "adopt__sums_at_their_borders__are_taken_and_beyond_refused",
            "adopt__leave_time__covers_the_longest_game",
            "game__anybody_but_oracle_and_referees__is_not_heard"
        ];
        for (uint256 i; i < games.length; ++i) {
            _named("GameRefusals.t.sol:GameRefusals", games[i]);
        }
    }
}
