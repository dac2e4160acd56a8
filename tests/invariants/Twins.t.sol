// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Vm} from "forge-std/Vm.sol";

import {ICredits} from "../../contracts/interfaces/ICredits.sol";
import {RequestId} from "../../contracts/interfaces/Ids.sol";
import {ILens} from "../../contracts/interfaces/ILens.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IOracleConsumer} from "../../contracts/interfaces/IOracleConsumer.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {MockArbiter} from "../../contracts/mocks/MockArbiter.sol";
import {MockAttester} from "../../contracts/mocks/MockAttester.sol";
import {MockOracle} from "../../contracts/mocks/MockOracle.sol";
import {MockRequests} from "../../contracts/mocks/MockRequests.sol";
import {World} from "./World.sol";

/// @title A dapp that asks both oracles, and does the same in both callbacks.
contract TwinDapp is IOracleConsumer {
    enum Deed {
        Record,
        Revert,
        BurnGas,
        Withdraw,
        AskAgain
    }

    Deed public deed;
    bytes public again;
    mapping(address oracle => bytes32) public heard;

    function set(Deed deed_, bytes calldata again_) external {
        deed = deed_;
        again = again_;
    }

    function execute(address target, bytes calldata data) external payable returns (bytes memory) {
        (bool success, bytes memory result) = target.call{value: msg.value}(data);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(result, 0x20), mload(result))
            }
        }
        return result;
    }

    function onAnswer(RequestId requestId, bytes calldata output) external {
        if (deed == Deed.Revert) revert NotOracle(address(0));
        if (deed == Deed.BurnGas) {
            assembly ("memory-safe") {
                invalid()
            }
        }
        bytes memory result;
        if (deed == Deed.Withdraw) {
            (, result) = msg.sender.call(abi.encodeCall(ICredits.withdraw, (payable(address(this)), 0)));
        }
        if (deed == Deed.AskAgain) (, result) = msg.sender.call(again);
        heard[msg.sender] = keccak256(abi.encode(heard[msg.sender], requestId, output, result));
    }

    receive() external payable {}
}

/// @title The mock and the oracle, given the same calls: equal results, errors, events, states and balances.
contract Twins is World {
    uint256 private constant STEPS = 40;
    uint72 private constant SEAT_WEI = 3_000 ether;

    MockOracle private mock;
    TwinDapp private dapp;
    MockArbiter private arbiter;
    uint256 private seatsWei;
    address private payer = makeAddr("payer");
    address private keeper = makeAddr("keeper");

    IOracle.Item[] private _items;
    uint256 private _random;

    /// @dev How often each ending was reached.
    mapping(bytes32 topic => uint256) private _seen;

    function setUp() external {
        _deploy();
        arbiter = new MockArbiter(1000);
        terms.arbiter = arbiter;
        terms.arbiterTerms = "";
        terms.maxPromptBytes = 64;
        service = oracle.createService(terms);
        for (uint16 i; i < 5; ++i) {
            vm.deal(owners[i], SEAT_WEI);
            vm.prank(owners[i]);
            oracle.join{value: SEAT_WEI}(service, owners[i]);
        }
        skip(terms.lifetimeSeconds);
        for (uint16 i; i < 5; ++i) {
            oracle.activate(service, i);
        }
        seatsWei = address(oracle).balance;
        mock = new MockOracle(terms.basePriceWei, terms.bytePriceWei, terms.tokenPriceWei);
        mock.setRules(
            MockRequests.Rules({
                bondWei: terms.bondWei,
                missPenaltyWei: terms.missPenaltyWei,
                maxPromptBytes: terms.maxPromptBytes,
                maxTokens: terms.maxTokens,
                turnSeconds: terms.turnSeconds,
                windowSeconds: terms.windowSeconds,
                lifetimeSeconds: terms.lifetimeSeconds,
                leaveSeconds: uint32(terms.lifetimeSeconds) + terms.windowSeconds + 1000,
                blockMillis: 12_000,
                seatCount: 5,
                owners: 5,
                minOwners: terms.minOwners,
                hasAttester: true
            })
        );
        dapp = new TwinDapp();
        vm.deal(address(this), 1_000_000 ether);
    }

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_mock__any_calls__does_what_the_oracle_does(uint256 seed) external {
        _random = seed;
        for (uint256 i; i < STEPS; ++i) {
            _step();
            _compare();
        }
    }

    /// @dev Random calls reach every ending, or the comparison above would say little.
    function test_twins__some_hundred_steps__reach_every_ending() external {
        for (uint256 i; i < 2_500; ++i) {
            _step();
            if (i % 50 == 0) _compare();
        }
        bytes32[12] memory topics = [
            IOracle.RequestPosted.selector,
            IOracle.AnswerPosted.selector,
            IOracle.AnswerAttested.selector,
            IOracle.AnswerDisputed.selector,
            IOracle.AnswerRuled.selector,
            IOracle.RequestFinalized.selector,
            IOracle.CallbackFailed.selector,
            IOracle.CallbackRetried.selector,
            IOracle.CallbackLeft.selector,
            IOracle.CallbackReclaimed.selector,
            IOracle.RequestRefunded.selector,
            IOracle.RequestCancelled.selector
        ];
        for (uint256 i; i < topics.length; ++i) {
            assertGt(_seen[topics[i]], 0, vm.toString(topics[i]));
        }
    }

    /* STEPS */

    function _step() private {
        uint256 what = _draw(16);
        if (what < 4) return _ask();
        if (what == 4) return _pass();
        if (what == 5) return dapp.set(TwinDapp.Deed(_draw(5)), _request());
        if (_items.length == 0) return;
        IOracle.Item storage item = _items[_items.length - 1 - _draw(_items.length < 6 ? _items.length : 6)];
        if (what < 9) {
            _answer(item);
        } else if (what == 9) {
            _rule(item);
        } else if (what == 10) {
            _finalize(item);
        } else if (what == 11) {
            _both(address(dapp), abi.encodeCall(IOracle.cancel, (item.request)), 0);
        } else if (what == 12) {
            _both(keeper, abi.encodeCall(IOracle.refund, (item.request)), 0);
        } else if (what == 13) {
            _both(keeper, abi.encodeCall(IOracle.retryCallback, (item, _draw(3) == 0 ? 1_000 : 400_000)), 0);
        } else if (what == 14) {
            _both(keeper, abi.encodeCall(IOracle.reclaim, (item.request, item.answer)), 0);
        } else {
            _money();
        }
    }

    function _request() private returns (bytes memory) {
        IOracle.Params memory params = _params(uint24(_draw(66)), _draw(3) == 0 ? 0 : uint32(150_000 + _draw(150_000)));
        if (_draw(8) == 0) params.callbackGas = 13_000_000;
        if (_draw(4) == 0) params.callbackGas = uint32(_draw(3_000));
        if (_draw(8) == 0) params.deadline -= uint48(_draw(1_200));
        params.isPrivate = _draw(6) == 0;
        params.temperature = uint32(_draw(100_000));
        params.valueFinney = uint24(_draw(2_000));
        return abi.encodeCall(IOracle.request, (service, new bytes(_draw(70)), params));
    }

    function _ask() private {
        bytes memory data = _request();
        (, bytes memory prompt, IOracle.Params memory params) =
            abi.decode(_arguments(data), (bytes32, bytes, IOracle.Params));
        uint256 valueWei = _draw(10) == 0 ? _draw(1 ether) : _priceWei(prompt.length, params);
        address from = _draw(4) == 0 ? payer : address(dapp);
        (bool done, bytes memory result) = _both(from, data, valueWei);
        if (!done || result.length == 0) return;
        IOracle.Item storage item = _items.push();
        item.request = _posted;
        if (_draw(3) > 0) _blocks(3);
    }

    function _answer(IOracle.Item storage item) private {
        RequestId requestId = lens.idOf(item.request);
        ILens.RequestFields memory fields = lens.unpackRequest(item.request);
        bytes32 seed = blockhash(fields.blockNumber + 2);
        if (seed == 0 || oracle.statusOf(requestId) != IOracle.Status.Open) return;
        (, uint16 seat, address operator) = lens.turnOf(item.request);
        if (operator == address(0) || oracle.seatOf(service, seat).balanceWei < 10 ether) return;
        uint256 kind = _draw(4);
        bytes memory output = abi.encodePacked("output ", vm.toString(_draw(1_000)));
        uint24 tokens = uint24(_draw(fields.params.maxTokens + 2));
        bytes memory theirs = kind < 2
            ? abi.encodeCall(IOracle.answer, (item.request, output, tokens, 0, seed))
            : abi.encodeCall(IOracle.answerAttested, (item.request, output, tokens, 0, seed, hex"01", kind == 3));
        bytes memory ours = kind < 2
            ? abi.encodeCall(MockOracle.post, (requestId, output, tokens))
            : kind == 2
                ? abi.encodeCall(MockOracle.answerAtOnce, (requestId, output, tokens))
                : abi.encodeCall(MockOracle.leaveCallback, (requestId, output, tokens));
        // What a mock's answerer leaves is not said to be attested.
        _pair(operator, theirs, ours, 0, kind == 3 ? IOracle.AnswerAttested.selector : bytes32(0), false);
        if (oracle.statusOf(requestId) == IOracle.Status.Open) return;
        item.output = output;
        item.answer = _given;
    }

    function _rule(IOracle.Item storage item) private {
        RequestId requestId = lens.idOf(item.request);
        _pair(
            address(arbiter),
            abi.encodeCall(IOracle.dispute, (item.request, item.answer)),
            abi.encodeCall(MockOracle.dispute, (requestId)),
            0,
            0,
            false
        );
        if (oracle.statusOf(requestId) != IOracle.Status.Disputed) return;
        IOracle.Ruling ruling = IOracle.Ruling(_draw(3));
        uint72 slashWei = ruling == IOracle.Ruling.Rejected ? terms.bondWei : 0;
        bytes memory theirs =
            abi.encodeCall(IOracle.rule, (item.request, item.answer, ruling, slashWei, new IOracle.Payout[](0)));
        _pair(address(arbiter), theirs, abi.encodeCall(MockOracle.rule, (requestId, ruling)), 0, 0, false);
    }

    function _finalize(IOracle.Item storage item) private {
        IOracle.Item[] memory items = new IOracle.Item[](1 + _draw(2));
        for (uint256 i; i < items.length; ++i) {
            items[i] = i == 0 ? item : _items[_draw(_items.length)];
        }
        if (_draw(2) == 0) _passSeconds(terms.windowSeconds + 1);
        _both(keeper, abi.encodeCall(IOracle.finalize, (items)), 0);
    }

    function _money() private {
        address from = _draw(2) == 0 ? payer : address(dapp);
        if (_draw(3) == 0) {
            _both(from, abi.encodeCall(ICredits.deposit, (from)), _draw(1 ether));
            return;
        }
        uint256 amountWei = oracle.credit(from) / (1 + _draw(3)) + (_draw(4) == 0 ? 1 : 0);
        _both(from, abi.encodeCall(ICredits.withdraw, (payable(from), amountWei)), 0);
    }

    function _pass() private {
        uint256 what = _draw(5);
        if (what == 0) skip(_draw(2_000)); // the chain stands still
        else if (what == 1) _blocks(1 + _draw(60));
        else if (what == 2) _passSeconds(terms.windowSeconds + 1);
        else if (what == 3) _passSeconds(31 days);
        else _blocks(3);
    }

    function _passSeconds(uint256 seconds_) private {
        skip(seconds_);
        vm.roll(vm.getBlockNumber() + 1);
    }

    function _blocks(uint256 count) private {
        vm.roll(vm.getBlockNumber() + count);
        skip(count * 12);
    }

    /* COMPARING */

    IOracle.Request private _posted;
    IOracle.Answer private _given;

    function _both(address from, bytes memory data, uint256 valueWei) private returns (bool, bytes memory) {
        return _pair(from, data, data, valueWei, 0, true);
    }

    /// @dev from: the dapp, or whom to speak for. except: an event that only the oracle emits here.
    function _pair(
        address from,
        bytes memory theirs,
        bytes memory ours,
        uint256 valueWei,
        bytes32 except,
        bool sameResult
    ) private returns (bool done, bytes memory result) {
        vm.recordLogs();
        (done, result) = _call(from, address(oracle), theirs, valueWei);
        bytes32 events = _digest(vm.getRecordedLogs(), except);
        (bool doneByMock, bytes memory resultOfMock) = _call(from, address(mock), ours, valueWei);
        assertEq(doneByMock, done, "one reverts");
        if (!done || sameResult) assertEq(_comparable(resultOfMock), _comparable(result), "result");
        assertEq(_digest(vm.getRecordedLogs(), 0), events, "events");
    }

    function _call(address from, address target, bytes memory data, uint256 valueWei)
        private
        returns (bool, bytes memory)
    {
        if (from == address(dapp)) {
            return address(dapp).call{value: valueWei}(abi.encodeCall(TwinDapp.execute, (target, data)));
        }
        vm.deal(from, from.balance + valueWei);
        vm.prank(from);
        return target.call{value: valueWei}(data);
    }

    /// @dev How much gas was left is the one argument of an error that may differ.
    function _comparable(bytes memory result) private pure returns (bytes memory) {
        return bytes4(result) == IOracle.InsufficientGas.selector && result.length == 68 ? bytes("gas") : result;
    }

    /// @dev Of all events but those about seats: the mock has none.
    function _digest(Vm.Log[] memory logs, bytes32 except) private returns (bytes32 digest) {
        for (uint256 i; i < logs.length; ++i) {
            bytes32 topic = logs[i].topics[0];
            if (topic == except || topic == IOracle.TurnMissed.selector) continue;
            ++_seen[topic];
            if (topic == IOracle.RequestPosted.selector) {
                (_posted,) = abi.decode(logs[i].data, (IOracle.Request, bytes));
            }
            if (topic == IOracle.AnswerPosted.selector) (_given,) = abi.decode(logs[i].data, (IOracle.Answer, bytes));
            digest = keccak256(abi.encode(digest, logs[i].topics, logs[i].data));
        }
    }

    function _compare() private view {
        assertEq(mock.credit(address(dapp)), oracle.credit(address(dapp)), "credit of the dapp");
        assertEq(mock.credit(payer), oracle.credit(payer), "credit of the payer");
        assertEq(address(mock).balance, address(oracle).balance - seatsWei, "balance");
        assertEq(dapp.heard(address(mock)), dapp.heard(address(oracle)), "what the dapp heard");
        uint256 first = _items.length > 8 ? _items.length - 8 : 0;
        for (uint256 i = first; i < _items.length; ++i) {
            RequestId requestId = lens.idOf(_items[i].request);
            assertEq(mock.stateOf(requestId), oracle.stateOf(requestId), "state");
            assertEq(uint8(mock.statusOf(requestId)), uint8(oracle.statusOf(requestId)), "status");
            assertEq(mock.callbackLeft(requestId), oracle.callbackLeft(requestId), "left");
            assertEq(mock.isFinal(requestId, _items[i].answer), oracle.isFinal(requestId, _items[i].answer), "final");
        }
    }

    function _priceWei(uint256 promptBytes, IOracle.Params memory params) private view returns (uint256) {
        uint256 callbackWei = params.callbackGas == 0 ? 0 : (uint256(params.callbackGas) + 60_000) * 1 gwei;
        return terms.basePriceWei + terms.bytePriceWei * promptBytes + uint256(terms.tokenPriceWei) * params.maxTokens
            + callbackWei;
    }

    function _arguments(bytes memory data) private pure returns (bytes memory rest) {
        rest = new bytes(data.length - 4);
        for (uint256 i; i < rest.length; ++i) {
            rest[i] = data[i + 4];
        }
    }

    function _draw(uint256 count) private returns (uint256) {
        _random = uint256(keccak256(abi.encode(_random)));
        return _random % count;
    }
}
