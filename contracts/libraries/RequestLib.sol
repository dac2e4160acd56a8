// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {RequestId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";

/// @title The packed words of `Request` and `Answer`.
/// @notice Both travel through calldata and events several times in a request's life, where every word costs; so the
/// small numbers share words, first field lowest. `ILens.unpackRequest` and `unpackAnswer` show them apart.
library RequestLib {
    /// @dev Blocks between a request and the block that fixes its seed.
    uint256 internal constant SEED_DELAY = 2;

    /// @dev A request is named by the hash of everything it says: keccak256(abi.encode(r)), five words as they lie in memory.
    function id(IOracle.Request memory r) internal pure returns (RequestId requestId) {
        assembly ("memory-safe") {
            requestId := keccak256(r, 0xa0)
        }
    }

    /// @dev keccak256(abi.encode(a)): four words.
    function hash(IOracle.Answer memory a) internal pure returns (bytes32 answerHash) {
        assembly ("memory-safe") {
            answerHash := keccak256(a, 0x80)
        }
    }

    /* REQUEST: head */

    function packHead(address payer_, uint48 deadline_, uint48 blockNumber_) internal pure returns (uint256) {
        return uint160(payer_) | uint256(deadline_) << 160 | uint256(blockNumber_) << 208;
    }

    function payer(IOracle.Request calldata r) internal pure returns (address) {
        return address(uint160(r.head));
    }

    function deadline(IOracle.Request calldata r) internal pure returns (uint256) {
        return uint48(r.head >> 160);
    }

    function blockNumber(IOracle.Request calldata r) internal pure returns (uint256) {
        return r.head >> 208;
    }

    /* REQUEST: rules */

    function packRules(IOracle.Params calldata p, uint24 turnSeconds_, uint24 windowSeconds_, uint16 seatCount_)
        internal
        pure
        returns (uint256)
    {
        return uint256(p.maxTokens) | uint256(p.temperature) << 24 | uint256(p.cutoff) << 56 | uint256(p.callbackGas)
            << 88 | uint256(p.callbackGasPriceWei) << 120 | uint256(turnSeconds_) << 184 | uint256(windowSeconds_)
            << 208 | uint256(seatCount_) << 232 | (p.isPrivate ? uint256(1) << 248 : 0);
    }

    function maxTokens(IOracle.Request calldata r) internal pure returns (uint256) {
        return uint24(r.rules);
    }

    function temperature(IOracle.Request calldata r) internal pure returns (uint256) {
        return uint32(r.rules >> 24);
    }

    function cutoff(IOracle.Request calldata r) internal pure returns (uint256) {
        return uint32(r.rules >> 56);
    }

    function callbackGas(IOracle.Request calldata r) internal pure returns (uint256) {
        return uint32(r.rules >> 88);
    }

    function callbackGasPriceWei(IOracle.Request calldata r) internal pure returns (uint256) {
        return uint64(r.rules >> 120);
    }

    function turnSeconds(IOracle.Request calldata r) internal pure returns (uint256) {
        return uint24(r.rules >> 184);
    }

    function windowSeconds(IOracle.Request calldata r) internal pure returns (uint256) {
        return uint24(r.rules >> 208);
    }

    function seatCount(IOracle.Request calldata r) internal pure returns (uint256) {
        return uint16(r.rules >> 232);
    }

    function isPrivate(IOracle.Request calldata r) internal pure returns (bool) {
        return r.rules >> 248 != 0;
    }

    /* REQUEST: money */

    function packMoney(uint96 feeWei_, uint64 tokenPriceWei_, uint72 bondWei_, uint24 valueFinney_)
        internal
        pure
        returns (uint256)
    {
        return feeWei_ | uint256(tokenPriceWei_) << 96 | uint256(bondWei_) << 160 | uint256(valueFinney_) << 232;
    }

    function feeWei(IOracle.Request calldata r) internal pure returns (uint256) {
        return uint96(r.money);
    }

    function tokenPriceWei(IOracle.Request calldata r) internal pure returns (uint256) {
        return uint64(r.money >> 96);
    }

    function bondWei(IOracle.Request calldata r) internal pure returns (uint256) {
        return uint72(r.money >> 160);
    }

    /// @dev In units of 10^15 wei.
    function valueFinney(IOracle.Request calldata r) internal pure returns (uint256) {
        return r.money >> 232;
    }

    /* ANSWER: head */

    function packAnswerHead(uint32 turn_, uint16 seat_, uint48 closesAt_, uint24 tokenCount_)
        internal
        pure
        returns (uint256)
    {
        return turn_ | uint256(seat_) << 32 | uint256(closesAt_) << 48 | uint256(tokenCount_) << 96;
    }

    function turn(IOracle.Answer calldata a) internal pure returns (uint32) {
        return uint32(a.head);
    }

    function seat(IOracle.Answer calldata a) internal pure returns (uint16) {
        return seatIn(a.head);
    }

    function closesAt(IOracle.Answer calldata a) internal pure returns (uint256) {
        return uint48(a.head >> 48);
    }

    function tokenCount(IOracle.Answer calldata a) internal pure returns (uint256) {
        return tokenCountIn(a.head);
    }

    function seatIn(uint256 head) internal pure returns (uint16) {
        return uint16(head >> 32);
    }

    function tokenCountIn(uint256 head) internal pure returns (uint256) {
        return uint24(head >> 96);
    }

    /* STATE: status (4 bits), flags (4); while open firstTurn (32), startsAt (48), startsBlock (48); once answered the upper
    248 bits of the answer's hash */

    /// @dev Flag of an undelivered request: its callback was left, not tried.
    uint256 internal constant LEFT = 1 << 7;

    /// @dev Flag beside LEFT: what the callback escrowed went back to the payer.
    uint256 internal constant RETURNED = 1 << 6;

    function packOpen(IOracle.Round memory round, uint48 startsBlock_) internal pure returns (uint256) {
        return uint256(IOracle.Status.Open) | uint256(round.firstTurn) << 8 | uint256(round.startsAt) << 40
            | uint256(startsBlock_) << 88;
    }

    function startsBlock(uint256 state) internal pure returns (uint256) {
        return uint48(state >> 88);
    }

    function statusIn(uint256 state) internal pure returns (IOracle.Status) {
        return IOracle.Status(state & 0x0f);
    }

    function withoutFlags(uint256 state) internal pure returns (uint256) {
        return state & ~(LEFT | RETURNED);
    }

    /// @dev Where the turns stand. Reverts with WrongStatus unless open.
    function roundIn(RequestId requestId, uint256 state) internal pure returns (IOracle.Round memory) {
        if (statusIn(state) != IOracle.Status.Open) revert IOracle.WrongStatus(requestId, statusIn(state));
        return IOracle.Round({firstTurn: uint32(state >> 8), startsAt: uint48(state >> 40)});
    }

    /* TURNS */

    function turnAt(IOracle.Request calldata r, IOracle.Round memory round, uint256 time)
        internal
        pure
        returns (uint32)
    {
        return round.firstTurn + uint32((time - round.startsAt) / turnSeconds(r));
    }

    function placeOf(IOracle.Request calldata r, RequestId requestId, bytes32 seed, uint32 turn_)
        internal
        pure
        returns (uint16)
    {
        // docs/protocol.md says who could influence the seed; the remainder's bias is below 2^-240.
        // slither-disable-next-line weak-prng
        return uint16(uint256(keccak256(abi.encode(seed, requestId, turn_))) % seatCount(r));
    }
}
