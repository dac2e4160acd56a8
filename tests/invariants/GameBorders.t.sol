// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {BURN} from "../../contracts/interfaces/ICredits.sol";
import {IDisputeGame} from "../../contracts/interfaces/IDisputeGame.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IReferee} from "../../contracts/interfaces/IReferee.sol";
import {IRefutations} from "../../contracts/interfaces/IRefutations.sol";
import {ITokenReferee} from "../../contracts/interfaces/ITokenReferee.sol";
import {OneAnswer} from "./OneAnswer.sol";

/// @dev Says of any tensor that its tree has ten levels.
contract Deep {
    fallback() external {
        assembly ("memory-safe") {
            mstore(0, 10)
            return(0, 0x20)
        }
    }
}

/// @title What games cost and pay, and until when each side may move: to the wei and to the second.
contract GameBorders is OneAnswer {
    function _stage(IDisputeGame.GameId id, IDisputeGame.Stage stage) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IDisputeGame.WrongStage.selector, id, stage);
    }

    function _clocks(IDisputeGame.GameId id, bool nodeToMove, uint256 seconds_, uint256 nodeSeconds, uint256 others)
        private
        view
    {
        IDisputeGame.Turn memory turn = game.gameOf(id).turn;
        uint256[4] memory said =
            [turn.nodeToMove ? uint256(1) : 0, turn.deadline, turn.nodeSeconds, turn.challengerSeconds];
        assertEq(
            abi.encode(said),
            abi.encode(nodeToMove ? uint256(1) : 0, vm.getBlockTimestamp() + seconds_, nodeSeconds, others)
        );
    }

    /* CHALLENGES */

    function test_challenge__each_open_one__raises_the_price_by_a_sixteenth_up_to_the_ceiling() external {
        uint256 heldWei;
        for (uint256 n; n < 20; ++n) {
            uint256 priceWei = n < 16 ? BOND + n * BOND / 16 : 2 * BOND;
            vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ChallengeUnderpaid.selector, priceWei, priceWei - 1));
            this.challenge(FIRST, priceWei - 1);
            assertEq(game.gameOf(challenge(FIRST, priceWei + n)).bondWei, priceWei);
            heldWei += priceWei;
        }
        assertEq(address(game).balance, heldWei);
        assertEq(oracle.credit(challenger), 190, "what is more than the price comes back");
    }

    function test_challenge__positions_and_time_at_their_borders__are_taken_and_beyond_refused() external {
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.BadPosition.selector, FIRST - 1));
        this.challenge(FIRST - 1, BOND);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.BadPosition.selector, FIRST + 2));
        this.challenge(FIRST + 2, BOND);
        vm.warp(closesAt + 1);
        vm.expectRevert(abi.encodeWithSelector(IOracle.WindowClosed.selector, requestId, closesAt));
        this.challenge(FIRST, BOND);
        vm.warp(closesAt);
        challenge(FIRST, BOND);
        challenge(FIRST + 1, 2 * BOND);
        skip(1);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.WindowClosed.selector, caseId, closesAt));
        this.challenge(FIRST, 2 * BOND);
    }

    /* CLOCKS */

    function test_moves__until_the_last_second_of_a_clock__are_taken_and_a_second_later_refused() external {
        IDisputeGame.GameId id = challenge(FIRST, BOND);
        _clocks(id, true, 600, 600, 600);
        assertEq(game.backlogOf(service, seat), 216 + 60, "its moves, and a prefill");
        IDisputeGame.GameId second = challenge(FIRST, 2 * BOND);
        _clocks(second, true, 876, 876, 600);
        assertEq(game.backlogOf(service, seat), 2 * 216 + 60);
        skip(100);
        bytes32[] memory list = open(id, 0);
        _clocks(id, false, 600, 500, 600);
        _clocks(second, false, 600, 776, 600);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NotYourMove.selector, id, false));
        this.open(id, 0);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NotChallenger.selector, node, challenger));
        vm.prank(node);
        game.pick(id, 0, list[0], new bytes32[](0));
        skip(50);
        pick(id, list, 0);
        _clocks(id, true, 500, 500, 550);
        skip(501);
        bytes memory late = abi.encodeWithSelector(IDisputeGame.ClockRanOut.selector, id, vm.getBlockTimestamp() - 1);
        vm.expectRevert(late);
        this.open(id, list[0]);
        vm.warp(vm.getBlockTimestamp() - 1);
        list = open(id, list[0]);
        _clocks(id, false, 550, 0, 550);
        skip(551);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClockRanOut.selector, id, vm.getBlockTimestamp() - 1));
        this.pick(id, list, 0);
        vm.warp(vm.getBlockTimestamp() - 1);
        pick(id, list, 0);
        _clocks(id, true, 36, 0, 0);
        skip(36);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClockRuns.selector, id, vm.getBlockTimestamp()));
        this.timeout(id);
        skip(1);
        timeout(id);
        assertTrue(game.caseOf(caseId).dead);
    }

    function test_timeout__challenger_is_late__pays_the_node_for_its_openings_and_burns_the_rest() external {
        IDisputeGame.GameId id = challenge(FIRST, BOND);
        IDisputeGame.GameId second = challenge(FIRST + 1, 2 * BOND);
        open(id, 0);
        skip(600);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClockRuns.selector, id, vm.getBlockTimestamp()));
        this.timeout(id);
        skip(1);
        timeout(id);
        uint256 gasWei = 0.0108 ether; // an opening's price, and a fifth
        assertEq(oracle.credit(node), gasWei);
        assertEq(oracle.credit(BURN), BOND - gasWei);
        assertEq(game.backlogOf(service, seat), 216 + 60);
        assertEq(uint8(oracle.statusOf(requestId)), uint8(IOracle.Status.Disputed));
        vm.expectRevert(_stage(id, IDisputeGame.Stage.Over));
        this.timeout(id);
        vm.expectRevert(_stage(id, IDisputeGame.Stage.Over));
        game.settle(id);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.AnswerAlive.selector, caseId));
        game.settle(second);
        open(second, 0);
        skip(601);
        timeout(second);
        assertEq(game.backlogOf(service, seat), 0);
        assertEq(uint8(oracle.statusOf(requestId)), uint8(IOracle.Status.Answered));
        assertEq(oracle.credit(node), 2 * gasWei);
        assertEq(address(game).balance, 0);
    }

    /// @dev A list that nothing above binds is the node's to show; another could show nonsense in its name.
    function test_open__somebody_else__may_not_show_the_node_s_lists() external {
        IDisputeGame.GameId id = challenge(FIRST, BOND);
        bytes32[] memory list = open(id, 0);
        pick(id, list, 0);
        IDisputeGame.GameId second = challenge(FIRST + 1, 2 * BOND);
        bytes memory why = abi.encodeWithSelector(IDisputeGame.NotNode.selector, payer, node);
        vm.startPrank(payer);
        vm.expectRevert(why);
        game.open(id, list);
        vm.expectRevert(why);
        game.open(second, list);
        vm.stopPrank();
    }

    /* GAMES THAT COME THE SAME WAY */

    /// @dev A game's opening serves the others at its place, in which the node's clock then stands still since that moment.
    function test_open__in_another_game__serves_until_the_last_second_of_a_clock() external {
        IDisputeGame.GameId id = challenge(FIRST, BOND);
        IDisputeGame.GameId second = challenge(FIRST, 2 * BOND);
        uint256 start = vm.snapshotState();
        skip(600);
        open(second, 0);
        _clocks(second, false, 600, 276, 600);
        _clocks(id, false, 600, 0, 600);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClockRuns.selector, id, vm.getBlockTimestamp() + 600));
        this.timeout(id);
        vm.revertToState(start);
        skip(601);
        open(second, 0);
        assertTrue(game.gameOf(id).turn.nodeToMove, "too late for this one");
        timeout(id);
        assertTrue(game.caseOf(caseId).dead);
    }

    /// @dev The challenger's clock runs on from where it stood. Only the node's own openings in a game are repaid by it.
    function test_pick__next_place_is_open_already__it_is_the_challenger_s_move_again() external {
        IDisputeGame.GameId id = challenge(FIRST, BOND);
        IDisputeGame.GameId second = challenge(FIRST, 2 * BOND);
        skip(100);
        bytes32[] memory list = open(id, 0);
        skip(50);
        pick(id, list, 0);
        skip(50);
        open(id, list[0]);
        _clocks(id, false, 550, 450, 550);
        uint256 start = vm.snapshotState();
        skip(100);
        pick(second, list, 0);
        _clocks(second, false, 400, 776, 400);
        skip(401);
        timeout(second);
        assertEq(oracle.credit(node), 0);
        assertEq(oracle.credit(BURN), game.gameOf(second).bondWei);
        vm.revertToState(start);
        skip(500); // the challenger's last second, which leaves it the least time of a move
        pick(second, list, 0);
        _clocks(second, false, 36, 776, 0);
    }

    /// @dev Five levels, and then the other five; the path says which of 1024 leaves is meant.
    function test_pick__tree_is_deeper_than_an_opening__is_opened_in_two_parts() external {
        IDisputeGame.GameId id = challenge(FIRST, BOND);
        bytes32[] memory list = open(id, 0);
        pick(id, list, 0);
        open(id, list[0]);
        vm.etch(address(referee), address(new Deep()).code);
        (bytes32[] memory high, bytes32[] memory low) = (new bytes32[](32), new bytes32[](32));
        for (uint256 i; i < 32; ++i) {
            (high[i], low[i]) = (keccak256(abi.encode("high", i)), keccak256(abi.encode("low", i)));
        }
        high[3] = _root(low);
        vm.prank(challenger);
        game.pick(id, 0, _root(high), new bytes32[](0));
        _isAt(id, IDisputeGame.Stage.Nodes, 10, 0);
        vm.prank(node);
        game.open(id, high);
        pick(id, high, 3);
        _isAt(id, IDisputeGame.Stage.Nodes, 5, 3);
        vm.prank(node);
        game.open(id, low);
        pick(id, low, 7);
        _isAt(id, IDisputeGame.Stage.Values, 0, 3 * 32 + 7);
    }

    function _isAt(IDisputeGame.GameId id, IDisputeGame.Stage stage, uint256 level, uint256 index) private view {
        IDisputeGame.Turn memory turn = game.gameOf(id).turn;
        assertEq(abi.encode(turn.stage, turn.level, turn.index), abi.encode(stage, level, index));
    }

    /// @dev The node shows its tokens before anything is computed; then the challenger names what it doubts.
    function test_pick__tokens_are_shown__part_and_position_are_named_by_the_challenger() external {
        vm.deal(challenger, BOND);
        vm.prank(challenger);
        IDisputeGame.GameId id = game.challengeUnread{value: BOND}(req, ans);
        bytes32[] memory top = new bytes32[](1);
        top[0] = _root(_tokenLeaves(entries));
        vm.prank(node);
        game.openTokens(id, req, ans, FIRST, top);
        pick(id, top, 0);
        _isAt(id, IDisputeGame.Stage.Values, 1, 0);
        vm.prank(node);
        game.openValues(id, entries);
        vm.prank(challenger);
        game.pickPosition(id, req, ans, tokens, FIRST);
        _isAt(id, IDisputeGame.Stage.Steps, 0, 0);
        assertEq(game.gameOf(id).turn.positions, FIRST);
    }

    /// @dev Who stood where the answer died, or before it, has a share; who chose another step has none.
    function test_settle__another_step_than_the_one_that_won__has_no_share() external {
        IDisputeGame.GameId[4] memory ids = [
            challenge(FIRST, BOND), challenge(FIRST, 2 * BOND), challenge(FIRST, 2 * BOND), challenge(FIRST, 2 * BOND)
        ];
        bytes32[] memory list = open(ids[0], 0);
        pick(ids[0], list, 1);
        pick(ids[1], list, 0);
        pick(ids[2], list, 1);
        skip(601);
        timeout(ids[0]);
        vm.expectRevert(_stage(ids[0], IDisputeGame.Stage.Over));
        game.settle(ids[0]); // its bond went back with the reward
        assertEq(oracle.credit(BURN), 1 ether - 0.3 ether - 3 * 0.025 ether);
        for (uint256 i = 1; i < 4; ++i) {
            uint256 before = oracle.credit(challenger);
            game.settle(ids[i]);
            assertEq(oracle.credit(challenger) - before, game.gameOf(ids[i]).bondWei + (i == 1 ? 0 : 0.025 ether));
        }
        assertEq(oracle.credit(BURN), 1 ether - 0.3 ether - 2 * 0.025 ether);
        assertEq(address(game).balance, 0);
    }

    /* A KILLED ANSWER'S BOND */

    function test_timeout__node_is_late__pays_the_winner_and_eight_on_the_way_and_burns_the_rest() external {
        IDisputeGame.GameId[] memory ids = new IDisputeGame.GameId[](12);
        uint256 bondsWei;
        for (uint256 i; i < ids.length; ++i) {
            ids[i] = challenge(i == 1 ? FIRST + 1 : FIRST, 2 * BOND);
            bondsWei += game.gameOf(ids[i]).bondWei;
        }
        uint256 backWei = oracle.credit(challenger);
        skip(601);
        timeout(ids[0]);
        assertEq(oracle.credit(challenger), backWei + 0.3 ether + BOND);
        assertEq(oracle.credit(BURN), 0.5 ether);
        assertEq(address(game).balance, bondsWei - BOND + 8 * 0.025 ether);
        assertEq(game.backlogOf(service, seat), 0);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.AnswerDead.selector, caseId));
        this.timeout(ids[2]);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.AnswerDead.selector, caseId));
        this.challenge(FIRST, 2 * BOND);
        for (uint256 i = 1; i < ids.length; ++i) {
            uint256 before = oracle.credit(challenger);
            game.settle(ids[i]);
            uint256 shareWei = i == 1 || i > 9 ? 0 : 0.025 ether;
            assertEq(oracle.credit(challenger), before + game.gameOf(ids[i]).bondWei + shareWei);
            vm.expectRevert(_stage(ids[i], IDisputeGame.Stage.Over));
            game.settle(ids[i]);
        }
        assertEq(address(game).balance, 0);
        assertEq(oracle.credit(BURN), 0.5 ether);
    }

    function test_settle__others_were_elsewhere__what_nobody_takes_is_burnt() external {
        IDisputeGame.GameId id = challenge(FIRST, BOND);
        IDisputeGame.GameId[2] memory others = [challenge(FIRST + 1, 2 * BOND), challenge(FIRST, 2 * BOND)];
        skip(601);
        timeout(id);
        assertEq(oracle.credit(BURN), 0.65 ether);
        game.settle(others[0]);
        assertEq(oracle.credit(BURN), 0.65 ether);
        game.settle(others[1]);
        assertEq(oracle.credit(BURN), 0.675 ether);
        assertEq(address(game).balance, 0);
    }

    /* REFUTATIONS */

    function _refuting() private view returns (bytes memory) {
        IReferee.Input[] memory inputs = new IReferee.Input[](1);
        inputs[0] = _entryInput(entries, 7);
        return abi.encodeCall(
            IRefutations.refute, (req, ans, tokens, ITokenReferee.Fault.Padding, 7, bytes(""), bytes("yes"), inputs)
        );
    }

    function _post(address who) private {
        refutations.post(keccak256(abi.encodePacked(who, _refuting())));
    }

    /// @dev What it reverts with; nothing if it does not.
    function _refute(address who) private returns (bytes memory why) {
        bytes memory data = _refuting();
        vm.prank(who);
        bool done;
        (done, why) = address(refutations).call(data);
        if (done) why = "";
    }

    function test_refute__without_a_hash__waits_sixteen_blocks_for_an_older_one() external {
        (address first, address older, address later) = (makeAddr("first"), makeAddr("older"), makeAddr("later"));
        _post(older);
        vm.roll(vm.getBlockNumber() + 1);
        uint256 since = vm.getBlockNumber();
        _post(later);
        assertEq(_refute(first), "");
        assertEq(oracle.credit(address(refutations)), 0.3 ether);
        assertEq(oracle.credit(BURN), 0.7 ether);
        assertEq(
            abi.encode(refutations.rewardOf(caseId)),
            abi.encode(IRefutations.Reward(first, uint48(since), uint48(since + 16), 0.3 ether))
        );
        assertEq(_refute(later), abi.encodeWithSelector(IRefutations.PostedTooLate.selector, caseId, since, since - 1));
        vm.roll(since + 16);
        vm.expectRevert(abi.encodeWithSelector(IRefutations.RewardStillWaits.selector, caseId, since + 16));
        refutations.pay(caseId);
        uint256 start = vm.snapshotState();
        assertEq(_refute(older), "");
        vm.roll(since + 17);
        refutations.pay(caseId);
        assertEq(oracle.credit(older), 0.3 ether);
        vm.expectRevert(abi.encodeWithSelector(IRefutations.NothingToPay.selector, caseId));
        refutations.pay(caseId);
        vm.revertToState(start);
        vm.roll(since + 17);
        assertEq(_refute(older), abi.encodeWithSelector(IDisputeGame.AnswerDead.selector, caseId));
        refutations.pay(caseId);
        assertEq(oracle.credit(first), 0.3 ether);
    }

    /// @dev Whatever the contract had before: only what the kill brought it waits.
    function test_refute__contract_had_credit_before__reward_is_what_the_answer_s_bond_brought() external {
        vm.deal(address(this), 1 ether);
        oracle.deposit{value: 1 ether}(address(refutations));
        address refuter = makeAddr("refuter");
        assertEq(_refute(refuter), "");
        assertEq(refutations.rewardOf(caseId).amountWei, 0.3 ether);
        vm.roll(vm.getBlockNumber() + 17);
        refutations.pay(caseId);
        assertEq(oracle.credit(refuter), 0.3 ether);
        assertEq(oracle.credit(address(refutations)), 1 ether);
    }

    function test_refute__hash_of_sixteen_blocks__is_paid_at_once() external {
        address refuter = makeAddr("refuter");
        uint256 since = vm.getBlockNumber();
        _post(refuter);
        vm.roll(since + 1);
        _post(refuter); // changes nothing
        vm.roll(since + 15);
        uint256 start = vm.snapshotState();
        assertEq(_refute(refuter), "");
        assertEq(oracle.credit(refuter), 0);
        vm.revertToState(start);
        vm.roll(since + 16);
        challenge(FIRST, BOND);
        assertEq(_refute(refuter), "");
        assertEq(oracle.credit(refuter), 0.3 ether);
        assertEq(oracle.credit(BURN), 0.7 ether);
        assertEq(refutations.rewardOf(caseId).amountWei, 0);
        assertEq(game.backlogOf(service, seat), 0);
    }
}
