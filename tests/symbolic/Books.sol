// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ModelRegistry} from "../../contracts/ModelRegistry.sol";
import {Oracle} from "../../contracts/Oracle.sol";
import {Seats} from "../../contracts/Seats.sol";
import {IArbiter} from "../../contracts/interfaces/IArbiter.sol";
import {RequestId, ServiceId} from "../../contracts/interfaces/Ids.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {RequestLib} from "../../contracts/libraries/RequestLib.sol";
import {Seeds} from "../../contracts/libraries/Seeds.sol";

/// @title The oracle with its books open.
/// @notice The code under test is all `Oracle`'s; this only writes the state in which a call begins.
contract Books is Oracle {
    using RequestLib for Answer;
    using RequestLib for Request;
    using Seeds for Request;

    constructor() Oracle(new Seats(new ModelRegistry(), 12_000)) {}

    receive() external payable {}

    function setCredit(address account, uint256 amountWei) external {
        credit[account] = amountWei;
    }

    function setService(ServiceId service, Service calldata state) external {
        _services[service] = state;
    }

    function setSeat(ServiceId service, uint256 seat, SeatState calldata state) external {
        _seats[service][seat] = state;
    }

    function setActive(ServiceId service, address owner, uint256 seatCount) external {
        _activeSeats[service][owner] = seatCount;
    }

    function setOpen(Request calldata req, uint48 startsAt, uint48 startsBlock) external {
        _state[req.id()] = RequestLib.packOpen(Round({firstTurn: 0, startsAt: startsAt}), startsBlock);
    }

    function setAnswered(Request calldata req, Answer calldata ans, Status status, uint256 flags) external {
        _state[req.id()] = uint256(ans.hash()) >> 8 << 8 | flags | uint256(status);
    }

    /// @return whether the chain knows the block that says whose turn it is.
    function isDrawn(Request calldata req) external view returns (bool) {
        return req.seedBlockHash() != 0;
    }

    function seatState(ServiceId service, uint256 seat) external view returns (SeatState memory) {
        return _seats[service][seat];
    }
}
