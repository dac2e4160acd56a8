// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Vm} from "forge-std/Vm.sol";

import {BURN} from "../../contracts/interfaces/ICredits.sol";
import {IDisputeGame} from "../../contracts/interfaces/IDisputeGame.sol";
import {RequestId} from "../../contracts/interfaces/Ids.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IReferee} from "../../contracts/interfaces/IReferee.sol";
import {IRefutations} from "../../contracts/interfaces/IRefutations.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {ITokenReferee} from "../../contracts/interfaces/ITokenReferee.sol";
import {Village} from "./Village.sol";

/// @dev How something can end, or come about.
enum Ending {
    AnswerFinal,
    CallbackFailed,
    CallbackLeft,
    CallbackRetried,
    CallbackReclaimed,
    Refunded,
    Cancelled,
    KilledByClock,
    KilledByNumber,
    KilledByChoice,
    KilledBySample,
    KilledByLimitedSample,
    KilledByPrompt,
    KilledByEnd,
    KilledByText,
    KilledByPadding,
    ChallengeLost,
    GameSettled,
    GameSettledWithShare,
    TokensShown,
    PositionPicked,
    HonestNodePaid,
    TurnMissed,
    HonestTurnMissed,
    SeatTaken,
    SeatLeft,
    SeatSuspended,
    RewardWaited,
    RewardPaid,
    PromptRefused,
    Besieged
}

/// @title Every call is made here; what events tell is written down, and held against what is promised.
abstract contract Ledger is Village {
    uint256 internal constant ENDINGS = 31;
    uint256 internal constant BLOCK_GAS = 60_000_000;
    uint256 internal constant LEAST_GAS = 600_000;

    uint256[ENDINGS] public reached;
    /// @notice The first promise that was broken.
    string public broken;

    mapping(RequestId => uint256) internal askOf;
    mapping(IDisputeGame.CaseId => uint256) internal claimOf;
    mapping(IDisputeGame.GameId => uint256) internal boutOf;
    uint256 internal seatsChangedIn; // block
    IOracle.Answer internal newAnswer;
    IOracle.Request internal newRequest;
    RequestId internal newId;

    /// @dev When a node's engine was down: pairs of times.
    mapping(address operator => uint256[]) internal outages;
    mapping(address owner => uint256) internal finedWei;
    uint256 internal earnedWei; // by the coalition, for right answers to others

    function _promise(bool kept, string memory what) internal {
        if (!kept && bytes(broken).length == 0) broken = what;
    }

    function _count(Ending ending) internal {
        ++reached[uint256(ending)];
    }

    /// @dev A transaction. Refusals are what most near-valid calls meet.
    function _call(address who, address to, uint256 valueWei, bytes memory data) internal returns (bool done) {
        if (data.length == 0) return false;
        if (who.balance < valueWei) _fund(who, valueWei - who.balance);
        vm.recordLogs();
        vm.prank(who);
        (done,) = to.call{value: valueWei, gas: BLOCK_GAS}(data);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        if (done) _heed(bytes4(data), data, logs);
    }

    function _heed(bytes4 selector, bytes memory data, Vm.Log[] memory logs) internal {
        uint256 honestFinesWei;
        for (uint256 i; i < logs.length; ++i) {
            bytes32 what = logs[i].topics[0];
            bytes32 first = logs[i].topics.length > 1 ? logs[i].topics[1] : bytes32(0);
            if (what == IOracle.TurnMissed.selector) {
                honestFinesWei += _missed(RequestId.wrap(uint256(first)), logs[i].data);
            } else if (what == IOracle.RequestRefunded.selector) {
                _refunded(RequestId.wrap(uint256(first)), abi.decode(logs[i].data, (uint256)), honestFinesWei);
            } else if (what == IDisputeGame.GameOpened.selector) {
                _opened(logs[i]);
            } else if (what == IDisputeGame.AnswerKilled.selector) {
                _killed(selector, data, IDisputeGame.CaseId.wrap(first));
            } else {
                _heedGame(what, first, logs[i]) || _heedOracle(what, first, logs[i]);
            }
        }
    }

    function _heedGame(bytes32 what, bytes32 first, Vm.Log memory log) private returns (bool) {
        IDisputeGame.GameId id = IDisputeGame.GameId.wrap(uint256(first));
        if (what == IDisputeGame.ListOpened.selector) {
            shownNodes[log.topics[3]] = abi.decode(log.data, (bytes32[]));
        } else if (what == IDisputeGame.TokensOpened.selector) {
            (, shownNodes[log.topics[3]]) = abi.decode(log.data, (uint256, bytes32[]));
            _count(Ending.TokensShown);
        } else if (what == IDisputeGame.ValuesOpened.selector) {
            shownValues[log.topics[3]] = abi.decode(log.data, (bytes));
            Claim storage c = claims[claimOf[IDisputeGame.CaseId.wrap(log.topics[2])] - 1];
            if (game.gameOf(id).turn.positions == 0) c.shown = true;
        } else if (what == IDisputeGame.PositionPicked.selector) {
            _count(Ending.PositionPicked);
        } else if (what == IDisputeGame.GameEnded.selector) {
            (bool won, uint256 toNodeWei) = abi.decode(log.data, (bool, uint256));
            _over(id);
            if (!won) _lost(id, toNodeWei);
        } else if (what == IDisputeGame.GameSettled.selector) {
            _over(id);
            _count(Ending.GameSettled);
            if (abi.decode(log.data, (uint256)) != 0) _count(Ending.GameSettledWithShare);
        } else if (what == IRefutations.RewardWaits.selector) {
            _count(Ending.RewardWaited);
        } else if (what == IRefutations.RewardPaid.selector) {
            _count(Ending.RewardPaid);
        } else {
            return false;
        }
        return true;
    }

    function _heedOracle(bytes32 what, bytes32 first, Vm.Log memory log) private returns (bool) {
        RequestId id = RequestId.wrap(uint256(first));
        if (what == IOracle.RequestPosted.selector) {
            (newRequest,) = abi.decode(log.data, (IOracle.Request, bytes));
            newId = id;
        } else if (what == IOracle.AnswerPosted.selector) {
            (newAnswer,) = abi.decode(log.data, (IOracle.Answer, bytes));
        } else if (what == IOracle.AnswerRuled.selector) {
            (, IOracle.Ruling ruling,, IOracle.Round memory next) =
                abi.decode(log.data, (uint32, IOracle.Ruling, uint256, IOracle.Round));
            if (ruling == IOracle.Ruling.Upheld) return true;
            Ask storage a = asks[askOf[id] - 1];
            (a.firstTurn, a.startsAt, a.claim) = (next.firstTurn, next.startsAt, 0);
        } else if (what == IOracle.RequestFinalized.selector) {
            Ask storage a = asks[askOf[id] - 1];
            Claim storage c = claims[a.claim - 1];
            a.closed = true;
            _count(Ending.AnswerFinal);
            _promise(c.right, "a wrong answer that one honest party challenges in time never stands");
            if (!c.honest && _isHonest(a.payer)) earnedWei += abi.decode(log.data, (uint256));
        } else if (what == IOracle.RequestCancelled.selector) {
            asks[askOf[id] - 1].closed = true;
            _count(Ending.Cancelled);
        } else if (what == IOracle.CallbackFailed.selector) {
            _count(Ending.CallbackFailed);
        } else if (what == IOracle.CallbackLeft.selector) {
            _count(Ending.CallbackLeft);
        } else if (what == IOracle.CallbackRetried.selector) {
            _count(Ending.CallbackRetried);
        } else if (what == IOracle.CallbackReclaimed.selector) {
            _count(Ending.CallbackReclaimed);
        } else if (what == IServices.SeatTaken.selector) {
            _count(Ending.SeatTaken);
        } else if (what == IServices.SeatLeft.selector) {
            _count(Ending.SeatLeft);
        } else if (what == IServices.SeatSuspended.selector) {
            _count(Ending.SeatSuspended);
            seatsChangedIn = vm.getBlockNumber();
        } else if (what == IServices.SeatActivated.selector || what == IServices.SeatLeaving.selector) {
            seatsChangedIn = vm.getBlockNumber();
        } else {
            return false;
        }
        return true;
    }

    /// @dev A seat was fined. Returns what an honest one lost.
    function _missed(RequestId id, bytes memory data) private returns (uint256) {
        (uint32 turn, uint16 seat, uint256 penaltyWei) = abi.decode(data, (uint32, uint16, uint256));
        _count(Ending.TurnMissed);
        address owner = oracle.seatOf(service, seat).owner;
        if (seat >= HONEST_SEATS || penaltyWei == 0) return 0;
        _count(Ending.HonestTurnMissed);
        Ask storage a = asks[askOf[id] - 1];
        uint256 began = a.startsAt + uint256(turn - a.firstTurn) * terms.turnSeconds;
        uint256[] storage down = outages[owner];
        bool slept;
        for (uint256 i; i < down.length; i += 2) {
            if (down[i] <= began + terms.turnSeconds && down[i + 1] >= began) slept = true;
        }
        _promise(slept, "an honest node is fined only for turns in which it had a bond, an engine and time");
        finedWei[owner] += penaltyWei;
        return penaltyWei;
    }

    function _refunded(RequestId id, uint256 refundWei, uint256 honestFinesWei) private {
        Ask storage a = asks[askOf[id] - 1];
        a.closed = true;
        _count(Ending.Refunded);
        uint256 givenUpWei = a.feeWei + a.callbackWei - refundWei;
        _promise(givenUpWei >= honestFinesWei, "a refunded payer gives up at least what honest seats are fined");
    }

    function _opened(Vm.Log memory log) private {
        (address by,) = abi.decode(log.data, (address, uint256));
        IDisputeGame.GameId id = IDisputeGame.GameId.wrap(uint256(log.topics[1]));
        uint256 c = claimOf[IDisputeGame.CaseId.wrap(log.topics[2])];
        bouts.push(Bout(id, c - 1, by));
        boutOf[id] = bouts.length;
        openBouts.push(bouts.length - 1);
    }

    function _over(IDisputeGame.GameId id) private {
        uint256 b = boutOf[id] - 1;
        for (uint256 i; i < openBouts.length; ++i) {
            if (openBouts[i] != b) continue;
            openBouts[i] = openBouts[openBouts.length - 1];
            openBouts.pop();
            return;
        }
    }

    function _lost(IDisputeGame.GameId id, uint256 toNodeWei) private {
        Bout storage b = bouts[boutOf[id] - 1];
        _count(Ending.ChallengeLost);
        _promise(b.challenger != challenger, "an honest challenger of a wrong answer loses no game");
        if (claims[b.claim].honest && toNodeWei != 0) _count(Ending.HonestNodePaid);
    }

    function _killed(bytes4 selector, bytes memory data, IDisputeGame.CaseId caseId) private {
        Claim storage c = claims[claimOf[caseId] - 1];
        _promise(!c.honest, "a right answer never dies");
        _promise(!c.dead, "an answer dies once");
        c.dead = true;
        Ask storage a = asks[c.ask];
        if (selector == IDisputeGame.timeout.selector) _count(Ending.KilledByClock);
        else if (selector == IReferee.prove.selector) _count(Ending.KilledByNumber);
        else if (selector != ITokenReferee.proveChoice.selector) _count(_faultIn(data));
        else if (a.temperature == 0) _count(Ending.KilledByChoice);
        else _count(a.cutoff == 0 ? Ending.KilledBySample : Ending.KilledByLimitedSample);
    }

    /// @dev Request (5 words), answer (4) and tokens (2) stand before it.
    function _faultIn(bytes memory data) private pure returns (Ending) {
        uint256 fault;
        assembly ("memory-safe") {
            fault := mload(add(data, add(0x24, mul(11, 0x20))))
        }
        return Ending(uint256(Ending.KilledByPrompt) + fault);
    }

    /* MONEY */

    /// @dev All that somebody has.
    function _worthOf(address who) internal view returns (uint256 worthWei) {
        worthWei = who.balance + oracle.credit(who);
        (uint16 taken,) = oracle.counts(service);
        for (uint16 seat; seat < taken; ++seat) {
            IServices.Seat memory s = oracle.seatOf(service, seat);
            if (s.owner == who) worthWei += s.balanceWei;
        }
    }

    /// @notice What oracle and game hold, and what they owe to somebody.
    function held() external view returns (uint256 heldWei, uint256 owedWei) {
        heldWei = address(oracle).balance + address(game).balance + address(refutations).balance;
        address[] memory all = _people();
        for (uint256 i; i < all.length; ++i) {
            owedWei += oracle.credit(all[i]);
        }
        (uint16 taken,) = oracle.counts(service);
        for (uint16 seat; seat < taken; ++seat) {
            owedWei += oracle.seatOf(service, seat).balanceWei;
        }
        for (uint256 i; i < asks.length; ++i) {
            owedWei += _escrowWei(asks[i]);
        }
        for (uint256 i; i < openBouts.length; ++i) {
            owedWei += game.gameOf(bouts[openBouts[i]].id).bondWei;
        }
        for (uint256 i; i < claims.length; ++i) {
            IDisputeGame.Case memory c = game.caseOf(claims[i].caseId);
            owedWei += uint256(c.shares) * c.shareWei;
        }
    }

    function _escrowWei(Ask storage a) private view returns (uint256) {
        IOracle.Status status = oracle.statusOf(a.id);
        uint256 escrowWei = a.feeWei + a.callbackWei;
        if (status == IOracle.Status.Open) return escrowWei;
        if (status == IOracle.Status.Answered || status == IOracle.Status.Disputed) return escrowWei + terms.bondWei;
        bool waits = oracle.callbackLeft(a.id) && oracle.stateOf(a.id) >> 6 & 1 == 0;
        return waits ? a.callbackWei : 0;
    }

    function _coalition() internal view returns (address[] memory all) {
        all = new address[](3 + sybils.length);
        (all[0], all[1], all[2]) = (liar, joiner, burner);
        for (uint256 i; i < sybils.length; ++i) {
            all[3 + i] = sybils[i];
        }
    }

    function _people() internal view returns (address[] memory all) {
        address[] memory others = _coalition();
        all = new address[](others.length + honest.length + 5);
        for (uint256 i; i < others.length; ++i) {
            all[i] = others[i];
        }
        for (uint256 i; i < honest.length; ++i) {
            all[others.length + i] = honest[i];
        }
        uint256 spot = others.length + honest.length;
        (all[spot], all[spot + 1], all[spot + 2]) = (challenger, payer, BURN);
        (all[spot + 3], all[spot + 4]) = (address(game), address(refutations));
    }
}
