// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {BURN} from "../../contracts/interfaces/ICredits.sol";
import {RequestId} from "../../contracts/interfaces/Ids.sol";
import {ILens} from "../../contracts/interfaces/ILens.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IPanelArbiter} from "../../contracts/interfaces/IPanelArbiter.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {Hostile} from "../../contracts/mocks/Hostile.sol";
import {World} from "./World.sol";

/// @title Everybody who uses the oracle, doing things in any order.
/// @notice Honest owners answer rightly and vote in time, as their nodes would; the liar answers, challenges and votes as
/// the fuzzer likes; payers and consumers do what they can.
contract Handler is World {
    /// @dev Longer than a callback can be retried: 30 days, and what a seat waits for before it leaves.
    uint256 private constant RETRIED_SECONDS = 31 days;

    struct Ask {
        IOracle.Request request;
        IOracle.Answer answer;
        bytes output;
        bool honest;
        bool final_;
        bool reclaimed;
        uint16[] drawn;
    }

    Ask[] private _asks;
    Hostile[] public consumers;
    address[] public payers;

    /// @dev What an honest node lost to a ruling.
    uint256 public honestLossWei;
    uint256 public finalized;
    uint256 public rejected;
    uint256 public finedWei;

    mapping(uint256 ask => mapping(uint16 seat => IPanelArbiter.Vote)) private _ballots;

    constructor() {
        _deploy();
        for (uint256 i; i < 3; ++i) {
            consumers.push(new Hostile());
            payers.push(makeAddr(string.concat("payer ", vm.toString(i))));
        }
    }

    /* PAYERS */

    function ask(uint256 who, uint24 maxTokens, uint256 length, uint32 callbackGas, bool fromContract, bool isPrivate)
        external
    {
        (, uint16 ownerCount) = oracle.counts(service);
        if (ownerCount < terms.minOwners) return;
        maxTokens = uint24(bound(maxTokens, 1, terms.maxTokens));
        bytes memory prompt = new bytes(bound(length, 1, terms.maxPromptBytes));
        IOracle.Params memory params = _params(maxTokens, fromContract ? uint32(bound(callbackGas, 0, 300_000)) : 0);
        params.isPrivate = isPrivate;
        (uint256 feeWei, uint256 callbackWei,) = oracle.quote(service, prompt.length, params);
        uint256 value = feeWei + callbackWei;
        vm.recordLogs();
        if (fromContract) {
            vm.deal(address(this), value);
            consumers[who % 3].execute{value: value}(
                address(oracle), abi.encodeCall(IOracle.request, (service, prompt, params))
            );
        } else {
            address payer = payers[who % 3];
            vm.deal(payer, payer.balance + value);
            vm.prank(payer);
            oracle.request{value: value}(service, prompt, params);
        }
        (IOracle.Request memory request,) =
            abi.decode(_event(vm.getRecordedLogs(), IOracle.RequestPosted.selector), (IOracle.Request, bytes));
        IOracle.Answer memory none;
        _asks.push(Ask(request, none, "", false, false, false, _draws(request)));
        _blocks(3);
    }

    function cancel(uint256 i) external {
        (bool found, Ask storage a) = _pick(i, IOracle.Status.Open);
        if (!found) return;
        _as(a, abi.encodeCall(IOracle.cancel, (a.request)));
    }

    function refund(uint256 i) external {
        (bool found, Ask storage a) = _pick(i, IOracle.Status.Open);
        if (!found || vm.getBlockTimestamp() <= lens.unpackRequest(a.request).params.deadline) return;
        uint256 burnt = oracle.credit(BURN);
        uint256 seatsWei = _seatsWei();
        address payer = lens.unpackRequest(a.request).payer;
        uint256 escrowWei = _heldWei(a);
        uint256 creditWei = oracle.credit(payer);
        oracle.refund(a.request);
        _checkFines(seatsWei - _seatsWei(), escrowWei - (oracle.credit(payer) - creditWei), oracle.credit(BURN) - burnt);
    }

    function misbehave(uint256 who, uint8 deed) external {
        consumers[who % 3].set(Hostile.Deed(bound(deed, 0, uint8(Hostile.Deed.BurnGas))));
    }

    /* NODES */

    function answer(uint256 i, uint24 tokens, bool lie) external {
        (bool found, Ask storage a) = _pick(i, IOracle.Status.Open);
        if (!found) return;
        ILens.RequestFields memory fields = lens.unpackRequest(a.request);
        if (blockhash(fields.blockNumber + 2) == 0) return; // forge keeps 256 of them
        (, uint16 seat, address operator) = lens.turnOf(a.request);
        if (operator == address(0) || vm.getBlockTimestamp() > fields.params.deadline) return;
        if (oracle.seatOf(service, seat).balanceWei < terms.bondWei || fields.params.isPrivate) return;
        bool honest = seat < HONEST_OWNERS || !lie;
        a.output = honest ? bytes("truth") : bytes("lie");
        a.honest = honest;
        uint256 seatsWei = _seatsWei();
        uint256 burnt = oracle.credit(BURN);
        vm.recordLogs();
        vm.prank(operator);
        oracle.answer(
            a.request,
            a.output,
            uint24(bound(tokens, 1, fields.params.maxTokens)),
            bytes32(0),
            blockhash(fields.blockNumber + 2)
        );
        (a.answer,) = abi.decode(_event(vm.getRecordedLogs(), IOracle.AnswerPosted.selector), (IOracle.Answer, bytes));
        burnt = oracle.credit(BURN) - burnt;
        _checkFines(burnt / 2, seatsWei - _seatsWei() - terms.bondWei - burnt / 2, burnt);
    }

    /// @dev By a key inside a TEE: at once, and then for good; or with a window, like any other.
    function attest(uint256 i, uint24 tokens, bool atOnce, bool leaves) external {
        (bool found, Ask storage a) = _pick(i, IOracle.Status.Open);
        if (!found) return;
        ILens.RequestFields memory fields = lens.unpackRequest(a.request);
        if (blockhash(fields.blockNumber + 2) == 0) return; // forge keeps 256 of them
        (, uint16 seat, address operator) = lens.turnOf(a.request);
        if (operator == address(0) || vm.getBlockTimestamp() > fields.params.deadline) return;
        if (oracle.seatOf(service, seat).balanceWei < terms.bondWei) return;
        atOnce = atOnce || fields.params.isPrivate;
        (a.output, a.honest, a.final_) = ("truth", true, atOnce);
        vm.recordLogs();
        vm.prank(operator);
        oracle.answerAttested(
            a.request,
            a.output,
            uint24(bound(tokens, 1, fields.params.maxTokens)),
            bytes32(0),
            blockhash(fields.blockNumber + 2),
            atOnce ? bytes(hex"01") : bytes(hex"00"),
            leaves
        );
        (a.answer,) = abi.decode(_event(vm.getRecordedLogs(), IOracle.AnswerPosted.selector), (IOracle.Answer, bytes));
        if (atOnce) ++finalized;
    }

    function finalize(uint256 i, uint256 j, uint256 who) external {
        (bool found, Ask storage a) = _pick(i, IOracle.Status.Answered);
        if (!found || vm.getBlockTimestamp() <= lens.unpackAnswer(a.answer).closesAt) return;
        (bool another, Ask storage b) = _pick(j, IOracle.Status.Answered);
        IOracle.Item[] memory items = new IOracle.Item[](another ? 2 : 1);
        items[0] = IOracle.Item(a.request, a.answer, a.output);
        if (another) items[1] = IOracle.Item(b.request, b.answer, b.output);
        vm.prank(who % 2 == 0 ? payers[0] : owners[who % SEATS]);
        finalized += oracle.finalize(items);
        a.final_ = true;
        if (another && uint8(oracle.statusOf(lens.idOf(b.request))) >= uint8(IOracle.Status.Final)) b.final_ = true;
    }

    function leaveCallback(uint256 i) external {
        (bool found, Ask storage a) = _pick(i, IOracle.Status.Answered);
        uint256 closesAt = lens.unpackAnswer(a.answer).closesAt;
        if (!found || vm.getBlockTimestamp() <= closesAt || vm.getBlockTimestamp() > closesAt + 15 days) return;
        IOracle.Item[] memory items = new IOracle.Item[](1);
        items[0] = IOracle.Item(a.request, a.answer, a.output);
        vm.prank(oracle.seatOf(service, lens.unpackAnswer(a.answer).seat).operator);
        finalized += oracle.leaveCallbacks(items);
        a.final_ = true;
    }

    function reclaim(uint256 i, bool later) external {
        (bool found, Ask storage a) = _pick(i, IOracle.Status.Undelivered);
        if (!found) return;
        if (later) _passTo(lens.unpackAnswer(a.answer).closesAt + RETRIED_SECONDS);
        try oracle.reclaim(a.request, a.answer) {
            a.reclaimed = true;
        } catch {}
    }

    function retry(uint256 i, uint256 callbackGas) external {
        (bool found, Ask storage a) = _pick(i, IOracle.Status.Undelivered);
        if (!found) return;
        try oracle.retryCallback(IOracle.Item(a.request, a.answer, a.output), bound(callbackGas, 300_000, 1_000_000)) {}
            catch {}
    }

    function seats(uint16 seat, uint256 deed, uint72 amountWei) external {
        seat = uint16(bound(seat, 0, SEATS - 1));
        IServices.Seat memory state = oracle.seatOf(service, seat);
        deed %= 5;
        bool stays = _isDrawn(state.status) || state.status == IServices.SeatStatus.Suspended;
        if (deed == 0 && stays) {
            vm.prank(state.owner);
            oracle.announceExit(service, seat);
        } else if (deed == 1 && state.status == IServices.SeatStatus.Leaving) {
            if (vm.getBlockTimestamp() < state.readyAt || state.locks > 0) return;
            vm.prank(state.owner);
            oracle.exit(service, seat);
            _join(owners[seat]); // takes the seat just given up
        } else if (deed == 2 && state.status == IServices.SeatStatus.Joining && vm.getBlockTimestamp() >= state.readyAt)
        {
            oracle.activate(service, seat);
        } else if (deed == 3 && state.balanceWei > terms.seatWei) {
            vm.prank(state.owner);
            oracle.withdrawFromSeat(service, seat, uint72(bound(amountWei, 0, state.balanceWei - terms.seatWei)));
        } else if (deed == 4 && state.status != IServices.SeatStatus.Empty) {
            amountWei = uint72(bound(amountWei, 0, 3 ether));
            vm.deal(address(this), amountWei);
            oracle.topUp{value: amountWei}(service, seat);
        }
    }

    /* DISPUTES */

    function challenge(uint256 i, bool byLiar) external {
        (bool found, Ask storage a) = _pick(i, IOracle.Status.Answered);
        if (!found || vm.getBlockTimestamp() > lens.unpackAnswer(a.answer).closesAt) return;
        if (a.honest && !byLiar) return; // nobody honest challenges a right answer
        address challenger = byLiar ? owners[SEATS - 1] : payers[1];
        if (panel.caseOf(_caseId(a)).phase != IPanelArbiter.Phase.None) return;
        vm.deal(challenger, challenger.balance + panelTerms.challengeBondWei);
        vm.prank(challenger);
        panel.challenge{value: panelTerms.challengeBondWei}(a.request, a.answer);
        _blocks(3);
    }

    /// @dev Draws the panel; its honest members commit at once, the liar as the fuzzer likes.
    function draw(uint256 i, uint8 liarsVote) external {
        (bool found, Ask storage a) = _pick(i, IOracle.Status.Disputed);
        IPanelArbiter.CaseId caseId = found ? _caseId(a) : IPanelArbiter.CaseId.wrap(0);
        if (!found || panel.caseOf(caseId).phase != IPanelArbiter.Phase.Undrawn) return;
        if (vm.getBlockNumber() <= panel.caseOf(caseId).seedBlock) _blocks(3); // a draw was put off
        panel.draw(a.request, a.answer);
        IPanelArbiter.Case memory c = panel.caseOf(caseId);
        if (c.phase != IPanelArbiter.Phase.Voting) return;
        for (uint256 k; k < c.members.length; ++k) {
            uint16 seat = c.members[k];
            IPanelArbiter.Vote vote = seat < HONEST_OWNERS
                ? (a.honest ? IPanelArbiter.Vote.Right : IPanelArbiter.Vote.Wrong)
                : IPanelArbiter.Vote(liarsVote % 3);
            _ballots[_index(a)][seat] = vote;
            if (vote == IPanelArbiter.Vote.None) continue;
            bytes32 commitment = panel.commitmentOf(caseId, seat, vote, "salt");
            vm.prank(oracle.seatOf(service, seat).operator);
            panel.commit(caseId, seat, commitment);
        }
    }

    /// @dev Opens the votes as soon as that can be, and counts them.
    function decide(uint256 i) public {
        (bool found, Ask storage a) = _pick(i, IOracle.Status.Disputed);
        IPanelArbiter.CaseId caseId = found ? _caseId(a) : IPanelArbiter.CaseId.wrap(0);
        IPanelArbiter.Case memory c = panel.caseOf(caseId);
        if (!found || c.phase != IPanelArbiter.Phase.Voting) return;
        if (vm.getBlockTimestamp() <= c.commitEndsAt) {
            _passTo(c.commitEndsAt + 1);
            if (vm.getBlockTimestamp() <= c.commitEndsAt) return; // another case comes first
        }
        bool absent;
        for (uint256 k; k < c.members.length; ++k) {
            IPanelArbiter.Vote vote = _ballots[_index(a)][c.members[k]];
            if (vote == IPanelArbiter.Vote.None) absent = true;
            else panel.reveal(caseId, c.members[k], vote, "salt");
        }
        if (absent) vm.warp(c.commitEndsAt + panelTerms.revealSeconds + 1);

        uint16 seat = lens.unpackAnswer(a.answer).seat;
        uint256 before = wealth(seat);
        panel.decide(a.request, a.answer);
        if (a.honest && wealth(seat) < before) honestLossWei += before - wealth(seat);
        if (oracle.statusOf(lens.idOf(a.request)) == IOracle.Status.Open) ++rejected;
    }

    /* TIME AND MONEY */

    function pass(uint256 duration) external {
        _passTo(vm.getBlockTimestamp() + bound(duration, 1, 400));
        _blocks(1);
    }

    function withdraw(uint256 who, uint256 amountWei) external {
        address account = who % 2 == 0 ? payers[who % 3] : owners[who % SEATS];
        amountWei = bound(amountWei, 0, oracle.credit(account));
        vm.prank(account);
        oracle.withdraw(payable(account), amountWei);
    }

    function deposit(uint256 who, uint72 amountWei) external {
        vm.deal(address(this), amountWei);
        oracle.deposit{value: amountWei}(payers[who % 3]);
    }

    function burn() external {
        oracle.burn();
    }

    /* WHAT INVARIANTS ASK */

    /// @notice Everything the oracle owes: credits, seats' balances, open escrows, locked bonds.
    function owedWei() external view returns (uint256 owed) {
        owed = oracle.credit(BURN) + oracle.credit(address(this)) + oracle.credit(owners[SEATS - 1]);
        for (uint256 i; i < HONEST_OWNERS; ++i) {
            owed += oracle.credit(owners[i]);
        }
        for (uint256 i; i < 3; ++i) {
            owed += oracle.credit(payers[i]) + oracle.credit(address(consumers[i]));
        }
        for (uint16 i; i < SEATS; ++i) {
            owed += oracle.seatOf(service, i).balanceWei;
        }
        for (uint256 i; i < _asks.length; ++i) {
            owed += _heldWei(_asks[i]);
        }
    }

    /// @notice Everything the panel owes: bonds of undecided challengers.
    function panelOwedWei() external view returns (uint256 owed) {
        for (uint256 i; i < _asks.length; ++i) {
            if (oracle.statusOf(lens.idOf(_asks[i].request)) == IOracle.Status.Disputed) {
                owed += panelTerms.challengeBondWei;
            }
        }
    }

    function balances() external view returns (uint256 oracleWei, uint256 panelWei) {
        return (address(oracle).balance, address(panel).balance);
    }

    /// @notice Whether every answer that was final is final still, word for word.
    function finalAnswersStand() external view returns (bool) {
        for (uint256 i; i < _asks.length; ++i) {
            if (_asks[i].final_ && !oracle.isFinal(lens.idOf(_asks[i].request), _asks[i].answer)) return false;
        }
        return true;
    }

    /// @notice Locks of a seat that nothing explains: neither an open answer nor a panel duty.
    function unexplainedLocks() external view returns (uint256 left) {
        for (uint16 seat; seat < SEATS; ++seat) {
            uint256 explained;
            for (uint256 i; i < _asks.length; ++i) {
                if (_heldBond(_asks[i]) && lens.unpackAnswer(_asks[i].answer).seat == seat) ++explained;
                if (oracle.statusOf(lens.idOf(_asks[i].request)) != IOracle.Status.Disputed) continue;
                uint16[] memory members = panel.caseOf(_caseId(_asks[i])).members;
                for (uint256 k; k < members.length; ++k) {
                    if (members[k] == seat) ++explained;
                }
            }
            uint256 locks = oracle.seatOf(service, seat).locks;
            left += locks > explained ? locks - explained : explained - locks;
        }
    }

    /// @notice Ends everything that is open, and takes all money out.
    function windDown() external {
        for (uint256 i; i < _asks.length; ++i) {
            if (oracle.statusOf(lens.idOf(_asks[i].request)) != IOracle.Status.Disputed) continue;
            if (panel.caseOf(_caseId(_asks[i])).phase == IPanelArbiter.Phase.Undrawn) {
                _blocks(3);
                panel.draw(_asks[i].request, _asks[i].answer); // decides at once, or postpones, or waits for votes
                if (panel.caseOf(_caseId(_asks[i])).phase == IPanelArbiter.Phase.Undrawn) {
                    _blocks(3);
                    panel.draw(_asks[i].request, _asks[i].answer);
                }
            }
            if (panel.caseOf(_caseId(_asks[i])).phase == IPanelArbiter.Phase.Voting) {
                vm.warp(vm.getBlockTimestamp() + panelTerms.commitSeconds + panelTerms.revealSeconds + 1);
                panel.decide(_asks[i].request, _asks[i].answer);
            }
        }
        vm.warp(vm.getBlockTimestamp() + terms.lifetimeSeconds + terms.windowSeconds);
        for (uint256 i; i < _asks.length; ++i) {
            Ask storage a = _asks[i];
            IOracle.Status status = oracle.statusOf(lens.idOf(a.request));
            if (status == IOracle.Status.Open) oracle.refund(a.request);
            if (status == IOracle.Status.Answered) {
                IOracle.Item[] memory items = new IOracle.Item[](1);
                items[0] = IOracle.Item(a.request, a.answer, a.output);
                oracle.finalize(items);
            }
        }
        vm.warp(vm.getBlockTimestamp() + RETRIED_SECONDS);
        for (uint256 i; i < _asks.length; ++i) {
            Ask storage a = _asks[i];
            if (oracle.callbackLeft(lens.idOf(a.request)) && !a.reclaimed) {
                try oracle.reclaim(a.request, a.answer) {} catch {} // one without a price has nothing to reclaim
            }
        }
        for (uint16 seat; seat < SEATS; ++seat) {
            IServices.Seat memory state = oracle.seatOf(service, seat);
            if (state.status == IServices.SeatStatus.Joining) oracle.activate(service, seat);
            if (state.status != IServices.SeatStatus.Leaving) {
                vm.prank(state.owner);
                oracle.announceExit(service, seat);
            }
        }
        vm.warp(vm.getBlockTimestamp() + 30 days);
        for (uint16 seat; seat < SEATS; ++seat) {
            vm.prank(owners[seat]);
            oracle.exit(service, seat);
        }
        for (uint256 i; i < SEATS; ++i) {
            _takeAll(owners[i]);
        }
        for (uint256 i; i < 3; ++i) {
            _takeAll(payers[i]);
            _takeAll(address(consumers[i]));
        }
        _takeAll(address(this));
        oracle.burn();
    }

    /// @notice What a seat has, its locked bonds included.
    function wealth(uint16 seat) public view returns (uint256 total) {
        total = oracle.seatOf(service, seat).balanceWei;
        for (uint256 i; i < _asks.length; ++i) {
            if (_heldBond(_asks[i]) && lens.unpackAnswer(_asks[i].answer).seat == seat) total += terms.bondWei;
        }
    }

    /// @notice Whether every request draws whom it drew when it was made.
    function drawsStand() external view returns (bool) {
        for (uint256 i; i < _asks.length; ++i) {
            if (keccak256(abi.encode(_draws(_asks[i].request))) != keccak256(abi.encode(_asks[i].drawn))) return false;
        }
        return true;
    }

    /// @notice Whether the draw leads once to every active seat, each of which covers a bond or gets one back, and to no other.
    function drawIsExact() external view returns (bool) {
        uint256 places = oracle.placesOf(service);
        uint256 active;
        bool[] memory found = new bool[](SEATS);
        for (uint16 seat; seat < SEATS; ++seat) {
            if (_isDrawn(oracle.seatOf(service, seat).status)) ++active;
        }
        for (uint16 place; place < places; ++place) {
            uint16 seat = oracle.seatAt(service, place, vm.getBlockNumber() + 1);
            IServices.Seat memory state = oracle.seatOf(service, seat);
            if (found[seat] || !_isDrawn(state.status)) return false;
            if (state.balanceWei < terms.bondWei && state.locks == 0) return false;
            found[seat] = true;
        }
        return places == active;
    }

    /* INTERNALS */

    function _isDrawn(IServices.SeatStatus status) private pure returns (bool) {
        return status == IServices.SeatStatus.Active || status == IServices.SeatStatus.Moved;
    }

    function _draws(IOracle.Request memory request) private view returns (uint16[] memory seatNumbers) {
        ILens.RequestFields memory fields = lens.unpackRequest(request);
        seatNumbers = new uint16[](fields.seatCount);
        for (uint16 place; place < fields.seatCount; ++place) {
            seatNumbers[place] = oracle.seatAt(service, place, fields.blockNumber);
        }
    }

    function _seatsWei() private view returns (uint256 total) {
        for (uint16 seat; seat < SEATS; ++seat) {
            total += oracle.seatOf(service, seat).balanceWei;
        }
    }

    /// @dev Whoever makes others lose fines loses as much, and never more than the quote says; all of it is burnt.
    function _checkFines(uint256 finesWei, uint256 lostWei, uint256 burntWei) private {
        assertEq(finesWei, lostWei);
        assertEq(burntWei, finesWei + lostWei);
        assertLe(lostWei, terms.basePriceWei / 2);
        finedWei += finesWei;
    }

    function _takeAll(address account) private {
        uint256 amountWei = oracle.credit(account);
        vm.prank(account);
        oracle.withdraw(payable(makeAddr("chest")), amountWei);
    }

    function _heldBond(Ask storage a) private view returns (bool) {
        IOracle.Status status = oracle.statusOf(lens.idOf(a.request));
        return status == IOracle.Status.Answered || status == IOracle.Status.Disputed;
    }

    function _heldWei(Ask storage a) private view returns (uint256) {
        ILens.RequestFields memory fields = lens.unpackRequest(a.request);
        bool open = oracle.statusOf(lens.idOf(a.request)) == IOracle.Status.Open;
        bool left = oracle.callbackLeft(lens.idOf(a.request)) && !a.reclaimed;
        if (!open && !_heldBond(a) && !left) return 0;
        uint256 callbackGas = fields.params.callbackGas;
        uint256 callbackWei =
            callbackGas == 0 ? 0 : (callbackGas + oracle.CALLBACK_OVERHEAD_GAS()) * fields.params.callbackGasPriceWei;
        return callbackWei + (left ? 0 : fields.feeWei + (open ? 0 : fields.bondWei));
    }

    /// @dev Moves time on, but never past a moment at which an honest node would have opened its vote.
    function _passTo(uint256 time) private {
        for (uint256 i; i < _asks.length; ++i) {
            if (oracle.statusOf(lens.idOf(_asks[i].request)) != IOracle.Status.Disputed) continue;
            IPanelArbiter.Case memory c = panel.caseOf(_caseId(_asks[i]));
            if (c.phase != IPanelArbiter.Phase.Voting) continue;
            uint256 last = c.commitEndsAt + panelTerms.revealSeconds;
            if (time > last) time = last;
        }
        if (time <= vm.getBlockTimestamp()) return;
        _blocks((time - vm.getBlockTimestamp()) / 12);
        vm.warp(time);
    }

    function _blocks(uint256 count) private {
        vm.roll(vm.getBlockNumber() + count);
    }

    function _caseId(Ask storage a) private view returns (IPanelArbiter.CaseId) {
        return panel.caseIdOf(lens.idOf(a.request), lens.unpackAnswer(a.answer).turn);
    }

    function _index(Ask storage a) private view returns (uint256) {
        RequestId id = lens.idOf(a.request);
        for (uint256 i; i < _asks.length; ++i) {
            if (RequestId.unwrap(lens.idOf(_asks[i].request)) == RequestId.unwrap(id)) return i;
        }
        revert("no such request");
    }

    /// @dev A request with this status, the first at or after `i`, cyclically.
    function _pick(uint256 i, IOracle.Status status) private view returns (bool found, Ask storage a) {
        uint256 count = _asks.length;
        a = _asks.length > 0 ? _asks[0] : _nothing();
        for (uint256 k; k < count; ++k) {
            a = _asks[(i % count + k) % count];
            if (oracle.statusOf(lens.idOf(a.request)) == status) return (true, a);
        }
    }

    function _nothing() private pure returns (Ask storage a) {
        assembly ("memory-safe") {
            a.slot := 0
        }
    }

    function _as(Ask storage a, bytes memory data) private {
        address payer = lens.unpackRequest(a.request).payer;
        vm.prank(payer);
        (bool success,) = address(oracle).call(data);
        assertTrue(success);
    }
}
