// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {RequestId} from "./interfaces/Ids.sol";
import {ILens} from "./interfaces/ILens.sol";
import {IOracle} from "./interfaces/IOracle.sol";
import {IServices} from "./interfaces/IServices.sol";
import {RequestLib} from "./libraries/RequestLib.sol";
import {Seeds} from "./libraries/Seeds.sol";

/// @title Lens
contract Lens is ILens {
    using RequestLib for IOracle.Request;
    using RequestLib for IOracle.Answer;
    using Seeds for IOracle.Request;

    /// @inheritdoc ILens
    IOracle public immutable oracle;

    constructor(IOracle oracle_) {
        oracle = oracle_;
    }

    /// @inheritdoc ILens
    function turnOf(IOracle.Request calldata req) external view returns (uint32 turn, uint16 seat, address operator) {
        RequestId requestId = req.id();
        bytes32 seed = req.seedBlockHash();
        if (seed == 0) revert IOracle.SeedMismatch(requestId, 0, 0);
        turn = req.turnAt(RequestLib.roundIn(requestId, oracle.stateOf(requestId)), block.timestamp);
        seat = oracle.seatAt(req.service, req.placeOf(requestId, seed, turn), req.blockNumber());
        IServices.Seat memory state = oracle.seatOf(req.service, seat);
        if (state.status >= IServices.SeatStatus.Active) operator = state.operator;
    }

    /// @inheritdoc ILens
    function roundOf(RequestId requestId) external view returns (IOracle.Round memory round) {
        uint256 state = oracle.stateOf(requestId);
        if (RequestLib.statusIn(state) == IOracle.Status.Open) return RequestLib.roundIn(requestId, state);
    }

    /// @inheritdoc ILens
    function idOf(IOracle.Request calldata req) external pure returns (RequestId) {
        return req.id();
    }

    /// @inheritdoc ILens
    function unpackRequest(IOracle.Request calldata req) external pure returns (RequestFields memory) {
        return RequestFields({
            service: req.service,
            promptHash: req.promptHash,
            payer: req.payer(),
            blockNumber: uint48(req.blockNumber()),
            turnSeconds: uint24(req.turnSeconds()),
            windowSeconds: uint24(req.windowSeconds()),
            seatCount: uint16(req.seatCount()),
            feeWei: uint96(req.feeWei()),
            tokenPriceWei: uint64(req.tokenPriceWei()),
            bondWei: uint72(req.bondWei()),
            params: IOracle.Params({
                maxTokens: uint24(req.maxTokens()),
                temperature: uint32(req.temperature()),
                cutoff: uint32(req.cutoff()),
                callbackGas: uint32(req.callbackGas()),
                callbackGasPriceWei: uint64(req.callbackGasPriceWei()),
                deadline: uint48(req.deadline()),
                valueFinney: uint24(req.valueFinney()),
                isPrivate: req.isPrivate()
            })
        });
    }

    /// @inheritdoc ILens
    function unpackAnswer(IOracle.Answer calldata ans) external pure returns (AnswerFields memory) {
        return AnswerFields({
            turn: ans.turn(),
            seat: ans.seat(),
            closesAt: uint48(ans.closesAt()),
            tokenCount: uint24(ans.tokenCount()),
            outputHash: ans.outputHash,
            tokensRoot: ans.tokensRoot,
            seedBlockHash: ans.seedBlockHash
        });
    }
}
