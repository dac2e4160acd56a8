// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {BURN} from "../../contracts/interfaces/ICredits.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IPanelArbiter} from "../../contracts/interfaces/IPanelArbiter.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {Coalition} from "./Coalition.t.sol";
import {OracleInvariants} from "./Oracle.t.sol";
import {Plays} from "./Plays.sol";
import {RequestProperties} from "./Requests.t.sol";
import {Twins} from "./Twins.t.sol";
import {World} from "./World.sol";

/// @title Lives of the panel's service: random deeds, each followed by all that must hold, up to the end of everything.
contract PanelLives is OracleInvariants {
    uint256 private constant DEEDS = 70;

    function live(uint256 seed) external {
        for (uint256 n; n < DEEDS; ++n) {
            _deed(uint256(keccak256(abi.encode(seed, n))));
            _balanceCoversExactlyWhatIsOwed();
            if (n % 10 > 0) continue;
            _requestDrawsWhomItDrewWhenItWasMade();
            _drawIsTheListOfActiveSeats();
            _finalAnswerNeverChanges();
            _honestNodeIsNeverSlashed();
            _locksAreOpenAnswersAndPanelDuties();
        }
        this.afterInvariant();
    }

    function _deed(uint256 draw) private {
        uint256 deed = draw % 19;
        (uint256 a, uint256 b, bool c, bool d) = (draw >> 16, draw >> 80, draw >> 144 & 1 == 1, draw >> 145 & 3 == 0);
        if (deed < 3) handler.ask(a, uint24(b), b >> 24, uint32(b >> 32), c, d);
        else if (deed < 5) handler.answer(a, uint24(b), c);
        else if (deed == 5) handler.finalize(a, b, draw >> 146);
        else if (deed == 6) handler.cancel(a);
        else if (deed == 7) handler.refund(a);
        else if (deed == 8) handler.challenge(a, d);
        else if (deed == 9) handler.draw(a, uint8(b));
        else if (deed == 10) handler.decide(a);
        else if (deed == 11) handler.seats(uint16(a), b, uint72(draw >> 146));
        else if (deed == 12) handler.pass(a);
        else if (deed == 13) handler.withdraw(a, b);
        else if (deed == 14) handler.retry(a, b);
        else if (deed == 15) handler.misbehave(a, uint8(b));
        else if (deed == 16) handler.deposit(a, uint72(b));
        else if (deed == 17) c ? handler.leaveCallback(a) : handler.reclaim(a, d);
        else handler.attest(a, uint24(b), c, d);
    }
}

/// @title One case of three members: until when they vote, and what each end pays.
/// @dev Tests in Python hold the same on Anvil; here a run over changes repeats it in milliseconds.
contract Votes is World {
    uint256 private constant BOND = 0.1 ether;

    IOracle.Request private req;
    IOracle.Answer private ans;
    IPanelArbiter.CaseId private caseId;
    uint16[] private members;
    uint48 private commitEndsAt;
    address private challenger = makeAddr("challenger");
    address private payer = makeAddr("payer");

    function setUp() external {
        _deploy();
        vm.deal(payer, 1 ether);
        vm.deal(challenger, 1 ether);
        IOracle.Params memory params = _params(8, 0);
        (uint256 feeWei,,) = oracle.quote(service, 5, params);
        uint256 askedIn = vm.getBlockNumber();
        vm.recordLogs();
        vm.prank(payer);
        oracle.request{value: feeWei}(service, "Hello", params);
        (req,) = abi.decode(_event(vm.getRecordedLogs(), IOracle.RequestPosted.selector), (IOracle.Request, bytes));
        vm.roll(askedIn + 3);
        (, uint16 seat, address operator) = lens.turnOf(req);
        vm.prank(operator);
        oracle.answer(req, "yes", 2, 0, blockhash(askedIn + 2));
        (ans,) = abi.decode(_event(vm.getRecordedLogs(), IOracle.AnswerPosted.selector), (IOracle.Answer, bytes));
        this.expectBond(BOND - 1);
        this.expectBond(BOND + 1);
        vm.prank(challenger);
        caseId = panel.challenge{value: BOND}(req, ans);
        vm.roll(vm.getBlockNumber() + 2);
        vm.expectRevert(
            abi.encodeWithSelector(IPanelArbiter.NotYetDrawable.selector, caseId, uint48(vm.getBlockNumber()))
        );
        panel.draw(req, ans);
        vm.roll(vm.getBlockNumber() + 1);
        panel.draw(req, ans);
        members = panel.caseOf(caseId).members;
        commitEndsAt = panel.caseOf(caseId).commitEndsAt;
        assertEq(members.length, 3);
        assertEq(commitEndsAt, vm.getBlockTimestamp() + 100);
        for (uint256 i; i < 3; ++i) {
            assertNotEq(oracle.seatOf(service, members[i]).owner, oracle.seatOf(service, seat).owner);
            assertEq(oracle.seatOf(service, members[i]).locks, 1);
        }
    }

    function expectBond(uint256 givenWei) external {
        vm.expectRevert(abi.encodeWithSelector(IPanelArbiter.WrongChallengeBond.selector, BOND, givenWei));
        vm.prank(challenger);
        panel.challenge{value: givenWei}(req, ans);
    }

    function _commit(uint256 i, IPanelArbiter.Vote vote) private {
        bytes32 commitment = panel.commitmentOf(caseId, members[i], vote, "salt");
        address operator = oracle.operatorOf(service, members[i]);
        vm.prank(operator);
        panel.commit(caseId, members[i], commitment);
    }

    function _reveal(uint256 i, IPanelArbiter.Vote vote) private {
        panel.reveal(caseId, members[i], vote, "salt");
    }

    /// @dev Votes in the last seconds of their time.
    function _voted(IPanelArbiter.Vote[3] memory votes) private {
        vm.warp(commitEndsAt + 1);
        address operator = oracle.operatorOf(service, members[0]);
        vm.expectRevert(abi.encodeWithSelector(IPanelArbiter.CommitClosed.selector, caseId, commitEndsAt));
        vm.prank(operator);
        panel.commit(caseId, members[0], "x");
        vm.warp(commitEndsAt);
        vm.expectRevert(abi.encodeWithSelector(IPanelArbiter.NotMember.selector, caseId, members[0], challenger));
        vm.prank(challenger);
        panel.commit(caseId, members[0], "x");
        uint16 another = _outsider();
        operator = oracle.operatorOf(service, another);
        vm.expectRevert(abi.encodeWithSelector(IPanelArbiter.NotMember.selector, caseId, another, operator));
        vm.prank(operator);
        panel.commit(caseId, another, "x");
        bool all = true;
        for (uint256 i; i < 3; ++i) {
            if (votes[i] != IPanelArbiter.Vote.None) _commit(i, votes[i]);
            else all = false;
        }
        uint48 closesAt = commitEndsAt + 100;
        bytes memory closed =
            abi.encodeWithSelector(IPanelArbiter.RevealNotOpen.selector, caseId, commitEndsAt + 1, closesAt);
        vm.expectRevert(closed);
        panel.reveal(caseId, members[0], votes[0], "salt");
        vm.warp(closesAt + 1);
        vm.expectRevert(closed);
        panel.reveal(caseId, members[0], votes[0], "salt");
        vm.warp(commitEndsAt + 1);
        _reveal(0, votes[0]);
        vm.warp(closesAt);
        for (uint256 i = 1; i < 3; ++i) {
            if (votes[i] != IPanelArbiter.Vote.None) _reveal(i, votes[i]);
        }
        if (!all) {
            vm.expectRevert(abi.encodeWithSelector(IPanelArbiter.VotesOutstanding.selector, caseId, closesAt));
            panel.decide(req, ans);
            vm.warp(closesAt + 1);
        }
        _decided(votes);
        for (uint256 i; i < 3; ++i) {
            IServices.Seat memory seat = oracle.seatOf(service, members[i]);
            bool voted = votes[i] != IPanelArbiter.Vote.None;
            assertEq(seat.locks, 0);
            assertEq(seat.balanceWei, voted ? 10 ether : 9.99 ether);
            assertEq(oracle.credit(seat.owner), voted ? 0.01 ether : 0);
        }
        assertEq(address(panel).balance, 0);
    }

    /// @dev A seat that is on no panel.
    function _outsider() private view returns (uint16 seat) {
        while (seat == members[0] || seat == members[1] || seat == members[2]) ++seat;
    }

    /// @dev The ruling, and how many say so.
    function _decided(IPanelArbiter.Vote[3] memory votes) private {
        uint256[3] memory counts;
        for (uint256 i; i < 3; ++i) {
            ++counts[uint256(votes[i])];
        }
        (uint256 right, uint256 wrong) =
            (counts[uint256(IPanelArbiter.Vote.Right)], counts[uint256(IPanelArbiter.Vote.Wrong)]);
        IOracle.Ruling ruling = right == wrong
            ? IOracle.Ruling.Annulled
            : right > wrong ? IOracle.Ruling.Upheld : IOracle.Ruling.Rejected;
        vm.expectEmit(address(panel));
        emit IPanelArbiter.CaseDecided(caseId, ruling, right, wrong);
        panel.decide(req, ans);
    }

    function _ended(uint256 challengerWei, uint256 burntWei, uint256 lostWei, IOracle.Status status) private view {
        assertEq(oracle.credit(challenger), challengerWei);
        assertEq(oracle.credit(BURN), burntWei);
        uint256 seatWei = oracle.seatOf(service, lens.unpackAnswer(ans).seat).balanceWei;
        assertEq(seatWei, (status == IOracle.Status.Answered ? 9 ether : 10 ether) - lostWei);
        assertEq(uint8(oracle.statusOf(lens.idOf(req))), uint8(status));
    }

    function test_decide__two_of_three_against__rejects() external {
        _voted([IPanelArbiter.Vote.Wrong, IPanelArbiter.Vote.Right, IPanelArbiter.Vote.Wrong]);
        _ended(BOND + 0.5 ether - 0.03 ether, 0.5 ether, 1 ether, IOracle.Status.Open);
    }

    function test_decide__two_of_three_for__upholds() external {
        _voted([IPanelArbiter.Vote.Right, IPanelArbiter.Vote.Right, IPanelArbiter.Vote.Wrong]);
        _ended(0, BOND - 0.03 ether, 0, IOracle.Status.Answered);
    }

    function test_decide__tie_with_one_absent__annuls() external {
        _voted([IPanelArbiter.Vote.Right, IPanelArbiter.Vote.None, IPanelArbiter.Vote.Wrong]);
        _ended(BOND - 0.01 ether, 0.01 ether, 0.01 ether, IOracle.Status.Open);
    }

    function test_decide__one_alone_against__rejects() external {
        _voted([IPanelArbiter.Vote.Wrong, IPanelArbiter.Vote.None, IPanelArbiter.Vote.None]);
        _ended(BOND + 0.5 ether - 0.01 ether, 0.52 ether, 1 ether, IOracle.Status.Open);
    }
}

/// @title What is played on the oracle's ledger and on panels.
contract LedgerPlays is Plays {
    function setUp() external {
        _refusals();
        _turns();
        _rounds();
        _seatMoney();
        _places();
        _callbacks();
        _votes();
        _requests();
        _test(
            "Oracle.t.sol:OracleInvariants",
            abi.encodeCall(OracleInvariants.test_handler__plays_lives_to_their_ends, ())
        );
        for (uint256 i = 1; i < 7; ++i) {
            _twins(i);
            _panel(i);
        }
        _coalition();
    }

    function _panel(uint256 seed) private {
        _add("the panel's life", "LedgerPlays.t.sol:PanelLives", abi.encodeCall(PanelLives.live, (seed)));
    }

    function _twins(uint256 seed) private {
        _test("Twins.t.sol:Twins", abi.encodeCall(Twins.testFuzz_mock__any_calls__does_what_the_oracle_does, (seed)));
    }

    function _coalition() private {
        string memory coalition = "Coalition.t.sol:Coalition";
        for (uint256 i; i < 3; ++i) {
            uint16 members = [uint16(0x0f), 0x100, 0x1a5][i];
            _test(
                coalition,
                abi.encodeCall(
                    Coalition.testFuzz_coalition__any_askers_and_seats__others_lose_at_most_what_it_loses, (members, i)
                )
            );
        }
    }

    function _requests() private {
        string memory requests = "Requests.t.sol:RequestProperties";
        uint48 far = type(uint48).max;
        _test(
            requests,
            abi.encodeCall(
                RequestProperties.testFuzz_request__any_parameters__unpack_as_given,
                (40, 0xa1b2c3d4, 0xe5f60718, 1_800_000_700, 0x293a4b, 99)
            )
        );
        _test(
            requests,
            abi.encodeCall(RequestProperties.testFuzz_request__any_parameters__unpack_as_given, (1, 0, 0, far, 0, 1))
        );
        for (uint48 i; i < 2; ++i) {
            uint48 deadline = 1_800_000_600 + i * 600; // the first that is taken, and the last
            _test(
                requests,
                abi.encodeCall(
                    RequestProperties.testFuzz_request__any_parameters__unpack_as_given, (1, 0, 0, deadline, 0, 1)
                )
            );
        }
        _test(requests, abi.encodeCall(RequestProperties.testFuzz_request__any_other_payment__is_refused, (12)));
        _test(requests, abi.encodeCall(RequestProperties.testFuzz_request__any_other_payment__is_refused, (1 ether)));
        for (uint256 word; word < 5; ++word) {
            _test(
                requests,
                abi.encodeCall(
                    RequestProperties.testFuzz_answer__any_changed_word_of_the_request__is_another_request,
                    (word, uint8(40 * word))
                )
            );
        }
        for (uint256 elapsed; elapsed < 3; ++elapsed) {
            _test(
                requests,
                abi.encodeCall(
                    RequestProperties.testFuzz_turns__any_time__one_seat_in_range_is_entitled, (elapsed * 119)
                )
            );
        }
        _test(
            requests,
            abi.encodeCall(
                RequestProperties.testFuzz_answer_head__any_fields__unpack_as_packed,
                (0xa1b2c3d4, 0xe5f6, 0xa7b8c9dae1f2, 0x293a4b)
            )
        );
        _test(
            requests,
            abi.encodeCall(RequestProperties.test_seed__block_8191_back__still_answers__8192_back__is_forgotten, ())
        );
    }

    function _turns() private {
        string[20] memory names = [
            "dispute_and_rule__another_answer_than_the_one_posted__is_refused",
            "answer__anybody_but_the_operator__is_refused",
            "answer__as_many_open_as_a_byte_counts__the_next_waits_for_one_to_end",
            "refund__ten_turns_missed__fines_stop_at_half_the_base_price_and_the_payer_gives_up_as_much",
            "refund__deadline_in_the_second_turn__costs_the_first",
            "refund__private_prompt__nobody_loses_anything",
            "refund__seat_leaves__is_not_fined",
            "refund__seat_was_given_up_and_taken_anew_since__its_new_owner_is_not_fined",
            "refund__turns_of_an_hour__cost_nothing_if_the_chain_may_have_stood_still_for_one",
            "refund__asked_in_the_second_the_seat_was_activated__its_first_turn_counts",
            "refund__fine_takes_of_the_last_bond__seat_leaves_the_draw",
            "rule__last_bond_is_slashed__seat_leaves_the_draw",
            "refund__no_bond_is_free__nothing_is_answered_nor_fined",
            "refund__bond_came_back_meanwhile__turns_before_cost_nothing",
            "refund__chain_may_have_stood_still_for_a_turn__nobody_loses_anything",
            "answer__its_own_turns_were_missed__costs_the_bond_alone",
            "answer__last_second__is_taken_and_a_second_later_refused",
            "rule__rejected__pays_at_most_half_and_what_the_arbiter_brings",
            "rule__annulled__may_pay_all_of_it",
            "rule__upheld__slashes_nothing_and_the_answer_stands"
        ];
        for (uint256 i; i < names.length; ++i) {
            _named("Turns.t.sol:Turns", names[i]);
        }
    }

    function _rounds() private {
        string[6] memory names = [
            "rule__annulled__the_turns_after_it_begin_with_the_ruling",
            "answer__first_turn_after_a_ruling__costs_nobody_but_the_answerer_s_bond",
            "answer__turns_missed_after_a_ruling__their_seats_are_fined_and_the_answerer_gives_up_as_much",
            "refund__chain_may_have_stood_still_since_the_ruling__nobody_loses_anything",
            "refund__ruling_around_the_deadline__costs_the_turns_that_ended_between",
            "refund__seat_was_short_until_the_ruling__its_first_turn_costs_nothing"
        ];
        for (uint256 i; i < names.length; ++i) {
            _named("Rounds.t.sol:Rounds", names[i]);
        }
    }

    function _seatMoney() private {
        string[7] memory names = [
            "finalize__one_token_of_one_wei_is_unused__goes_back_to_the_payer",
            "cancel__seat_was_given_up_since__all_goes_back_to_the_payer",
            "finalize__seat_is_full__pays_its_owner_what_does_not_fit",
            "rule__seat_is_full__its_owner_gets_the_bond_back",
            "cancel__seat_is_full__pays_its_owner_what_does_not_fit",
            "exit__duties_and_answers_are_open__waits_for_every_one_of_them",
            "unlockSeat__fine_takes_all_beside_an_open_answer__seat_stays_in_the_draw"
        ];
        for (uint256 i; i < names.length; ++i) {
            _named("SeatMoney.t.sol:SeatMoney", names[i]);
        }
    }

    function _places() private {
        string[4] memory names = [
            "answer__seats_went_and_came__the_bond_is_of_whoever_stood_there_at_the_request",
            "seatAt__place_changes_twice_in_a_block__later_requests_draw_the_last",
            "join__seat_taken_anew__has_its_own_money_and_answers_for_its_own_place_alone",
            "join__several_were_given_up__the_last_of_them_is_taken_first"
        ];
        for (uint256 i; i < names.length; ++i) {
            _named("Places.t.sol:Places", names[i]);
        }
    }

    function _votes() private {
        string[4] memory ends = [
            "two_of_three_against__rejects",
            "two_of_three_for__upholds",
            "tie_with_one_absent__annuls",
            "one_alone_against__rejects"
        ];
        for (uint256 i; i < ends.length; ++i) {
            _named("LedgerPlays.t.sol:Votes", string.concat("decide__", ends[i]));
        }
        string[4] memory members = [
            "seat_holds_just_the_fine_for_absence__serves_and_with_a_wei_less_does_not",
            "seat_was_given_up_or_taken_anew_since_the_request__does_not_serve",
            "challenger_owns_or_operates_a_seat__it_does_not_serve",
            "seats_of_one_owner_and_of_who_answered__one_serves_and_none"
        ];
        for (uint256 i; i < members.length; ++i) {
            _named("PanelMembers.t.sol:PanelMembers", string.concat("draw__", members[i]));
        }
    }

    function _callbacks() private {
        string[8] memory names = [
            "finalize__by_the_operator__pays_its_seat_for_the_callback_as_well",
            "finalize__callback_of_one_gas__is_made_fails_and_can_be_repeated",
            "request__callback_to_an_account_without_code__is_refused_however_little_gas_it_gets",
            "leave__last_second_half_way_through_retrying__is_taken_and_a_second_later_refused",
            "finalize__window_s_last_second__is_skipped_and_a_second_later_pays",
            "retry__left__pays_who_delivers_once_and_until_the_last_second",
            "retry__tried_and_failed__pays_nobody_and_is_never_reclaimed",
            "reclaim__a_second_after_the_last_retry__returns_the_price_to_the_payer_once"
        ];
        for (uint256 i; i < names.length; ++i) {
            _named("Callbacks.t.sol:Callbacks", names[i]);
        }
    }

    function _refusals() private {
        string[20] memory ledger = [
            "createService__times_at_their_borders__are_taken_and_beyond_refused",
            "createService__sums_at_their_borders__are_taken_and_beyond_refused",
            "quote__fee_at_its_border__is_told_and_beyond_refused",
            "createService__unknown_model_or_known_terms__are_refused",
            "createService__without_attester__asks_none",
            "createService__panel_at_its_borders__is_taken_and_beyond_refused",
            "createService__panel_s_times_at_their_borders__are_taken_and_beyond_refused",
            "adopt__anybody_but_the_oracle__is_refused",
            "join__deposits_at_their_borders__are_kept_and_beyond_refused",
            "activate__one_second_early_or_twice__is_refused",
            "counts__seats_of_one_owner__are_one_owner",
            "exit__early_or_locked_or_another_s__is_refused_and_then_pays_the_owner_once",
            "withdrawFromSeat__down_to_the_deposit__is_credited_and_a_wei_more_refused",
            "setOperator__another_s_seat__is_refused",
            "locks__joining_seat_or_another_s_arbiter__are_refused",
            "fine__any_amount__is_burnt_up_to_the_balance_and_a_drained_seat_leaves_the_draw",
            "unlockSeat__no_fine__says_nothing_of_one",
            "topUp__suspended_seat__is_drawn_again_once_it_has_a_bond",
            "withdraw__a_wei_more_than_credited_or_to_who_takes_none__is_refused",
            "burn__what_was_fined__leaves_once"
        ];
        for (uint256 i; i < ledger.length; ++i) {
            _named("Refusals.t.sol:Refusals", ledger[i]);
        }
    }
}
