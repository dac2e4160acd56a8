// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IAnswerReferee} from "../../contracts/interfaces/IAnswerReferee.sol";
import {IDisputeGame} from "../../contracts/interfaces/IDisputeGame.sol";
import {ModelId, RequestId, ServiceId} from "../../contracts/interfaces/Ids.sol";
import {ILens} from "../../contracts/interfaces/ILens.sol";
import {IModelRegistry} from "../../contracts/interfaces/IModelRegistry.sol";
import {IArbiter} from "../../contracts/interfaces/IArbiter.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IReferee} from "../../contracts/interfaces/IReferee.sol";
import {IRefutations} from "../../contracts/interfaces/IRefutations.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {ITokenReferee} from "../../contracts/interfaces/ITokenReferee.sol";
import {Sampling} from "../../contracts/disputes/referee/Sampling.sol";
import {Book, Tensor} from "./Book.sol";

interface IGame is IDisputeGame {
    function refutations() external view returns (IRefutations);
    function OPENINGS() external view returns (uint256);
}

interface IBlockhashes {
    function setBlockhash(uint256 blockNumber, bytes32 hash) external;
}

/// @dev A consumer whose callback burns all the gas that it gets, whenever that suits it.
contract Burner {
    bool public burns = true;

    function turn() external {
        burns = !burns;
    }

    function onAnswer(RequestId, bytes calldata) external view {
        for (uint256 i; burns; ++i) {}
    }
}

/// @title All contracts, over the real referee and the model of `Book`, with people and their seats.
abstract contract Village is Book {
    uint256 internal constant BLOCK_SECONDS = 12;
    uint256 internal constant HONEST_SEATS = 3;
    uint256 internal constant LIAR_SEATS = 4;
    uint256 internal constant SYBILS = 3;
    uint256 internal constant DEPOSIT = 2 ether;

    struct Ask {
        IOracle.Request request;
        RequestId id;
        uint256 question;
        uint256 maxTokens;
        uint256 temperature;
        uint256 cutoff;
        uint256 madeIn;
        uint256 deadline;
        address payer;
        uint256 feeWei;
        uint256 callbackWei;
        uint256 callbackGas;
        uint32 firstTurn;
        uint256 startsAt;
        uint256 claim; // the one that stands, from one
        bool closed;
    }

    /// @dev An answer. entries: all leaves of its tokens. right: what the model says, said in the right way. shown: whether
    /// its tokens are known. lie: what its node tells wrong in games, from one. prefilled: blocks of work done.
    struct Claim {
        uint256 ask;
        IOracle.Answer answer;
        IDisputeGame.CaseId caseId;
        bytes output;
        bytes entries;
        uint256 promptCount;
        uint256 count;
        bytes32 root;
        uint16 seat;
        address operator;
        bool honest;
        bool right;
        bool shown;
        bool garbage;
        uint256 lie;
        bool dead;
        bool doubted;
        uint256 prefilled;
    }

    struct Bout {
        IDisputeGame.GameId id;
        uint256 claim;
        address challenger;
    }

    IOracle internal oracle;
    ILens internal lens;
    IModelRegistry internal registry;
    IReferee internal referee;
    ITokenReferee internal tokenReferee;
    IAnswerReferee internal answerReferee;
    IGame internal game;
    IRefutations internal refutations;
    ModelId internal model;
    ServiceId internal service;
    IServices.Terms internal terms;
    IDisputeGame.GameTerms internal gameTerms;

    address[] internal honest;
    address[] internal sybils;
    address internal liar = makeAddr("liar");
    address internal challenger = makeAddr("challenger");
    address internal payer = makeAddr("payer");
    address internal joiner = makeAddr("joiner");
    address internal burner;

    Ask[] internal asks;
    Claim[] internal claims;
    Bout[] internal bouts;
    uint256[] internal openBouts;
    mapping(bytes32 place => bytes32[]) internal shownNodes;
    mapping(bytes32 place => bytes) internal shownValues;

    function _found() internal {
        vm.warp(1_800_000_000);
        vm.roll(1_000_000);
        IModelRegistry.Manifest memory manifest = _read();
        registry = IModelRegistry(deployCode("ModelRegistry.sol:ModelRegistry"));
        referee = IReferee(
            deployCode(
                "Referee.sol:Referee",
                abi.encode(
                    registry,
                    deployCode("LinearReferee.sol:LinearReferee"),
                    deployCode("RowReferee.sol:RowReferee"),
                    deployCode("AttentionReferee.sol:AttentionReferee")
                )
            )
        );
        tokenReferee = ITokenReferee(deployCode("TokenReferee.sol:TokenReferee", abi.encode(referee, noiseTable)));
        address seats = deployCode("Seats.sol:Seats", abi.encode(registry, BLOCK_SECONDS * 1000));
        oracle = IOracle(deployCode("Oracle.sol:Oracle", abi.encode(seats)));
        lens = ILens(deployCode("Lens.sol:Lens", abi.encode(oracle)));
        address textReferee = deployCode("TextReferee.sol:TextReferee", abi.encode(referee, classTable));
        answerReferee = IAnswerReferee(deployCode("AnswerReferee.sol:AnswerReferee", abi.encode(referee)));
        bytes memory known = abi.encode(oracle, referee, tokenReferee, textReferee, answerReferee);
        game = IGame(deployCode("DisputeGame.sol:DisputeGame", known));
        refutations = game.refutations();
        model = registry.register(manifest);
        referee.enroll(manifest);
        _serve();
    }

    /// @dev A node of the speed that these terms ask for makes an opening each block, as `queueSeconds` is twice what nine
    /// take.
    function _serve() private {
        gameTerms = IDisputeGame.GameTerms({
            challengeBondWei: 0.1 ether,
            openingWei: 0.009 ether,
            clockSeconds: 600,
            moveSeconds: 36,
            firstMoveSeconds: 60,
            queueSeconds: 216,
            ceilingPercent: 200
        });
        terms = IServices.Terms({
            model: model,
            arbiter: IArbiter(address(game)),
            arbiterTerms: abi.encode(gameTerms),
            attester: address(0),
            attesterTerms: "",
            bondWei: 1 ether,
            seatWei: 2 ether,
            missPenaltyWei: 0.001 ether,
            basePriceWei: 0.004 ether,
            bytePriceWei: 1 gwei,
            tokenPriceWei: 0.0001 ether,
            maxPromptBytes: uint32(longestPrompt),
            maxTokens: 8,
            turnSeconds: 60,
            windowSeconds: 120,
            lifetimeSeconds: 600,
            minOwners: 1,
            valueCapWei: 0
        });
        service = oracle.createService(terms);
        for (uint256 i; i < HONEST_SEATS; ++i) {
            honest.push(makeAddr(string.concat("honest ", vm.toString(i))));
            _join(honest[i]);
        }
        for (uint256 i; i < LIAR_SEATS; ++i) {
            _join(liar);
        }
        for (uint256 i; i < SYBILS; ++i) {
            sybils.push(makeAddr(string.concat("sybil ", vm.toString(i))));
        }
        burner = address(new Burner());
        vm.warp(vm.getBlockTimestamp() + terms.lifetimeSeconds);
        for (uint16 i; i < HONEST_SEATS + LIAR_SEATS; ++i) {
            oracle.activate(service, i);
        }
        vm.roll(vm.getBlockNumber() + 1);
    }

    function _join(address owner) private {
        _fund(owner, DEPOSIT);
        vm.prank(owner);
        oracle.join{value: DEPOSIT}(service, owner);
    }

    /* MONEY */

    mapping(address who => uint256) internal brought;

    function _fund(address who, uint256 amountWei) internal {
        vm.deal(who, who.balance + amountWei);
        brought[who] += amountWei;
    }

    function _isHonest(address who) internal view returns (bool) {
        for (uint256 i; i < honest.length; ++i) {
            if (who == honest[i]) return true;
        }
        return who == challenger || who == payer;
    }

    function _ceilingWei() internal view returns (uint256) {
        return uint256(gameTerms.challengeBondWei) * gameTerms.ceilingPercent / 100;
    }

    /* BLOCKS */

    /// @dev A block's header, with a PREVRANDAO of its own.
    function _header(uint256 number) internal view returns (bytes memory made) {
        made = header;
        bytes32 randao = keccak256(abi.encode("randao", number));
        uint256 spot = randaoAt;
        assembly ("memory-safe") {
            mstore(add(add(made, 0x20), spot), randao)
        }
    }

    function _mine() internal {
        uint256 number = vm.getBlockNumber();
        vm.roll(number + 1);
        vm.warp(vm.getBlockTimestamp() + BLOCK_SECONDS);
        _note(number);
    }

    function _note(uint256 number) internal {
        IBlockhashes(address(vm)).setBlockhash(number, keccak256(_header(number)));
    }

    /* WHAT IS RIGHT */

    /// @dev The right output. Sampled requests are for one token.
    function _right(Ask storage a) internal view returns (uint32[] memory ids) {
        uint32[] storage output = questions[a.question].output;
        if (a.temperature != 0) {
            ids = new uint32[](1);
            ids[0] = uint32(_sampled(a));
            return ids;
        }
        ids = new uint32[](a.maxTokens < output.length ? a.maxTokens : output.length);
        for (uint256 i; i < ids.length; ++i) {
            ids[i] = output[i];
        }
    }

    function _seed(Ask storage a) internal view returns (bytes32) {
        return keccak256(abi.encode(a.id, keccak256(abi.encode("randao", a.madeIn + 2))));
    }

    function _worth(Ask storage a, int256 logit, uint256 token) internal view returns (int256) {
        int256 noise = Sampling.noise(noiseTable, Sampling.draw(_seed(a), 0, token));
        return Sampling.candidate(logit, Sampling.inverseTemperature(a.temperature), noise);
    }

    function _sampled(Ask storage a) internal view returns (uint256 best) {
        Tensor[] memory end = _step(a.question, 0, steps - 1);
        Tensor memory logits = end[logitsAt];
        int256 least = a.cutoff == 0 ? type(int256).min : _logit(end[largestAt], 0) - int256(a.cutoff);
        int256 most = type(int256).min;
        for (uint256 token; token < _vocabulary(); ++token) {
            int256 logit = _logit(logits, token);
            if (logit < least) continue;
            int256 worth = _worth(a, logit, token);
            if (worth > most) (most, best) = (worth, token);
        }
    }

    /* TOKENS */

    function _entry(uint256 id, uint256 end) internal pure returns (bytes memory) {
        return abi.encodePacked(uint32(id), uint32(end));
    }

    /// @dev All leaves of the tree over an answer's tokens.
    function _entries(uint32[] memory reading, uint32[] memory ids, uint256[] memory ends)
        internal
        pure
        returns (bytes memory all)
    {
        for (uint256 i; i < reading.length; ++i) {
            all = bytes.concat(all, _entry(reading[i], 0));
        }
        for (uint256 i; i < ids.length; ++i) {
            all = bytes.concat(all, _entry(ids[i], ends[i]));
        }
        while (all.length % 32 != 0) {
            all = bytes.concat(all, bytes8(0));
        }
    }

    function _tokenLeaves(bytes memory entries) internal pure returns (bytes32[] memory nodes) {
        nodes = new bytes32[](entries.length / 32);
        for (uint256 i; i < nodes.length; ++i) {
            nodes[i] = keccak256(abi.encodePacked(bytes1(0), _word(entries, i)));
        }
    }

    function _word(bytes memory data, uint256 i) internal pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := mload(add(add(data, 0x20), mul(0x20, i)))
        }
    }

    function _idAt(bytes memory entries, uint256 i) internal pure returns (uint256 id, uint256 end) {
        uint256 entry = uint64(uint256(_word(entries, i / 4)) >> (192 - 64 * (i % 4)));
        return (entry >> 32, uint32(entry));
    }

    function _tokens(Claim storage c) internal view returns (IReferee.Tokens memory) {
        return IReferee.Tokens(c.promptCount, c.root);
    }

    function _entryInput(bytes memory entries, uint256 i) internal pure returns (IReferee.Input memory input) {
        input.data = abi.encodePacked(_word(entries, i / 4));
        input.listProof = new bytes32[](0);
        input.proof = _proof(_tokenLeaves(entries), i / 4);
    }

    /* LOOKING */

    function _status(Claim storage c) internal view returns (IOracle.Status) {
        return oracle.statusOf(asks[c.ask].id);
    }

    /// @dev Whether an answer can still be killed.
    function _stands(uint256 i) internal view returns (bool) {
        Claim storage c = claims[i];
        if (c.dead || asks[c.ask].claim != i + 1) return false;
        IOracle.Status status = _status(c);
        return status == IOracle.Status.Answered || status == IOracle.Status.Disputed;
    }

    function _closesAt(Claim storage c) internal view returns (uint256) {
        return uint48(c.answer.head >> 48);
    }
}
