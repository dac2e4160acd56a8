// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IDisputeGame} from "../../contracts/interfaces/IDisputeGame.sol";
import {RequestId} from "../../contracts/interfaces/Ids.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IReferee} from "../../contracts/interfaces/IReferee.sol";
import {Vm} from "forge-std/Vm.sol";
import {Village} from "./Village.sol";

/// @title One answer of two tokens to five, whose padding is at fault, and games about it.
/// @dev No referee looks at it before it is refuted, so lists may say anything.
abstract contract OneAnswer is Village {
    uint256 internal constant FIRST = 5; // tokens before the first that can be disputed
    uint256 internal constant BOND = 0.1 ether;

    IOracle.Request internal req;
    IOracle.Answer internal ans;
    IReferee.Tokens internal tokens;
    IDisputeGame.CaseId internal caseId;
    RequestId internal requestId;
    address internal node;
    uint16 internal seat;
    uint256 internal closesAt;
    bytes internal entries;

    function setUp() external {
        _found();
        entries = new bytes(64);
        entries[63] = 0x01;
        tokens = IReferee.Tokens(FIRST, _root(_tokenLeaves(entries)));
        bytes memory prompt = questions[0].prompt;
        IOracle.Params memory params;
        params.maxTokens = 2;
        params.deadline = uint48(vm.getBlockTimestamp() + terms.lifetimeSeconds);
        (uint256 feeWei,,) = oracle.quote(service, prompt.length, params);
        uint256 askedIn = vm.getBlockNumber();
        vm.deal(payer, feeWei);
        vm.recordLogs();
        vm.prank(payer);
        oracle.request{value: feeWei}(service, prompt, params);
        (req,) = abi.decode(_said(IOracle.RequestPosted.selector), (IOracle.Request, bytes));
        requestId = lens.idOf(req);
        for (uint256 i; i < 3; ++i) {
            _mine();
        }
        (, seat, node) = lens.turnOf(req);
        vm.prank(node);
        oracle.answer(req, "yes", 2, keccak256(abi.encode(tokens)), blockhash(askedIn + 2));
        (ans,) = abi.decode(_said(IOracle.AnswerPosted.selector), (IOracle.Answer, bytes));
        caseId = game.caseIdOf(req, ans);
        closesAt = vm.getBlockTimestamp() + terms.windowSeconds;
    }

    function _said(bytes32 topic) internal returns (bytes memory data) {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] == topic) data = logs[i].data;
        }
    }

    /* CALLS, each one for what must revert */

    function challenge(uint256 positions, uint256 valueWei) public returns (IDisputeGame.GameId) {
        vm.deal(challenger, valueWei);
        vm.prank(challenger);
        return game.challenge{value: valueWei}(req, ans, tokens, positions);
    }

    /// @dev The first list, or the second, whose last root is bound.
    function open(IDisputeGame.GameId id, bytes32 last) public returns (bytes32[] memory list) {
        IDisputeGame.Turn memory turn = game.gameOf(id).turn;
        bool first = turn.stage == IDisputeGame.Stage.Steps;
        list = new bytes32[](first ? steps : referee.operators(model, turn.step));
        for (uint256 i; i < list.length; ++i) {
            list[i] = i + 1 == list.length && !first ? last : keccak256(abi.encode(i));
        }
        vm.prank(node);
        game.open(id, list);
    }

    function pick(IDisputeGame.GameId id, bytes32[] memory list, uint256 child) public {
        vm.prank(challenger);
        game.pick(id, child, list[child], _proof(list, child));
    }

    function timeout(IDisputeGame.GameId id) public {
        game.timeout(id, req, ans);
    }
}
