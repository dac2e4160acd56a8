// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Credits} from "./Credits.sol";
import {IArbiter} from "./interfaces/IArbiter.sol";
import {ServiceId} from "./interfaces/Ids.sol";
import {IServices} from "./interfaces/IServices.sol";

/// @title ServiceStore
/// @notice Where services and seats are kept: one storage layout for `Oracle`, which owns it, and `Seats`, whose code runs
/// on it. `Seats` stores nothing else, and `Oracle` nothing before it.
abstract contract ServiceStore is IServices, Credits {
    /// @dev One slot.
    struct Prices {
        uint64 baseWei;
        uint64 byteWei;
        uint64 tokenWei;
        uint32 maxPromptBytes;
        uint24 maxTokens;
    }

    /// @dev One slot.
    struct Rules {
        uint72 bondWei;
        uint24 turnSeconds;
        uint24 windowSeconds;
        uint24 lifetimeSeconds;
        uint16 seatCount;
        uint16 ownerCount;
        uint16 minOwners;
    }

    /// @dev `request` reads the first two slots; nothing frequent reads the others.
    struct Service {
        Prices prices;
        Rules rules;
        IArbiter arbiter;
        uint72 missPenaltyWei;
        uint16 taken;
        uint72 seatWei;
        uint32 leaveSeconds;
        address attester;
    }

    /// @dev One slot: all that answering and finalizing touch. shortUntil: the turn, counted from 1970 and modulo 255, plus
    /// one, in which the seat last got a free bond back; zero: it always had one.
    struct SeatMoney {
        address operator;
        uint72 balanceWei;
        uint8 openAnswers;
        uint8 shortUntil;
        SeatStatus status;
    }

    /// @dev place: where a seat in the draw stands. duties: on panels.
    struct SeatState {
        SeatMoney money;
        address owner;
        uint48 readyAt;
        uint16 place;
        uint16 duties;
    }

    /// @dev Most answers of one seat that can be open at once.
    uint8 internal constant MAX_OPEN_ANSWERS = type(uint8).max;

    // Written by the code of `Seats`, which runs on this layout by delegatecall.
    // slither-disable-next-line uninitialized-state
    mapping(ServiceId service => Service) internal _services;
    mapping(ServiceId service => mapping(uint256 seat => SeatState)) internal _seats;
    mapping(ServiceId service => uint16[]) internal _vacant;

    /// @dev Which seat has stood in a place since which block, for places that do not lead to the seat of their own number,
    /// or once did not: block (48 bits), seat (16), in order. Before the first entry it is the seat of the place's number.
    mapping(ServiceId service => mapping(uint256 place => uint64[])) internal _places;
    mapping(ServiceId service => mapping(address owner => uint256)) internal _activeSeats;

    /* VIEWS */

    /// @inheritdoc IServices
    function counts(ServiceId service) external view returns (uint16, uint16) {
        return (_services[service].taken, _services[service].rules.ownerCount);
    }

    /// @inheritdoc IServices
    function placesOf(ServiceId service) external view returns (uint16) {
        return _services[service].rules.seatCount;
    }

    /// @inheritdoc IServices
    function seatAt(ServiceId service, uint16 place, uint256 blockNumber) external view returns (uint16) {
        return _seatAt(service, place, blockNumber);
    }

    /// @inheritdoc IServices
    function arbiterOf(ServiceId service) public view returns (IArbiter) {
        return _services[service].arbiter;
    }

    /// @inheritdoc IServices
    function attesterOf(ServiceId service) external view returns (address) {
        return _services[service].attester;
    }

    /// @inheritdoc IServices
    function seatOf(ServiceId service, uint16 seat) external view returns (Seat memory) {
        SeatState storage state = _seats[service][seat];
        return Seat({
            owner: state.owner,
            operator: state.money.operator,
            balanceWei: state.money.balanceWei,
            locks: state.duties + state.money.openAnswers,
            status: state.money.status,
            readyAt: state.readyAt
        });
    }

    /// @inheritdoc IServices
    function operatorOf(ServiceId service, uint16 seat) external view returns (address) {
        return _seats[service][seat].money.operator;
    }

    /* INTERNALS */

    modifier onlyArbiter(ServiceId service) {
        if (msg.sender != address(_services[service].arbiter)) revert NotArbiter(service, msg.sender);
        _;
    }

    /// @dev Takes up to `fineWei` of the free balance. The caller decides where it goes.
    function _fine(SeatState storage state, uint256 fineWei) internal returns (uint256 finedWei) {
        finedWei = fineWei < state.money.balanceWei ? fineWei : state.money.balanceWei;
        // INVARIANT: a fine takes free balance only: bonds of open answers are not in it.
        state.money.balanceWei -= uint72(finedWei);
    }

    /// @dev The seat that a request of that block draws in `place`: whoever stood there when the block began, whatever has
    /// changed since. A seat whose status is Active stands in the place of its own number since that place exists.
    function _seatAt(ServiceId service, uint16 place, uint256 blockNumber) internal view returns (uint16) {
        if (_seats[service][place].money.status == SeatStatus.Active) return place;
        return _seatInTrace(_places[service][place], place, blockNumber);
    }

    /// @dev The newest entry before `blockNumber`: usually the last, otherwise found by bisection, because others can make the
    /// list long.
    function _seatInTrace(uint64[] storage trace, uint16 place, uint256 blockNumber) private view returns (uint16) {
        uint256 high = trace.length;
        if (high == 0) return place;
        uint64 entry = trace[high - 1];
        if (entry >> 16 < blockNumber) return uint16(entry);
        uint256 low;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (trace[middle] >> 16 < blockNumber) low = middle + 1;
            else high = middle;
        }
        return low == 0 ? place : uint16(trace[low - 1]);
    }

    /// @dev Whether the seat stands in a list of those drawn.
    function _isDrawn(SeatStatus status) internal pure returns (bool) {
        return status == SeatStatus.Active || status == SeatStatus.Moved;
    }

    /// @dev Whether a seat cannot answer for want of a free bond.
    function _isShort(SeatMoney memory money, uint256 bondWei) internal pure returns (bool) {
        return money.balanceWei < bondWei || money.openAnswers == MAX_OPEN_ANSWERS;
    }

    /// @dev Notes, before a seat gets money, that it was short until this turn, if it was.
    function _noteShort(SeatMoney memory money, uint256 bondWei, uint256 turnSeconds) internal view {
        // slither-disable-next-line weak-prng
        if (_isShort(money, bondWei)) money.shortUntil = uint8(block.timestamp / turnSeconds % 255) + 1;
    }

    /// @dev Whether a seat may have been short at `time`, which is not in the future: it is short now, or was until the turn
    /// of `time` or a later one. Turns are noted modulo 255, so one that a note is too old to exclude counts as well.
    function _maybeShortAt(SeatMoney memory money, uint256 bondWei, uint256 turnSeconds, uint256 time)
        internal
        view
        returns (bool)
    {
        if (_isShort(money, bondWei)) return true;
        if (money.shortUntil == 0) return false;
        uint256 turn = block.timestamp / turnSeconds;
        // slither-disable-next-line weak-prng
        uint256 age = (turn % 255 + 256 - money.shortUntil) % 255;
        return (turn - age + 1) * turnSeconds > time;
    }

    /// @dev Adds to a seat's balance and ends `answersEnded` of its open answers. What does not fit its 72 bits becomes its
    /// owner's credit, so that no payment can ever revert.
    function _paySeat(
        SeatState storage state,
        uint256 amountWei,
        uint8 answersEnded,
        uint256 bondWei,
        uint256 turnSeconds
    ) internal {
        // INVARIANT: balance and owner's credit together grow by `amountWei`.
        SeatMoney memory money = state.money;
        _noteShort(money, bondWei, turnSeconds);
        uint256 balanceWei = money.balanceWei + amountWei;
        if (balanceWei > type(uint72).max) {
            credit[state.owner] += balanceWei - type(uint72).max;
            balanceWei = type(uint72).max;
        }
        money.balanceWei = uint72(balanceWei);
        money.openAnswers -= answersEnded;
        state.money = money;
    }
}
