// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {AdversaryInvariants} from "./Adversary.t.sol";
import {Plays} from "./Plays.sol";

/// @title What is played on dispute games and referees.
contract GamePlays is Plays {
    function setUp() external {
        _life(0);
        _refusals();
        _borders();
        _winners();
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

    function _borders() private {
        string[15] memory borders = [
            "pick__tokens_are_shown__part_and_position_are_named_by_the_challenger",
            "refute__contract_had_credit_before__reward_is_what_the_answer_s_bond_brought",
            "open__somebody_else__may_not_show_the_node_s_lists",
            "pick__tree_is_deeper_than_an_opening__is_opened_in_two_parts",
            "challenge__each_open_one__raises_the_price_by_a_sixteenth_up_to_the_ceiling",
            "challenge__positions_and_time_at_their_borders__are_taken_and_beyond_refused",
            "moves__until_the_last_second_of_a_clock__are_taken_and_a_second_later_refused",
            "open__in_another_game__serves_until_the_last_second_of_a_clock",
            "pick__next_place_is_open_already__it_is_the_challenger_s_move_again",
            "settle__another_step_than_the_one_that_won__has_no_share",
            "timeout__challenger_is_late__pays_the_node_for_its_openings_and_burns_the_rest",
            "timeout__node_is_late__pays_the_winner_and_eight_on_the_way_and_burns_the_rest",
            "settle__others_were_elsewhere__what_nobody_takes_is_burnt",
            "refute__without_a_hash__waits_sixteen_blocks_for_an_older_one",
            "refute__hash_of_sixteen_blocks__is_paid_at_once"
        ];
        for (uint256 i; i < borders.length; ++i) {
            _named("GameBorders.t.sol:GameBorders", borders[i]);
        }
    }

    function _winners() private {
        string[5] memory winners = [
            "games_came_as_they_were_opened__the_oldest_wins_whoever_proves",
            "older_game_came_later__who_was_first_keeps_its_proof",
            "younger_game_came_first__the_oldest_keeps_its_proof",
            "who_was_first_went_on__the_oldest_wins_or_who_proves",
            "who_was_first_has_run_out_of_time__who_proves_wins"
        ];
        for (uint256 i; i < winners.length; ++i) {
            _named("GameWinners.t.sol:GameWinners", string.concat("won__", winners[i]));
        }
    }
}
