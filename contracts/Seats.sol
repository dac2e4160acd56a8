// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {ServiceStore} from "./ServiceStore.sol";
import {IAttester} from "./interfaces/IAttester.sol";
import {BURN} from "./interfaces/ICredits.sol";
import {ServiceId} from "./interfaces/Ids.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IServices} from "./interfaces/IServices.sol";
import {RequestLib} from "./libraries/RequestLib.sol";

/// @title Seats
/// @notice Creates services; takes, keeps and gives up their seats.
/// @dev The oracle runs this code on its own storage, by `delegatecall`. Nobody reads this contract's own storage.
contract Seats is ServiceStore {
    /// @notice Longest `lifetimeSeconds`. EIP-2935 keeps 8191 block hashes: 27 hours of 12-second blocks.
    uint32 public constant MAX_LIFETIME = 1 days;

    /// @notice Most turns that can pass in one request: bounds the work of charging for missed ones.
    uint32 public constant MAX_TURNS = 32;

    /// @notice Most seats of a service: a panel's draw, which may look at all of them, must fit one transaction, however often
    /// seats were moved.
    uint16 public constant MAX_SEATS = 512;

    /// @notice Longest challenge window.
    uint32 public constant MAX_WINDOW = 30 days;

    IModelRegistry public immutable models;

    /// @notice The least time between two blocks of this chain, in thousandths of a second. If blocks
    /// were missing for a turn or more, the chain stood still, and nobody is fined for turns in that time.
    uint32 public immutable blockMillis;

    constructor(IModelRegistry models_, uint32 blockMillis_) {
        models = models_;
        blockMillis = blockMillis_;
    }

    /* SERVICES */

    /// @inheritdoc IServices
    function createService(Terms calldata terms) external returns (ServiceId service) {
        if (!models.registered(terms.model)) revert UnknownModel(terms.model);
        _checkTimes(terms);
        if (terms.bondWei == 0) revert NoBond();
        if (terms.seatWei < terms.bondWei) revert SeatBelowBond(terms.seatWei, terms.bondWei);
        if (terms.maxPromptBytes == 0 || terms.maxTokens == 0) revert NoRoom(terms.maxPromptBytes, terms.maxTokens);
        if (terms.minOwners == 0) revert NoOwners();

        service = ServiceId.wrap(keccak256(abi.encode(terms)));
        Service storage s = _services[service];
        if (address(s.arbiter) != address(0)) revert ServiceExists(service);

        s.prices = Prices({
            baseWei: terms.basePriceWei,
            byteWei: terms.bytePriceWei,
            tokenWei: terms.tokenPriceWei,
            maxPromptBytes: terms.maxPromptBytes,
            maxTokens: terms.maxTokens
        });
        s.rules = Rules({
            bondWei: terms.bondWei,
            turnSeconds: terms.turnSeconds,
            windowSeconds: terms.windowSeconds,
            lifetimeSeconds: terms.lifetimeSeconds,
            seatCount: 0,
            ownerCount: 0,
            minOwners: terms.minOwners
        });
        s.arbiter = terms.arbiter;
        s.attester = terms.attester;
        s.missPenaltyWei = terms.missPenaltyWei;
        s.seatWei = terms.seatWei;
        emit ServiceCreated(service, terms.model, msg.sender, terms);

        // Nothing about the service can be changed meanwhile, and whatever it is asked for fails without seats.
        // slither-disable-next-line reentrancy-no-eth
        uint32 disputeSeconds = terms.arbiter.adopt(service, terms);
        if (terms.attester != address(0)) IAttester(terms.attester).adopt(service, terms);
        s.leaveSeconds = uint32(terms.lifetimeSeconds) + terms.windowSeconds + disputeSeconds;
    }

    /* SEATS */

    /// @inheritdoc IServices
    function join(ServiceId service, address operator) external payable returns (uint16 seat) {
        Service storage s = _services[service];
        if (address(s.arbiter) == address(0)) revert UnknownService(service);
        if (msg.value < s.seatWei) revert DepositTooSmall(s.seatWei, msg.value);

        uint16[] storage vacant = _vacant[service];
        if (vacant.length > 0) {
            seat = vacant[vacant.length - 1];
            vacant.pop();
        } else {
            seat = s.taken;
            if (seat == MAX_SEATS) revert ServiceFull(service);
            s.taken = seat + 1;
        }

        // INVARIANT: the seat's balance is the ether sent. The seat is new or was emptied by `exit`, so it owes nothing.
        uint48 readyAt = uint48(block.timestamp) + s.rules.lifetimeSeconds;
        _seats[service][seat] = SeatState({
            money: SeatMoney({
                operator: operator,
                balanceWei: _toBalance(msg.value),
                openAnswers: 0,
                shortUntil: 0,
                status: SeatStatus.Joining
            }),
            owner: msg.sender,
            readyAt: readyAt,
            place: 0,
            duties: 0
        });
        emit SeatTaken(service, seat, msg.sender, operator, readyAt);
    }

    /// @inheritdoc IServices
    function activate(ServiceId service, uint16 seat) external {
        SeatState storage state = _seats[service][seat];
        if (state.money.status != SeatStatus.Joining) revert WrongSeatStatus(service, seat, state.money.status);
        if (block.timestamp < state.readyAt) revert NotReadyYet(state.readyAt);

        _enterDraw(service, seat, state);
    }

    /// @inheritdoc IServices
    function announceExit(ServiceId service, uint16 seat) external {
        SeatState storage state = _ownedSeat(service, seat);
        SeatStatus status = state.money.status;
        if (_isDrawn(status)) _leaveDraw(service, state);
        else if (status != SeatStatus.Suspended) revert WrongSeatStatus(service, seat, status);

        uint48 readyAt = uint48(block.timestamp) + _services[service].leaveSeconds;
        state.money.status = SeatStatus.Leaving;
        state.readyAt = readyAt;
        emit SeatLeaving(service, seat, readyAt);
    }

    /// @inheritdoc IServices
    function exit(ServiceId service, uint16 seat) external {
        SeatState storage state = _ownedSeat(service, seat);
        if (state.money.status != SeatStatus.Leaving) revert WrongSeatStatus(service, seat, state.money.status);
        if (block.timestamp < state.readyAt) revert NotReadyYet(state.readyAt);
        uint16 locks = state.duties + state.money.openAnswers;
        if (locks > 0) revert SeatLocked(service, seat, locks);

        // INVARIANT: no bond is locked and no panel counts on the seat; its whole balance becomes its owner's credit, once.
        uint256 balanceWei = state.money.balanceWei;
        delete _seats[service][seat];
        _vacant[service].push(seat);
        credit[msg.sender] += balanceWei;
        emit SeatLeft(service, seat, balanceWei);
    }

    /// @inheritdoc IServices
    function topUp(ServiceId service, uint16 seat) external payable {
        SeatState storage state = _seats[service][seat];
        if (state.money.status == SeatStatus.Empty) revert WrongSeatStatus(service, seat, state.money.status);

        Rules storage rules = _services[service].rules;
        SeatMoney memory money = state.money;
        _noteShort(money, rules.bondWei, rules.turnSeconds);
        // INVARIANT: the balance grows by the ether sent.
        money.balanceWei = _toBalance(money.balanceWei + msg.value);
        state.money = money;
        emit SeatToppedUp(service, seat, msg.sender, msg.value);
        if (money.status == SeatStatus.Suspended && money.balanceWei >= rules.bondWei) {
            _enterDraw(service, seat, state);
        }
    }

    /// @notice What the oracle runs after a fine or a ruling.
    /// @dev Payable, because a ruling brings ether along. The oracle does not expose it.
    function suspendDrained(ServiceId service, uint16 seat) external payable {
        _suspendIfDrained(service, seat, _seats[service][seat]);
    }

    /// @inheritdoc IServices
    function suspend(ServiceId service, uint16 seat) external {
        SeatState storage state = _seats[service][seat];
        if (!_suspendIfDrained(service, seat, state)) {
            revert NotDrained(service, seat, state.money.balanceWei, state.money.openAnswers);
        }
    }

    /// @inheritdoc IServices
    function withdrawFromSeat(ServiceId service, uint16 seat, uint72 amountWei) external {
        SeatState storage state = _ownedSeat(service, seat);
        uint256 neededWei = uint256(amountWei) + _services[service].seatWei;
        if (state.money.balanceWei < neededWei) {
            revert InsufficientSeatBalance(service, seat, state.money.balanceWei, neededWei);
        }

        // INVARIANT: balance becomes the same amount of credit, and what may be fined or locked, at least `seatWei`, stays.
        state.money.balanceWei -= amountWei;
        credit[msg.sender] += amountWei;
        emit SeatWithdrawn(service, seat, amountWei);
    }

    /// @inheritdoc IServices
    function setOperator(ServiceId service, uint16 seat, address operator) external {
        _ownedSeat(service, seat).money.operator = operator;
        emit OperatorChanged(service, seat, operator);
    }

    /// @inheritdoc IServices
    function lockSeat(ServiceId service, uint16 seat) external onlyArbiter(service) {
        SeatState storage state = _seats[service][seat];
        if (state.money.status < SeatStatus.Active) revert WrongSeatStatus(service, seat, state.money.status);
        ++state.duties;
    }

    /// @inheritdoc IServices
    function unlockSeat(ServiceId service, uint16 seat, uint72 fineWei) external onlyArbiter(service) {
        SeatState storage state = _seats[service][seat];
        --state.duties;
        // INVARIANT: an arbiter can burn a seat's free balance, never pay it to anyone.
        if (fineWei > 0) {
            uint256 finedWei = _fine(state, fineWei);
            credit[BURN] += finedWei;
            emit SeatFined(service, seat, finedWei);
            _suspendIfDrained(service, seat, state);
        }
    }

    /* THE DRAW: its places are [0, seatCount), each leads to one seat; a place that empties gets the seat of the last */

    /// @dev A new seat stands in a new last place. If that is the place of its own number, and it never led elsewhere, nothing
    /// is stored and the status is Active; such a seat answers for the least gas.
    function _enterDraw(ServiceId service, uint16 seat, SeatState storage state) private {
        Rules storage rules = _services[service].rules;
        uint16 place = rules.seatCount;
        rules.seatCount = place + 1;
        if (_activeSeats[service][state.owner]++ == 0) ++rules.ownerCount;
        state.place = place;
        state.readyAt = uint48(block.timestamp);
        emit SeatActivated(service, seat);
        if (place == seat && _places[service][place].length == 0) {
            state.money.status = SeatStatus.Active;
        } else {
            SeatMoney storage namesake = _seats[service][place].money;
            if (namesake.status == SeatStatus.Active) namesake.status = SeatStatus.Moved;
            state.money.status = SeatStatus.Moved;
            _setPlace(service, place, seat);
        }
    }

    /// @dev The seat in the last place takes the place of the one that leaves, for later requests. Earlier requests draw both
    /// as before.
    function _leaveDraw(ServiceId service, SeatState storage state) private {
        Rules storage rules = _services[service].rules;
        uint16 last = rules.seatCount - 1;
        rules.seatCount = last;
        if (--_activeSeats[service][state.owner] == 0) --rules.ownerCount;
        uint16 place = state.place;
        if (place == last) return;
        uint16 moved = _seatAt(service, last, block.number + 1);
        _seats[service][moved].place = place;
        _setPlace(service, place, moved);
    }

    function _setPlace(ServiceId service, uint16 place, uint16 seat) private {
        uint64[] storage trace = _places[service][place];
        uint64 entry = uint64(SafeCast.toUint48(block.number)) << 16 | seat;
        uint256 length = trace.length;
        if (length > 0 && trace[length - 1] >> 16 == block.number) trace[length - 1] = entry;
        else trace.push(entry);
        emit SeatPlaced(service, place, seat);
    }

    /// @dev Takes a seat out of the draw if it has less than a bond and no open answer whose bond could return.
    function _suspendIfDrained(ServiceId service, uint16 seat, SeatState storage state) private returns (bool) {
        SeatMoney memory money = state.money;
        uint256 bondWei = _services[service].rules.bondWei;
        if (!_isDrawn(money.status) || money.openAnswers > 0 || money.balanceWei >= bondWei) return false;
        _leaveDraw(service, state);
        state.money.status = SeatStatus.Suspended;
        emit SeatSuspended(service, seat);
        return true;
    }

    /* INTERNALS */

    /// @dev The first block in which a request can be answered is the third after its own: the first turn must reach it.
    function _checkTimes(Terms calldata terms) private view {
        uint256 leastTurn = (RequestLib.SEED_DELAY + 1) * blockMillis / 1000 + 1;
        if (terms.turnSeconds < leastTurn) revert TurnTooShort(terms.turnSeconds, leastTurn);
        if (terms.windowSeconds == 0 || terms.windowSeconds > MAX_WINDOW) {
            revert WindowOutOfRange(terms.windowSeconds, MAX_WINDOW);
        }
        uint256 mostLifetime = Math.min(MAX_LIFETIME, uint256(terms.turnSeconds) * (MAX_TURNS + 1) - 1);
        if (terms.lifetimeSeconds < terms.turnSeconds || terms.lifetimeSeconds > mostLifetime) {
            revert LifetimeOutOfRange(terms.lifetimeSeconds, terms.turnSeconds, mostLifetime);
        }
    }

    /// @dev 72 bits hold 4,722 ether.
    function _toBalance(uint256 amountWei) private pure returns (uint72) {
        if (amountWei > type(uint72).max) revert SeatBalanceTooLarge(amountWei, type(uint72).max);
        return uint72(amountWei);
    }

    function _ownedSeat(ServiceId service, uint16 seat) private view returns (SeatState storage state) {
        state = _seats[service][seat];
        if (msg.sender != state.owner) revert NotSeatOwner(service, seat, state.owner);
    }
}
