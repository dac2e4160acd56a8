// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Credits} from "./Credits.sol";
import {IArbiter} from "./interfaces/IArbiter.sol";
import {IServices} from "./interfaces/IServices.sol";
import {ServiceId} from "./interfaces/Types.sol";

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
        uint72 seatWei;
        uint32 leaveSeconds;
        address attester;
    }

    /// @dev One slot: all that answering and finalizing touch.
    struct SeatMoney {
        address operator;
        uint72 balanceWei;
        uint16 locks;
        SeatStatus status;
    }

    struct SeatState {
        SeatMoney money;
        address owner;
        uint48 readyAt;
    }

    // Written by the code of `Seats`, which runs on this layout by delegatecall.
    // slither-disable-next-line uninitialized-state
    mapping(ServiceId service => Service) internal _services;
    mapping(ServiceId service => mapping(uint256 seat => SeatState)) internal _seats;
    mapping(ServiceId service => uint16[]) internal _vacant;
    mapping(ServiceId service => mapping(address owner => uint256)) internal _activeSeats;

    /* VIEWS */

    /// @inheritdoc IServices
    function counts(ServiceId service) external view returns (uint16, uint16) {
        Rules storage rules = _services[service].rules;
        return (rules.seatCount, rules.ownerCount);
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
            locks: state.money.locks,
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

    /// @dev Takes up to `fineWei` of what is free; where it goes is the caller's business.
    function _fine(SeatState storage state, uint256 fineWei) internal returns (uint256 finedWei) {
        finedWei = fineWei < state.money.balanceWei ? fineWei : state.money.balanceWei;
        state.money.balanceWei -= uint72(finedWei);
    }

    /// @dev Adds to a seat's balance and ends `locksEnded` of its locks. What does not fit its 72 bits becomes its
    /// owner's credit, so that no payment can ever revert.
    function _paySeat(SeatState storage state, uint256 amountWei, uint16 locksEnded) internal {
        SeatMoney memory money = state.money;
        uint256 balanceWei = money.balanceWei + amountWei;
        if (balanceWei > type(uint72).max) {
            credit[state.owner] += balanceWei - type(uint72).max;
            balanceWei = type(uint72).max;
        }
        money.balanceWei = uint72(balanceWei);
        money.locks -= locksEnded;
        state.money = money;
    }
}
