// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {RequestId} from "../../contracts/interfaces/Ids.sol";
import {ILens} from "../../contracts/interfaces/ILens.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {RequestLib} from "../../contracts/libraries/RequestLib.sol";
import {World} from "./World.sol";

/// @title What single functions promise for all inputs.
contract RequestProperties is World {
    /// @dev EIP-2935: where and with which code the chain keeps the last 8191 block hashes.
    address private constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;
    bytes private constant HISTORY_CODE =
        hex"3373fffffffffffffffffffffffffffffffffffffffe14604657602036036042575f35600143038111604257611fff81430311604257611fff9006545f5260205ff35b5f5ffd5b5f35611fff60014303065500";

    address private payer = makeAddr("payer");

    function setUp() external {
        _deploy();
        vm.deal(payer, 1_000 ether);
    }

    function _ask(IOracle.Params memory params, bytes memory prompt) private returns (IOracle.Request memory request) {
        (uint256 feeWei, uint256 callbackWei,) = oracle.quote(service, prompt.length, params);
        vm.recordLogs();
        vm.prank(payer);
        oracle.request{value: feeWei + callbackWei}(service, prompt, params);
        (request,) = abi.decode(_event(vm.getRecordedLogs(), IOracle.RequestPosted.selector), (IOracle.Request, bytes));
    }

    function testFuzz_request__any_parameters__unpack_as_given(
        uint24 maxTokens,
        uint32 temperature,
        uint32 cutoff,
        uint48 deadline,
        uint24 valueFinney,
        uint8 length
    ) external {
        IOracle.Params memory params = IOracle.Params({
            maxTokens: uint24(bound(maxTokens, 1, terms.maxTokens)),
            temperature: temperature,
            cutoff: cutoff,
            callbackGas: 0,
            callbackGasPriceWei: 0,
            deadline: uint48(bound(deadline, vm.getBlockTimestamp(), vm.getBlockTimestamp() + terms.lifetimeSeconds)),
            valueFinney: valueFinney,
            isPrivate: false
        });
        bytes memory prompt = new bytes(bound(length, 1, terms.maxPromptBytes));
        (uint256 feeWei,,) = oracle.quote(service, prompt.length, params);
        ILens.RequestFields memory fields = lens.unpackRequest(_ask(params, prompt));
        assertEq(abi.encode(fields.params), abi.encode(params));
        assertEq(fields.promptHash, keccak256(prompt));
        assertEq(fields.payer, payer);
        assertEq(fields.blockNumber, vm.getBlockNumber());
        assertEq(fields.feeWei, feeWei);
        assertEq(
            feeWei,
            terms.basePriceWei + terms.bytePriceWei * prompt.length + uint256(terms.tokenPriceWei) * params.maxTokens
        );
        assertEq(fields.bondWei, terms.bondWei);
        assertEq(fields.seatCount, SEATS);
        assertEq(fields.turnSeconds, terms.turnSeconds);
        assertEq(fields.windowSeconds, terms.windowSeconds);
        assertEq(fields.tokenPriceWei, terms.tokenPriceWei);
    }

    function testFuzz_request__any_other_payment__is_refused(uint96 value) external {
        IOracle.Params memory params = _params(8, 0);
        (uint256 feeWei,,) = oracle.quote(service, 5, params);
        vm.assume(value != feeWei);
        vm.deal(payer, value);
        vm.expectRevert(abi.encodeWithSelector(IOracle.WrongFee.selector, feeWei, value));
        vm.prank(payer);
        oracle.request{value: value}(service, "Hello", params);
    }

    function testFuzz_answer__any_changed_word_of_the_request__is_another_request(uint256 word, uint8 bit) external {
        IOracle.Request memory request = _ask(_params(8, 0), "Hello");
        bytes memory encoded = abi.encode(request);
        word = bound(word, 0, 4);
        encoded[word * 32 + bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        IOracle.Request memory changed = abi.decode(encoded, (IOracle.Request));
        assertNotEq(RequestId.unwrap(lens.idOf(changed)), RequestId.unwrap(lens.idOf(request)));
        vm.expectPartialRevert(IOracle.WrongStatus.selector);
        oracle.answer(changed, "x", 1, 0, blockhash(vm.getBlockNumber()));
    }

    function testFuzz_turns__any_time__one_seat_in_range_is_entitled(uint256 elapsed) external {
        IOracle.Request memory request = _ask(_params(8, 0), "Hello");
        uint256 startsAt = vm.getBlockTimestamp();
        vm.roll(vm.getBlockNumber() + 3);
        vm.warp(startsAt + bound(elapsed, 0, terms.lifetimeSeconds));
        (uint32 turn, uint16 seat, address operator) = lens.turnOf(request);
        assertEq(turn, (vm.getBlockTimestamp() - startsAt) / terms.turnSeconds);
        assertLt(seat, SEATS);
        assertEq(operator, owners[seat]);
    }

    function test_seed__block_8191_back__still_answers__8192_back__is_forgotten() external {
        vm.etch(HISTORY, HISTORY_CODE);
        IOracle.Request memory request = _ask(_params(8, 0), "Hello");
        uint256 seedBlock = vm.getBlockNumber() + oracle.SEED_DELAY();
        bytes32 seed = keccak256("hash of the seed's block");
        vm.store(HISTORY, bytes32(seedBlock % 8191), seed);
        vm.roll(seedBlock + 8191);
        (uint32 turn, uint16 seat, address operator) = lens.turnOf(request);
        assertEq(turn, 0);
        assertEq(seat, uint256(keccak256(abi.encode(seed, lens.idOf(request), turn))) % SEATS);
        vm.roll(seedBlock + 8192);
        vm.expectPartialRevert(IOracle.SeedMismatch.selector);
        lens.turnOf(request);
        vm.expectPartialRevert(IOracle.SeedMismatch.selector);
        vm.prank(operator);
        oracle.answer(request, "x", 1, 0, seed);
    }

    function testFuzz_answer_head__any_fields__unpack_as_packed(
        uint32 turn,
        uint16 seat,
        uint48 closesAt,
        uint24 tokens
    ) external view {
        IOracle.Answer memory ans = IOracle.Answer({
            head: RequestLib.packAnswerHead(turn, seat, closesAt, tokens),
            outputHash: 0,
            tokensRoot: 0,
            seedBlockHash: 0
        });
        ILens.AnswerFields memory fields = lens.unpackAnswer(ans);
        assertEq(fields.turn, turn);
        assertEq(fields.seat, seat);
        assertEq(fields.closesAt, closesAt);
        assertEq(fields.tokenCount, tokens);
    }

    /// @dev A field that took more than it holds would change its neighbour, or come back as another number.
    function test_fields__block_or_time_beyond_48_bits__are_refused_and_the_last_that_fit_are_kept() external {
        uint256 most = type(uint48).max;
        vm.warp(most - terms.windowSeconds);
        vm.roll(most - 4);
        IOracle.Params memory params = _params(8, 0);
        params.deadline = uint48(most);
        IOracle.Request memory request = _ask(params, "Hello");
        vm.roll(most - 1);
        (, uint16 seat, address operator) = lens.turnOf(request);
        uint256 start = vm.snapshotState();
        vm.warp(most - terms.windowSeconds + 1);
        vm.expectRevert(abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 48, most + 1));
        vm.prank(operator);
        oracle.answer(request, "x", 7, 0, blockhash(most - 2));
        vm.revertToState(start);
        vm.recordLogs();
        vm.prank(operator);
        oracle.answer(request, "x", 7, 0, blockhash(most - 2));
        (IOracle.Answer memory ans,) =
            abi.decode(_event(vm.getRecordedLogs(), IOracle.AnswerPosted.selector), (IOracle.Answer, bytes));
        ILens.AnswerFields memory fields = lens.unpackAnswer(ans);
        assertEq(abi.encode(fields.closesAt, fields.seat, fields.tokenCount), abi.encode(most, seat, 7));

        vm.roll(most);
        assertEq(lens.unpackRequest(_ask(params, "Hello")).blockNumber, most);
        vm.roll(most + 1);
        (uint256 feeWei,,) = oracle.quote(service, 5, params);
        vm.expectRevert(abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 48, most + 1));
        vm.prank(payer);
        oracle.request{value: feeWei}(service, "Hello", params);
    }
}
