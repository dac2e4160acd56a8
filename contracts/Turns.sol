// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Services} from "./Services.sol";
import {BURN} from "./interfaces/ICredits.sol";
import {RequestId, ServiceId} from "./interfaces/Ids.sol";
import {IOracle} from "./interfaces/IOracle.sol";
import {RequestLib} from "./libraries/RequestLib.sol";

/// @title Turns
/// @notice Whose turn it is to answer, the bond that an answer locks, and who is fined for the turns that passed.
abstract contract Turns is IOracle, Services {
    using RequestLib for Request;

    /// @dev As `RequestLib` reads it: status, flags; while open the round; once answered the answer's hash.
    mapping(RequestId requestId => uint256) internal _state;

    function _seatOfTurn(Request calldata req, RequestId requestId, bytes32 seedBlockHash, uint32 turn)
        internal
        view
        returns (uint16)
    {
        return _seatAt(req.service, req.placeOf(requestId, seedBlockHash, turn), req.blockNumber());
    }

    /// @dev Moves the bond out of the balance of the seat whose turn it is, if the caller operates it.
    /// Reads that seat once if it stands in the place of its own number, as `_seatAt` would find it.
    function _lockBond(Request calldata req, RequestId requestId, uint32 turn, uint16 place)
        internal
        returns (uint16 seat)
    {
        seat = place;
        SeatState storage slot = _seats[req.service][seat];
        SeatMoney memory state = slot.money;
        if (state.status != SeatStatus.Active) {
            seat = _seatAt(req.service, place, req.blockNumber());
            slot = _seats[req.service][seat];
            state = slot.money;
        }
        if (msg.sender != state.operator || state.status < SeatStatus.Active) {
            revert NotYourTurn(requestId, turn, seat, state.operator);
        }
        uint256 bondWei = req.bondWei();
        if (state.balanceWei < bondWei) {
            revert InsufficientSeatBalance(req.service, seat, state.balanceWei, bondWei);
        }
        if (state.openAnswers == MAX_OPEN_ANSWERS) revert SeatBusy(req.service, seat);
        // INVARIANT: a bond is out of the seat's balance as long as its answer is open, so nothing can spend it twice. A seat
        // with open answers cannot be given up.
        state.balanceWei -= uint72(bondWei);
        ++state.openAnswers;
        slot.money = state;
    }

    /// @dev Fines the seats of turns [round.firstTurn, endTurn) that were in the draw and had a bond free when their turn
    /// began, `mostWei` in all. Burns the fines and the same amount again, which the caller takes from the payer's refund or
    /// from the seat that answers late: whoever makes others pay a fine, by requests or by answers, loses as much. Nobody is
    /// fined about a private prompt: it is sealed to the keys of some seats, and the others cannot answer it.
    function _chargeMissed(
        Request calldata req,
        Round memory round,
        RequestId requestId,
        bytes32 seedBlockHash,
        uint32 endTurn,
        uint256 mostWei
    ) internal returns (uint256 finesWei) {
        if (req.isPrivate() || _stoodStill(req, round, RequestLib.startsBlock(_state[requestId]))) return 0;
        uint256 penaltyWei = _services[req.service].missPenaltyWei;
        for (uint32 turn = round.firstTurn; turn < endTurn && finesWei < mostWei; ++turn) {
            uint16 seat = _seatOfTurn(req, requestId, seedBlockHash, turn);
            uint256 beganAt = round.startsAt + uint256(turn - round.firstTurn) * req.turnSeconds();
            if (!_couldAnswer(req, seat, beganAt)) continue;
            // INVARIANT: only a seat that was in the draw and surely had a free bond is fined; all fines of a call are at most
            // `mostWei`.
            uint256 fineWei = _fine(_seats[req.service][seat], Math.min(penaltyWei, mostWei - finesWei));
            finesWei += fineWei;
            emit TurnMissed(requestId, turn, seat, fineWei);
            _suspendIfDrained(req.service, seat, req.bondWei());
        }
        // INVARIANT: half of what is burnt came from the fined seats; the caller takes the other half from the payer's refund
        // or from the seat that answers late.
        if (finesWei > 0) credit[BURN] += 2 * finesWei;
    }

    /// @dev Fines the seats that let their turns pass, and takes the same amount from the seat that answers instead; no more
    /// than that seat has.
    function _chargeLate(
        Request calldata req,
        Round memory round,
        RequestId requestId,
        bytes32 seedBlockHash,
        uint32 turn,
        uint16 seat
    ) internal {
        SeatMoney storage money = _seats[req.service][seat].money;
        uint72 reserveWei = money.balanceWei;
        uint256 mostWei = Math.min(_forfeitWei(req.service), reserveWei);
        // INVARIANT: the seat that answers late gives up what the others are fined, never more than it has. Its balance is
        // zero meanwhile, so that the same ether cannot be fined as well.
        money.balanceWei = 0;
        uint256 finesWei = _chargeMissed(req, round, requestId, seedBlockHash, turn, mostWei);
        money.balanceWei = reserveWei - uint72(finesWei);
    }

    /// @dev Whether a seat was in the draw, and surely had a bond free, when its turn began.
    function _couldAnswer(Request calldata req, uint16 seat, uint256 beganAt) private view returns (bool) {
        SeatState storage state = _seats[req.service][seat];
        SeatMoney memory money = state.money;
        return _isDrawn(money.status) && state.readyAt <= beganAt
            && !_maybeShortAt(money, req.bondWei(), req.turnSeconds(), beganAt);
    }

    /// @dev The most that a refunded payer loses, and that one answer or refund fines seats for: half the base price.
    function _forfeitWei(ServiceId service) internal view returns (uint256) {
        return _services[service].prices.baseWei / 2;
    }

    /// @dev Whether a turn since the round began may have had no block in which to answer. Each block takes `blockMillis` at
    /// least; the time that the blocks since cannot account for is the longest that the chain may have stood still.
    function _stoodStill(Request calldata req, Round memory round, uint256 startsBlock) private view returns (bool) {
        uint256 first = Math.max(startsBlock, req.blockNumber() + RequestLib.SEED_DELAY) + 1;
        uint256 blocks = block.number > first ? block.number - first : 0;
        return (block.timestamp - round.startsAt) * 1000 >= blocks * blockMillis + req.turnSeconds() * 1000;
    }
}
