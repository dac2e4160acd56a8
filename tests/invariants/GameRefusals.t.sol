// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ModelId, ServiceId} from "../../contracts/interfaces/Ids.sol";
import {IDisputeGame} from "../../contracts/interfaces/IDisputeGame.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {Village} from "./Village.sol";

/// @title Which terms the dispute game takes, on both sides of every border, and whom it listens to.
contract GameRefusals is Village {
    function setUp() external {
        _found();
    }

    function _taken(IDisputeGame.GameTerms memory g) private {
        IServices.Terms memory t = terms;
        t.arbiterTerms = abi.encode(g);
        ServiceId created = oracle.createService(t);
        assertEq(abi.encode(game.termsOf(created)), abi.encode(g));
        assertEq(ModelId.unwrap(game.modelOf(created)), ModelId.unwrap(model));
    }

    function _refused(IDisputeGame.GameTerms memory g, bytes memory why) private {
        IServices.Terms memory t = terms;
        t.arbiterTerms = abi.encode(g);
        vm.expectRevert(why);
        oracle.createService(t);
    }

    function test_adopt__times_at_their_borders__are_taken_and_beyond_refused() external {
        IDisputeGame.GameTerms memory g = gameTerms;
        --g.clockSeconds; // a prefill, a game's openings, and nine moves need 600
        _refused(g, abi.encodeWithSelector(IDisputeGame.ClockOutOfRange.selector, 599, 600, 30 days));
        g.clockSeconds = 30 days;
        _taken(g);
        ++g.clockSeconds;
        _refused(g, abi.encodeWithSelector(IDisputeGame.ClockOutOfRange.selector, 30 days + 1, 600, 30 days));
        g = gameTerms;
        g.queueSeconds = 9;
        _taken(g);
        g.queueSeconds = 8;
        _refused(g, abi.encodeWithSelector(IDisputeGame.QueueTooShort.selector, 8, 9));
        g = gameTerms;
        g.firstMoveSeconds = g.moveSeconds;
        _taken(g);
        --g.firstMoveSeconds;
        _refused(g, abi.encodeWithSelector(IDisputeGame.MovesTooShort.selector, g.moveSeconds, g.moveSeconds - 1));
        g = gameTerms;
        g.moveSeconds = 0;
        _refused(g, abi.encodeWithSelector(IDisputeGame.MovesTooShort.selector, 0, g.firstMoveSeconds));
        g.moveSeconds = 1;
        _taken(g);
    }

    function test_adopt__sums_at_their_borders__are_taken_and_beyond_refused() external {
        IDisputeGame.GameTerms memory g = gameTerms;
        g.ceilingPercent = 100;
        _taken(g);
        g.ceilingPercent = 99;
        _refused(g, abi.encodeWithSelector(IDisputeGame.CeilingOutOfRange.selector, 99, 100, 200));
        g.ceilingPercent = 201;
        _refused(g, abi.encodeWithSelector(IDisputeGame.CeilingOutOfRange.selector, 201, 100, 200));
        g = gameTerms;
        g.openingWei = 0;
        _refused(g, abi.encodeWithSelector(IDisputeGame.OpeningsUnpaid.selector));
        g.openingWei = 1;
        _taken(g);
        g = gameTerms;
        g.challengeBondWei = 0.0972 ether; // nine openings, and a fifth
        _taken(g);
        --g.challengeBondWei;
        _refused(
            g,
            abi.encodeWithSelector(
                IDisputeGame.ChallengeBondTooSmall.selector, g.challengeBondWei, uint256(0.0972 ether)
            )
        );
        g.challengeBondWei = 0.15 ether; // half of 30 % of the bond
        _taken(g);
        ++g.challengeBondWei;
        _refused(
            g, abi.encodeWithSelector(IDisputeGame.RewardTooSmall.selector, uint256(0.3 ether), uint256(0.3 ether) + 2)
        );
    }

    /// @dev Both clocks, a prefill, and each side's nine moves with as much time as a move has at least.
    function test_adopt__leave_time__covers_the_longest_game() external {
        uint256 longest = 2 * 600 + 60 + 2 * 9 * 36;
        vm.prank(honest[0]);
        oracle.announceExit(service, 0);
        uint256 leaveSeconds = uint256(terms.lifetimeSeconds) + terms.windowSeconds + longest;
        assertEq(oracle.seatOf(service, 0).readyAt, vm.getBlockTimestamp() + leaveSeconds);
    }

    function test_game__anybody_but_oracle_and_referees__is_not_heard() external {
        IOracle.Request memory req;
        IOracle.Answer memory ans;
        bytes memory why = abi.encodeWithSelector(IDisputeGame.NotOracle.selector, address(this));
        vm.expectRevert(why);
        game.adopt(service, terms);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NotReferee.selector, address(this)));
        game.won(IDisputeGame.GameId.wrap(1), req, ans);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NotReferee.selector, address(this)));
        game.refuted(req, ans, address(this));
        vm.deal(address(this), 1 ether);
        (bool sent, bytes memory said) = address(game).call{value: 1}("");
        assertFalse(sent);
        assertEq(said, why);
        (sent, said) = address(refutations).call{value: 1}("");
        assertFalse(sent);
        assertEq(said, why);
    }
}
