// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ServiceStore} from "../../contracts/ServiceStore.sol";
import {IArbiter} from "../../contracts/interfaces/IArbiter.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {RequestLib} from "../../contracts/libraries/RequestLib.sol";
import {Ledger} from "./Ledger.sol";

/// @title What a request escrows is what its end credits: fee, callback, bond.
/// @dev Amounts, gas, tokens, prices, fines, statuses and histories of seats are symbols. What moves no money is fixed: the
/// time, hashes, how many turns were missed, and which accounts are the same: none, unless a check says so.
contract RequestConservation is Ledger {
    using RequestLib for IOracle.Request;
    using RequestLib for IOracle.Answer;

    uint256 internal constant NOW = 1_800_000_000;
    uint256 internal constant BLOCK = 1_000_000;
    uint256 internal constant TURN = 60;
    address internal constant STRANGER = address(0xbee);

    function setUp() public virtual override {
        super.setUp();
        vm.warp(NOW);
        vm.roll(BLOCK);
    }

    /* WHAT A REQUEST HOLDS */

    /// @dev Fields of `rules` and `money` that are money, or become it.
    struct Held {
        uint24 maxTokens;
        uint32 callbackGas;
        uint64 callbackGasPriceWei;
        uint96 feeWei;
        uint64 tokenPriceWei;
        uint72 bondWei;
    }

    function _request(Held memory held, address payer, uint256 deadline, uint16 seats)
        internal
        view
        returns (IOracle.Request memory req)
    {
        IOracle.Params memory params;
        (params.maxTokens, params.callbackGas, params.callbackGasPriceWei) =
        (held.maxTokens, held.callbackGas, held.callbackGasPriceWei);
        req.service = SERVICE;
        req.head = RequestLib.packHead(payer, uint48(deadline), uint48(BLOCK - 100));
        req.rules = this.packed(params, uint24(TURN), 1, seats);
        req.money = RequestLib.packMoney(held.feeWei, held.tokenPriceWei, held.bondWei, 0);
    }

    function packed(IOracle.Params calldata params, uint24 turnSeconds, uint24 windowSeconds, uint16 seats)
        external
        pure
        returns (uint256)
    {
        return RequestLib.packRules(params, turnSeconds, windowSeconds, seats);
    }

    function _callbackWei(Held memory held) internal view returns (uint256) {
        return held.callbackGas == 0
            ? 0
            : (uint256(held.callbackGas) + books.CALLBACK_OVERHEAD_GAS()) * held.callbackGasPriceWei;
    }
}

/// @title Asking: the ether that comes with a request is what the request says it escrows.
contract AskingConservation is RequestConservation {
    using RequestLib for IOracle.Request;

    function check_request(
        address payer,
        ServiceStore.Service memory service,
        IOracle.Params memory params,
        uint256 amountWei
    ) external {
        vm.assume(payer != address(books));
        books.setService(SERVICE, service);
        vm.deal(payer, amountWei);
        bytes memory prompt = "?";
        vm.prank(payer);
        books.request{value: amountWei}(SERVICE, prompt, params);

        uint256 feeWei = uint256(service.prices.baseWei) + service.prices.byteWei + uint256(service.prices.tokenWei)
            * params.maxTokens;
        IOracle.Request memory req = IOracle.Request({
            service: SERVICE,
            promptHash: keccak256(prompt),
            head: RequestLib.packHead(payer, params.deadline, uint48(BLOCK)),
            rules: this.packed(params, service.rules.turnSeconds, service.rules.windowSeconds, service.rules.seatCount),
            money: RequestLib.packMoney(
                uint96(feeWei), service.prices.tokenWei, service.rules.bondWei, params.valueFinney
            )
        });
        assertEq(uint256(books.statusOf(req.id())), uint256(IOracle.Status.Open));
        uint256 callbackWei = params.callbackGas == 0
            ? 0
            : (uint256(params.callbackGas) + books.CALLBACK_OVERHEAD_GAS()) * params.callbackGasPriceWei;
        assertEq(amountWei, uint96(req.money) + callbackWei);
    }
}

/// @title The answer stands: bond, fee and callback go to the seat, the caller and the payer, and nobody gets more.
contract SettlingConservation is RequestConservation {
    uint16 private constant SEAT = 3;

    struct Settled {
        Held held;
        uint24 tokenCount;
        ServiceStore.SeatState seat;
        uint256[3] creditsWei;
    }

    /// @param alike whether payer, caller and the seat's owner are one account; else each is another.
    function _settled(Settled memory given, bool byOperator, bool leaves, bool alike)
        private
        returns (uint256 creditedWei)
    {
        address payer = _cast(0, given.creditsWei[0]);
        address caller = _cast(alike ? 0 : 1, given.creditsWei[1]);
        given.seat.owner = _cast(alike ? 0 : 2, given.creditsWei[2]);
        given.seat.money.operator = byOperator ? caller : STRANGER;
        books.setSeat(SERVICE, SEAT, given.seat);
        IOracle.Request memory req = _request(given.held, payer, NOW - 2, 1);
        IOracle.Answer memory ans;
        ans.head = RequestLib.packAnswerHead(0, SEAT, uint48(NOW - 1), given.tokenCount);
        ans.outputHash = keccak256("");
        books.setAnswered(req, ans, IOracle.Status.Answered, 0);
        uint256 beforeWei = _creditsWei() + given.seat.money.balanceWei;
        IOracle.Item[] memory items = new IOracle.Item[](1);
        items[0] = IOracle.Item(req, ans, "");
        vm.prank(caller);
        if (leaves) books.leaveCallbacks(items);
        else books.finalize(items);
        return _creditsWei() + _seatWei(SEAT) - beforeWei;
    }

    function _finalized(Settled memory given, bool byOperator, bool alike) private {
        uint256 creditedWei = _settled(given, byOperator, false, alike);
        assertEq(creditedWei, uint256(given.held.bondWei) + given.held.feeWei + _callbackWei(given.held));
    }

    function check_finalize(Settled memory given) external {
        _finalized(given, false, false);
    }

    function check_finalizeForOneself(Settled memory given) external {
        _finalized(given, false, true);
    }

    function check_finalizeByOperator(Settled memory given) external {
        _finalized(given, true, false);
    }

    /// @dev The same, but what the callback escrowed stays.
    function check_leaveCallbacks(Settled memory given) external {
        vm.assume(given.held.callbackGas != 0);
        uint256 creditedWei = _settled(given, true, true, false);
        assertEq(creditedWei, uint256(given.held.bondWei) + given.held.feeWei);
    }
}

/// @title A payer that takes every callback.
contract Taker {
    function onAnswer(uint256, bytes calldata) external {}
}

/// @title A callback that was left is paid once: to whoever delivers it, or back to the payer.
contract LeavingConservation is RequestConservation {
    Taker private _taker;

    function setUp() public override {
        super.setUp();
        _taker = new Taker();
    }

    /// @param closesAt of the answer: so all calls are in time, or too late, or retrying has ended.
    function _left(Held memory held, uint48 closesAt, uint256[2] memory creditsWei, bool[3] memory reclaims) private {
        held.callbackGas = 100_000;
        IOracle.Request memory req = _request(held, address(_taker), NOW - 2, 1);
        IOracle.Answer memory ans;
        ans.head = RequestLib.packAnswerHead(0, 0, closesAt, 1);
        ans.outputHash = keccak256("");
        books.setAnswered(req, ans, IOracle.Status.Undelivered, RequestLib.LEFT);
        _account(address(_taker), creditsWei[0]);
        address caller = _cast(1, creditsWei[1]);
        uint256 beforeWei = _creditsWei();
        IOracle.Item memory item = IOracle.Item(req, ans, "");
        uint256 paid;
        for (uint256 i; i < reclaims.length; ++i) {
            vm.prank(caller);
            if (reclaims[i]) {
                try books.reclaim(req, ans) {
                    ++paid;
                } catch {}
            } else {
                try books.retryCallback(item, 100_000) {
                    paid = 1;
                } catch {}
            }
        }
        assertEq(_creditsWei() - beforeWei, paid == 0 ? 0 : _callbackWei(held));
        assertLe(paid, 1);
    }

    function check_leftAndDelivered(Held memory held, uint256[2] memory creditsWei, bool[3] memory reclaims) external {
        _left(held, uint48(NOW - 1), creditsWei, reclaims);
    }

    function check_leftAndReclaimed(Held memory held, uint256[2] memory creditsWei, bool[3] memory reclaims) external {
        _left(held, uint48(NOW - 31 days), creditsWei, reclaims);
    }
}

/// @title No answer, or a late one. Two seats; whichever of them is in turn may be fined, and is suspended when it is drained.
contract MissingConservation is RequestConservation {
    using RequestLib for IOracle.Request;

    struct Missed {
        Held held;
        uint64 baseWei;
        uint72 missPenaltyWei;
        ServiceStore.SeatMoney[2] seats;
        uint48[2] readyAt;
        uint256[4] creditsWei;
    }

    /// @param turns that have passed. seatCount: 1 or 2 of the seats are drawn.
    function _open(Missed memory given, uint256 payerRole, uint256 turns, uint16 seatCount, uint256 deadline)
        private
        returns (IOracle.Request memory req, address payer)
    {
        ServiceStore.Service memory service;
        service.prices.baseWei = given.baseWei;
        service.missPenaltyWei = given.missPenaltyWei;
        service.rules.bondWei = given.held.bondWei;
        (service.rules.seatCount, service.rules.ownerCount) = (seatCount, seatCount);
        books.setService(SERVICE, service);
        for (uint16 i; i < seatCount; ++i) {
            address owner = _cast(i, given.creditsWei[i]);
            books.setSeat(SERVICE, i, ServiceStore.SeatState(given.seats[i], owner, given.readyAt[i], i, 0));
            books.setActive(SERVICE, owner, 2);
        }
        payer = _cast(payerRole, given.creditsWei[2]);
        _account(BURN, given.creditsWei[3]);
        req = _request(given.held, payer, deadline, seatCount);
        books.setOpen(req, uint48(NOW - turns * TURN - 1), uint48(BLOCK - 100));
    }

    function _heldWei() private view returns (uint256) {
        return _creditsWei() + _seatWei(0) + _seatWei(1);
    }

    function _refunded(Missed memory given, uint256 turns, uint16 seatCount) private {
        (IOracle.Request memory req,) = _open(given, 2, turns, seatCount, NOW - 1);
        uint256 beforeWei = _heldWei();
        books.refund(req);
        assertEq(_heldWei(), beforeWei + given.held.feeWei + _callbackWei(given.held));
    }

    function check_refund(Missed memory given) external {
        _refunded(given, 0, 1);
    }

    function check_refundAfterOneTurn(Missed memory given) external {
        _refunded(given, 1, 2);
    }

    function check_refundAfterTwoTurns(Missed memory given) external {
        _refunded(given, 2, 1);
    }

    function check_cancel(Missed memory given) external {
        _cancelled(given, 2);
    }

    function check_cancelByTheSeat(Missed memory given) external {
        _cancelled(given, 0);
    }

    /// @param payerRole 0: the owner of the seat in turn pays.
    function _cancelled(Missed memory given, uint256 payerRole) private {
        (IOracle.Request memory req, address payer) = _open(given, payerRole, 1, 1, NOW + 1);
        uint256 beforeWei = _heldWei();
        vm.prank(payer);
        books.cancel(req);
        assertEq(_heldWei(), beforeWei + given.held.feeWei + _callbackWei(given.held));
    }

    /// @dev An answer takes its bond out of the books until its end, and nothing else; fines for turns missed are burnt.
    function _answered(Missed memory given, uint24 tokenCount, uint256 turns, uint16 seatCount) private {
        given.seats[seatCount - 1].operator = STRANGER;
        (IOracle.Request memory req,) = _open(given, 2, turns, seatCount, NOW + 1);
        uint256 beforeWei = _heldWei();
        vm.prank(STRANGER);
        books.answer(req, "", tokenCount, 0, blockhash(BLOCK - 98));
        assertEq(_heldWei() + given.held.bondWei, beforeWei);
    }

    function check_answer(Missed memory given, uint24 tokenCount) external {
        _answered(given, tokenCount, 0, 1);
    }

    function check_answerAfterOneTurn(Missed memory given, uint24 tokenCount) external {
        _answered(given, tokenCount, 1, 2);
    }
}

/// @title Rulings: a bond that was ruled on, and what the arbiter brought, are paid out, burnt or given back; an upheld
/// answer's bond stays.
contract RulingConservation is RequestConservation {
    address private constant ARBITER = address(0xa7b17e7);
    uint16 private constant SEAT = 1;

    struct Ruled {
        uint72 bondWei;
        uint72 slashWei;
        uint96[2] amountsWei;
        uint96 broughtWei;
        ServiceStore.SeatMoney seat;
        uint256[4] creditsWei;
    }

    function _ruled(Ruled memory given, IOracle.Ruling ruling) private {
        ServiceStore.Service memory service;
        service.arbiter = IArbiter(ARBITER);
        service.rules.bondWei = given.bondWei;
        (service.rules.seatCount, service.rules.ownerCount) = (2, 2);
        books.setService(SERVICE, service);
        _account(BURN, given.creditsWei[3]); // the first role
        IOracle.Payout[] memory payouts = new IOracle.Payout[](2);
        for (uint256 i; i < 2; ++i) {
            payouts[i] = IOracle.Payout(_cast(i + 1, given.creditsWei[i]), given.amountsWei[i]);
        }
        address owner = _cast(3, given.creditsWei[2]);
        books.setSeat(SERVICE, SEAT, ServiceStore.SeatState(given.seat, owner, 0, SEAT, 0));
        books.setActive(SERVICE, owner, 2);
        Held memory held;
        held.bondWei = given.bondWei;
        IOracle.Request memory req = _request(held, STRANGER, NOW + 1, 2);
        IOracle.Answer memory ans;
        ans.head = RequestLib.packAnswerHead(0, SEAT, uint48(NOW), 1);
        books.setAnswered(req, ans, IOracle.Status.Disputed, 0);
        uint256 beforeWei = _creditsWei() + given.seat.balanceWei;
        vm.deal(ARBITER, given.broughtWei);
        vm.prank(ARBITER);
        books.rule{value: given.broughtWei}(req, ans, ruling, given.slashWei, payouts);
        uint256 freedWei = ruling == IOracle.Ruling.Upheld ? 0 : given.bondWei;
        assertEq(_creditsWei() + _seatWei(SEAT), beforeWei + given.broughtWei + freedWei);
    }

    function check_upheld(Ruled memory given) external {
        _ruled(given, IOracle.Ruling.Upheld);
    }

    function check_rejected(Ruled memory given) external {
        _ruled(given, IOracle.Ruling.Rejected);
    }

    function check_annulled(Ruled memory given) external {
        _ruled(given, IOracle.Ruling.Annulled);
    }
}
