// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {RequestId, ServiceId} from "./Ids.sol";
import {IOracle} from "./IOracle.sol";

/// @title What people and nodes read of requests, in their own terms.
/// @notice Holds nothing, and no contract depends on it: whoever wants other views deploys another lens.
interface ILens {
    /// @notice A request with its fields apart.
    struct RequestFields {
        ServiceId service;
        bytes32 promptHash;
        address payer;
        uint48 blockNumber;
        uint24 turnSeconds;
        uint24 windowSeconds;
        uint16 seatCount;
        uint96 feeWei;
        uint64 tokenPriceWei;
        uint72 bondWei;
        IOracle.Params params;
    }

    /// @notice An answer with its fields apart.
    struct AnswerFields {
        uint32 turn;
        uint16 seat;
        uint48 closesAt;
        uint24 tokenCount;
        bytes32 outputHash;
        bytes32 tokensRoot;
        bytes32 seedBlockHash;
    }

    function oracle() external view returns (IOracle);

    /// @notice The entitled seat now. `operator` is zero if the seat is vacant or not active.
    /// @dev Reverts with SeedMismatch before block `blockNumber + SEED_DELAY` has a successor, and with WrongStatus unless
    /// the request is open.
    function turnOf(IOracle.Request calldata req) external view returns (uint32 turn, uint16 seat, address operator);

    /// @notice Where the turns of an open request stand; zero if it is not open.
    function roundOf(RequestId requestId) external view returns (IOracle.Round memory);

    /// @notice The id that a request has.
    function idOf(IOracle.Request calldata req) external pure returns (RequestId);

    function unpackRequest(IOracle.Request calldata req) external pure returns (RequestFields memory);

    function unpackAnswer(IOracle.Answer calldata ans) external pure returns (AnswerFields memory);
}
