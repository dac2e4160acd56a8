// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ServiceStore} from "./ServiceStore.sol";
import {IAttester} from "./interfaces/IAttester.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IServices} from "./interfaces/IServices.sol";
import {ServiceId} from "./interfaces/Types.sol";

/// @title Seats
/// @notice Creates services; takes, keeps and gives up their seats: all that no request waits for.
/// @dev The oracle runs this code on its own storage, by `delegatecall`. Called directly it keeps books of its own, which
/// nobody reads.
contract Seats is ServiceStore {
    /// @notice Longest `lifetimeSeconds`. EIP-2935 keeps 8191 block hashes: 27 hours of 12-second blocks.
    uint32 public constant MAX_LIFETIME = 1 days;

    /// @notice Most turns that can pass in one request: bounds the work of charging for missed ones.
    uint32 public constant MAX_TURNS = 32;

    /// @notice Most seats of a service: bounds the work of drawing a panel.
    uint16 public constant MAX_SEATS = 1024;

    IModelRegistry public immutable models;

    constructor(IModelRegistry models_) {
        models = models_;
    }

    /* SERVICES */

    /// @inheritdoc IServices
    function createService(Terms calldata terms) external returns (ServiceId service) {
        if (!models.registered(terms.model)) revert UnknownModel(terms.model);
        if (terms.turnSeconds == 0 || terms.windowSeconds == 0) revert BadTerms("turn and window must last");
        if (terms.lifetimeSeconds > MAX_LIFETIME) revert BadTerms("lifetime above MAX_LIFETIME");
        if (terms.lifetimeSeconds < terms.turnSeconds) revert BadTerms("lifetime shorter than a turn");
        if (terms.lifetimeSeconds / terms.turnSeconds > MAX_TURNS) revert BadTerms("more turns than MAX_TURNS");
        if (terms.windowSeconds > 30 days) revert BadTerms("window above 30 days");
        if (terms.bondWei == 0 || terms.seatWei < terms.bondWei) revert BadTerms("a seat must cover a bond");
        if (terms.maxPromptBytes == 0 || terms.maxTokens == 0) revert BadTerms("prompt and output need room");
        if (terms.minOwners == 0) revert BadTerms("minOwners is zero");

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
            seat = s.rules.seatCount;
            if (seat == MAX_SEATS) revert ServiceFull(service);
            s.rules.seatCount = seat + 1;
        }

        uint48 readyAt = uint48(block.timestamp) + s.rules.lifetimeSeconds;
        _seats[service][seat] = SeatState({
            money: SeatMoney({
                operator: operator, balanceWei: _toBalance(msg.value), locks: 0, status: SeatStatus.Joining
            }),
            owner: msg.sender,
            readyAt: readyAt
        });
        emit SeatTaken(service, seat, msg.sender, operator, readyAt);
    }

    /// @inheritdoc IServices
    function activate(ServiceId service, uint16 seat) external {
        SeatState storage state = _seats[service][seat];
        if (state.money.status != SeatStatus.Joining) revert WrongSeatStatus(service, seat, state.money.status);
        if (block.timestamp < state.readyAt) revert NotReadyYet(state.readyAt);

        state.money.status = SeatStatus.Active;
        state.readyAt = uint48(block.timestamp);
        if (_activeSeats[service][state.owner]++ == 0) ++_services[service].rules.ownerCount;
        emit SeatActivated(service, seat);
    }

    /// @inheritdoc IServices
    function announceExit(ServiceId service, uint16 seat) external {
        SeatState storage state = _ownedSeat(service, seat);
        if (state.money.status != SeatStatus.Active) revert WrongSeatStatus(service, seat, state.money.status);

        if (--_activeSeats[service][msg.sender] == 0) --_services[service].rules.ownerCount;
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
        if (state.money.locks > 0) revert SeatLocked(service, seat, state.money.locks);

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

        state.money.balanceWei = _toBalance(state.money.balanceWei + msg.value);
        emit SeatToppedUp(service, seat, msg.sender, msg.value);
    }

    /// @inheritdoc IServices
    function withdrawFromSeat(ServiceId service, uint16 seat, uint72 amountWei) external {
        SeatState storage state = _ownedSeat(service, seat);
        uint256 neededWei = uint256(amountWei) + _services[service].seatWei;
        if (state.money.balanceWei < neededWei) {
            revert InsufficientSeatBalance(service, seat, state.money.balanceWei, neededWei);
        }

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
        ++state.money.locks;
    }

    /// @inheritdoc IServices
    function unlockSeat(ServiceId service, uint16 seat, uint72 fineWei) external onlyArbiter(service) {
        SeatState storage state = _seats[service][seat];
        --state.money.locks;
        if (fineWei > 0) {
            uint256 finedWei = _fine(state, fineWei);
            credit[BURN] += finedWei;
            emit SeatFined(service, seat, finedWei);
        }
    }

    /* INTERNALS */

    /// @dev 72 bits hold 4,722 ether.
    function _toBalance(uint256 amountWei) private pure returns (uint72) {
        if (amountWei > type(uint72).max) revert BadTerms("a seat holds less than 2^72 wei");
        return uint72(amountWei);
    }

    function _ownedSeat(ServiceId service, uint16 seat) private view returns (SeatState storage state) {
        state = _seats[service][seat];
        if (msg.sender != state.owner) revert NotSeatOwner(service, seat, state.owner);
    }
}
