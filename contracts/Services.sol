// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";

import {Seats} from "./Seats.sol";
import {ServiceStore} from "./ServiceStore.sol";
import {ServiceId} from "./interfaces/Ids.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IServices} from "./interfaces/IServices.sol";
import {Delegated} from "./libraries/Delegated.sol";

/// @title Services
/// @notice The oracle's side of services and seats: their storage is here; the code that creates and changes them is in
/// `Seats`, whose address never changes.
abstract contract Services is ServiceStore {
    // INVARIANT: this code runs on the oracle's money, so it never changes, it lays out storage as `ServiceStore` does, and
    // it adds the ether of a call to one seat's balance, once.
    Seats public immutable seats;
    IModelRegistry public immutable models;

    /// @notice The least time between two blocks, in thousandths of a second; see `Seats`.
    uint32 public immutable blockMillis;

    constructor(Seats seats_) {
        seats = seats_;
        models = seats_.models();
        blockMillis = seats_.blockMillis();
    }

    /// @inheritdoc IServices
    function createService(Terms calldata) external returns (ServiceId) {
        Delegated.run(address(seats));
    }

    /// @inheritdoc IServices
    function join(ServiceId, address) external payable returns (uint16) {
        Delegated.run(address(seats));
    }

    /// @inheritdoc IServices
    function activate(ServiceId, uint16) external {
        Delegated.run(address(seats));
    }

    /// @inheritdoc IServices
    function announceExit(ServiceId, uint16) external {
        Delegated.run(address(seats));
    }

    /// @inheritdoc IServices
    function exit(ServiceId, uint16) external {
        Delegated.run(address(seats));
    }

    /// @inheritdoc IServices
    function topUp(ServiceId, uint16) external payable {
        Delegated.run(address(seats));
    }

    /// @inheritdoc IServices
    function withdrawFromSeat(ServiceId, uint16, uint72) external {
        Delegated.run(address(seats));
    }

    /// @inheritdoc IServices
    function setOperator(ServiceId, uint16, address) external {
        Delegated.run(address(seats));
    }

    /// @inheritdoc IServices
    function suspend(ServiceId, uint16) external {
        Delegated.run(address(seats));
    }

    /// @inheritdoc IServices
    function lockSeat(ServiceId, uint16) external {
        Delegated.run(address(seats));
    }

    /// @inheritdoc IServices
    function unlockSeat(ServiceId, uint16, uint72) external {
        Delegated.run(address(seats));
    }

    /// @dev Takes a seat out of the draw if it cannot cover another bond and has none to get back.
    function _suspendIfDrained(ServiceId service, uint16 seat, uint256 bondWei) internal {
        SeatMoney memory money = _seats[service][seat].money;
        if (!_isDrawn(money.status) || money.openAnswers > 0 || money.balanceWei >= bondWei) return;
        // The code is the one named at deployment.
        // slither-disable-next-line controlled-delegatecall
        Address.functionDelegateCall(address(seats), abi.encodeCall(Seats.suspendDrained, (service, seat)));
    }
}
