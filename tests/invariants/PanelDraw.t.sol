// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IPanelArbiter} from "../../contracts/interfaces/IPanelArbiter.sol";
import {World} from "./World.sol";

/// @dev Of forge's cheats, one that its library does not declare.
interface Cooling {
    /// @notice Makes an account's storage cold, as a transaction finds it.
    function cool(address account) external;
}

/// @title One owner holds all seats but a few, and has moved them again and again: panels are drawn and decided all the same.
/// @dev A draw looks at seats in a random order until the panel is full, so at all of them where few owners may serve. Each
/// place of the draw has a history, which is searched.
contract PanelDraw is World {
    uint16 private constant MAX_SEATS = 512;
    uint256 private constant MAX_PANEL = 63;
    /// @dev EIP-7825, less what a transaction and its data cost.
    uint256 private constant MOST_GAS = (1 << 24) - 60_000;
    /// @dev How often the crowd takes all its seats and gives them up.
    uint256 private constant CYCLES = 24;

    address private crowd = makeAddr("crowd");
    address private payer = makeAddr("payer");
    uint256 private first;

    function setUp() external {
        _deploy();
        vm.deal(payer, 1_000 ether);
        vm.deal(crowd, 10_000 ether);
    }

    /// @dev The five honest owners serve on no panel here: the challenger operates their seats.
    function test_draw__of_seats_that_one_owner_has_moved_again_and_again__fits_one_transaction() external {
        first = SEATS;
        (IOracle.Request memory req, IOracle.Answer memory ans) = _answeredByTheCrowd();
        for (uint16 seat; seat < SEATS; ++seat) {
            vm.prank(owners[seat]);
            oracle.setOperator(service, seat, payer);
        }
        uint256 used = _drawn(req, ans);
        emit log_named_uint("gas of a draw that looks at every seat", used);
        assertLt(used, MOST_GAS);
    }

    function test_draw_and_decide__of_the_largest_panel__fit_one_transaction_each() external {
        _deployLargest();
        (IOracle.Request memory req, IOracle.Answer memory ans) = _answeredByTheCrowd();
        uint256 used = _drawn(req, ans);
        emit log_named_uint("gas of the draw of the largest panel", used);
        assertLt(used, MOST_GAS);
        IPanelArbiter.CaseId id = panel.caseIdOf(lens.idOf(req), 0);
        assertEq(panel.caseOf(id).members.length, MAX_PANEL);
        _pass(panelTerms.commitSeconds + panelTerms.revealSeconds + 1);
        _cool();
        uint256 before = gasleft();
        panel.decide(req, ans);
        used = before - gasleft();
        emit log_named_uint("gas of deciding without a vote", used);
        assertLt(used, MOST_GAS);
    }

    /// @dev A service of as many owners as its panel needs, and two more.
    function _deployLargest() private {
        first = MAX_PANEL + 2;
        panelTerms.panelSize = uint8(MAX_PANEL);
        panelTerms.voteFeeWei = 0.001 ether;
        terms.arbiterTerms = abi.encode(panelTerms);
        terms.minOwners = uint16(first);
        service = oracle.createService(terms);
        for (uint256 i; i < first; ++i) {
            _join(makeAddr(vm.toString(i)));
        }
        _pass(terms.lifetimeSeconds);
        for (uint256 seat; seat < first; ++seat) {
            oracle.activate(service, uint16(seat));
        }
    }

    /// @dev And challenged, after the crowd has moved its seats once more.
    function _answeredByTheCrowd() private returns (IOracle.Request memory req, IOracle.Answer memory ans) {
        _take();
        for (uint256 n; n < CYCLES; ++n) {
            _giveUp();
            _take();
        }
        assertEq(oracle.placesOf(service), MAX_SEATS);
        address operator;
        while (operator != crowd) {
            req = _request();
            (,, operator) = lens.turnOf(req);
        }
        vm.recordLogs();
        vm.prank(crowd);
        oracle.answer(req, "yes", 2, 0, blockhash(vm.getBlockNumber() - 1));
        (ans,) = abi.decode(_event(vm.getRecordedLogs(), IOracle.AnswerPosted.selector), (IOracle.Answer, bytes));
        _announce();
        vm.prank(payer);
        panel.challenge{value: panelTerms.challengeBondWei}(req, ans);
        vm.roll(vm.getBlockNumber() + 3);
    }

    function _drawn(IOracle.Request memory req, IOracle.Answer memory ans) private returns (uint256) {
        _cool();
        uint256 before = gasleft();
        panel.draw(req, ans);
        return before - gasleft();
    }

    function _cool() private {
        Cooling(address(vm)).cool(address(oracle));
        Cooling(address(vm)).cool(address(panel));
    }

    function _request() private returns (IOracle.Request memory req) {
        IOracle.Params memory params = _params(8, 0);
        (uint256 feeWei,,) = oracle.quote(service, 5, params);
        vm.recordLogs();
        vm.prank(payer);
        oracle.request{value: feeWei}(service, "Hello", params);
        (req,) = abi.decode(_event(vm.getRecordedLogs(), IOracle.RequestPosted.selector), (IOracle.Request, bytes));
        vm.roll(vm.getBlockNumber() + 3);
    }

    function _take() private {
        vm.startPrank(crowd);
        for (uint256 n = first; n < MAX_SEATS; ++n) {
            oracle.join{value: 2 ether}(service, crowd);
        }
        vm.stopPrank();
        _pass(terms.lifetimeSeconds);
        for (uint256 seat = first; seat < MAX_SEATS; ++seat) {
            oracle.activate(service, uint16(seat));
        }
    }

    /// @dev In the order of their numbers: so the seat in the last place takes the place of each that leaves.
    function _announce() private {
        vm.roll(vm.getBlockNumber() + 1);
        vm.startPrank(crowd);
        for (uint256 seat = first; seat < MAX_SEATS; ++seat) {
            oracle.announceExit(service, uint16(seat));
        }
        vm.stopPrank();
        vm.roll(vm.getBlockNumber() + 1);
    }

    function _giveUp() private {
        _announce();
        _pass(oracle.seatOf(service, uint16(first)).readyAt - vm.getBlockTimestamp());
        vm.startPrank(crowd);
        for (uint256 seat = first; seat < MAX_SEATS; ++seat) {
            oracle.exit(service, uint16(seat));
        }
        oracle.withdraw(payable(crowd), oracle.credit(crowd));
        vm.stopPrank();
    }

    function _pass(uint256 time) private {
        vm.warp(vm.getBlockTimestamp() + time);
        vm.roll(vm.getBlockNumber() + time / 12);
    }
}
