// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Vm} from "forge-std/Vm.sol";

import {ICredits} from "../../contracts/interfaces/ICredits.sol";
import {RequestId, ServiceId} from "../../contracts/interfaces/Ids.sol";
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
        CallAgain
    }

    Deed public deed;
    bytes public again;
    uint256 public againWei;
    mapping(address oracle => bytes32) public heard;

    /// @param again_ what `CallAgain` calls. @param againWei_ what it sends along.
    function set(Deed deed_, bytes calldata again_, uint256 againWei_) external {
        deed = deed_;
        again = again_;
        againWei = againWei_;
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
        if (deed == Deed.CallAgain) (, result) = msg.sender.call{value: againWei}(again);
        _hear(abi.encode(requestId, output, result));
    }

    receive() external payable {
        if (deed != Deed.Withdraw) return;
        (, bytes memory result) = msg.sender.call(abi.encodeCall(ICredits.withdraw, (payable(address(this)), 0)));
        _hear(result);
    }

    function _hear(bytes memory what) private {
        heard[msg.sender] = keccak256(abi.encode(heard[msg.sender], what));
    }
}

/// @title What EIP-2935 keeps, in short: hashes of the last 8191 blocks.
contract History {
    fallback(bytes calldata data) external returns (bytes memory) {
        uint256 number = abi.decode(data, (uint256));
        require(number < block.number && number + 8191 >= block.number);
        return abi.encode(keccak256(data));
    }
}

/// @title The mock and the oracle, given the same calls: equal results, errors, events, states and balances.
contract Twins is World {
    uint256 private constant STEPS = 40;
    uint72 private constant SEAT_WEI = 3_000 ether;
    address private constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;

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
        _takeSeats();
        mock = new MockOracle(terms.basePriceWei, terms.bytePriceWei, terms.tokenPriceWei);
        mock.setRules(_rules());
        dapp = new TwinDapp();
        vm.deal(address(this), type(uint128).max);
        vm.deal(address(dapp), type(uint128).max);
        vm.etch(HISTORY, address(new History()).code);
    }

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_mock__any_calls__does_what_the_oracle_does(uint256 seed) external {
        _random = seed;
        for (uint256 i; i < STEPS; ++i) {
            _step();
            _compare();
        }
    }

    /// @dev Or the comparison above would say little.
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

    /// @dev A service without owners, without TEEs, and none at all.
    function test_refusals__of_services_that_promise_less__are_alike() external {
        terms.attester = address(0);
        terms.attesterTerms = "";
        service = oracle.createService(terms);
        MockRequests.Rules memory rules = _rules();
        (rules.seatCount, rules.owners, rules.hasAttester) = (0, 0, false);
        mock.setRules(rules);
        IOracle.Params memory params = _params(8, 0);
        params.isPrivate = true;
        _refused(params, abi.encodeWithSelector(IOracle.NotEnoughOwners.selector, service, 0, terms.minOwners));

        _takeSeats();
        (rules.seatCount, rules.owners) = (5, 5);
        mock.setRules(rules);
        params.deadline += uint48(terms.lifetimeSeconds);
        _refused(params, abi.encodeWithSelector(IOracle.PrivateNeedsAttestation.selector, service));

        service = ServiceId.wrap("none");
        rules.maxTokens = 0;
        mock.setRules(rules);
        _refused(params, abi.encodeWithSelector(IServices.UnknownService.selector, service));
    }

    function _refused(IOracle.Params memory params, bytes memory reason) private {
        bytes memory data = abi.encodeCall(IOracle.request, (service, "?", params));
        (bool done, bytes memory result) = _pair(payer, data, data, _priceOf(data), 0, true);
        assertFalse(done);
        assertEq(result, reason);
    }

    /* STEPS */

    function _step() private {
        uint256 what = _draw(18);
        if (what < 4) return _ask();
        if (what == 4) return _pass();
        if (what == 5) return _set();
        if (what == 6) return _money();
        if (_items.length == 0) return;
        IOracle.Item storage item = _recent();
        if (what < 10) _answer(item);
        else if (what == 10) _rule(item);
        else _both(_anyone(), _about(item), 0);
    }

    function _recent() private returns (IOracle.Item storage) {
        return _items[_items.length - 1 - _draw(_items.length < 6 ? _items.length : 6)];
    }

    function _anyone() private returns (address) {
        uint256 who = _draw(3);
        return who == 0 ? keeper : who == 1 ? payer : address(dapp);
    }

    /// @dev What anybody may call about a request. Now and then a word of it is another.
    function _about(IOracle.Item memory item) private returns (bytes memory) {
        if (_draw(8) == 0) _tamper(item);
        RequestId requestId = lens.idOf(item.request);
        uint256 what = _draw(10);
        if (what < 3) return _finalizing(item);
        if (what == 3) return abi.encodeCall(IOracle.cancel, (item.request));
        if (what == 4) return abi.encodeCall(IOracle.refund, (item.request));
        if (what == 5) return abi.encodeCall(IOracle.reclaim, (item.request, item.answer));
        if (what == 6) return abi.encodeCall(IOracle.isFinal, (requestId, item.answer));
        if (what == 7) return abi.encodeCall(IOracle.stateOf, (requestId));
        uint256 callbackGas = _draw(8) == 0 ? type(uint256).max - _draw(1 << 255) : 13_000_000;
        return abi.encodeCall(IOracle.retryCallback, (item, _draw(3) == 0 ? 1_000 : callbackGas));
    }

    function _tamper(IOracle.Item memory item) private {
        uint256 bit = 1 << _draw(256);
        uint256 what = _draw(6);
        if (what == 0) item.request.head ^= bit;
        if (what == 1) item.request.rules ^= bit;
        if (what == 2) item.request.money ^= bit;
        if (what == 3) item.answer.head ^= bit;
        if (what == 4) item.answer.outputHash ^= bytes32(bit);
        if (what == 5) item.output = abi.encodePacked(item.output, bytes1(0));
    }

    /// @dev What the dapp does in callbacks from here on, and when it is paid.
    function _set() private {
        uint256 what = _draw(4);
        bytes memory again;
        uint256 againWei;
        if (what < 2 || _items.length == 0) {
            again = _request();
            if (what == 0) againWei = _priceOf(again);
        } else {
            again = what == 2 ? _about(_recent()) : abi.encodeCall(ICredits.deposit, (address(dapp)));
        }
        dapp.set(TwinDapp.Deed(_draw(5)), again, againWei);
    }

    function _request() private returns (bytes memory) {
        IOracle.Params memory params =
            _params(uint24(_draw(66)), _draw(3) == 0 ? 0 : uint32(1_000_000 + _draw(1_000_000)));
        if (_draw(8) == 0) params.callbackGas = uint32(12_000_000 + _draw(2));
        if (_draw(4) == 0) params.callbackGas = uint32(_draw(3_000));
        if (_draw(8) == 0) params.deadline -= uint48(_draw(1_200));
        if (_draw(16) == 0) params.maxTokens = uint24(_draw(1 << 24));
        if (_draw(16) == 0) params.callbackGasPriceWei = uint64(_draw(1 << 64));
        params.isPrivate = _draw(6) == 0;
        params.temperature = uint32(_draw(100_000));
        params.valueFinney = uint24(_draw(2_000));
        return abi.encodeCall(IOracle.request, (service, new bytes(_draw(70)), params));
    }

    function _ask() private {
        bytes memory data = _request();
        (, bytes memory prompt, IOracle.Params memory params) =
            abi.decode(_arguments(data), (bytes32, bytes, IOracle.Params));
        if (_draw(4) == 0) {
            uint256 size = _draw(2) == 0 ? prompt.length : type(uint256).max - _draw(1 << 255);
            _both(keeper, abi.encodeCall(IOracle.quote, (service, size, params)), 0);
        }
        uint256 valueWei = _draw(10) == 0 ? _draw(1 ether) : _priceOf(data);
        address from = _draw(4) == 0 ? payer : address(dapp);
        (bool done, bytes memory result) = _both(from, data, valueWei);
        if (!done || result.length == 0) return;
        IOracle.Item storage item = _items.push();
        item.request = _posted;
        if (_draw(8) == 0) _both(from, data, valueWei); // the same, in the same block
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

    function _finalizing(IOracle.Item memory item) private returns (bytes memory) {
        IOracle.Item[] memory items = new IOracle.Item[](_draw(12) == 0 ? 0 : 1 + _draw(2));
        for (uint256 i; i < items.length; ++i) {
            items[i] = i == 0 ? item : _items[_draw(_items.length)];
        }
        if (_draw(2) == 0) _passSeconds(terms.windowSeconds + 1);
        return abi.encodeCall(IOracle.finalize, (items));
    }

    function _money() private {
        (address from, address to) = (_anyone(), _anyone());
        if (_draw(3) == 0) {
            _both(from, abi.encodeCall(ICredits.deposit, (to)), _draw(1 ether));
            return;
        }
        if (_draw(8) == 0) to = address(registry); // which takes no ether
        uint256 amountWei = oracle.credit(from) / (1 + _draw(3)) + (_draw(4) == 0 ? 1 : 0);
        _both(from, abi.encodeCall(ICredits.withdraw, (payable(to), amountWei)), 0);
    }

    function _pass() private {
        uint256 what = _draw(5);
        if (what == 0) skip(_draw(2_000)); // the chain stands still
        else if (what == 1) _blocks(1 + _draw(60));
        else if (what == 2) _passSeconds(terms.windowSeconds + 1);
        else if (what == 3) _passSeconds(31 days);
        else if (_draw(8) == 0) _blocks(_draw(2) == 0 ? 300 : 9_000); // only the history contract knows a seed, or nothing
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

    function _takeSeats() private {
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
    }

    function _rules() private view returns (MockRequests.Rules memory) {
        return MockRequests.Rules({
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
        });
    }

    /* COMPARING */

    IOracle.Request private _posted;
    IOracle.Answer private _given;

    /// @dev Now and then a bit of the calldata is another, or its end is missing.
    function _both(address from, bytes memory data, uint256 valueWei) private returns (bool, bytes memory) {
        uint256 what = _draw(24);
        // A service that the oracle does not know is as any other to the mock.
        uint256 first = bytes4(data) == IOracle.request.selector || bytes4(data) == IOracle.quote.selector ? 36 : 4;
        uint256 place = data.length == first ? 0 : first + _draw(data.length - first);
        if (what == 0 && place > 0) data[place] ^= bytes1(uint8(1 << _draw(8)));
        if (what == 1 && place > 0) {
            assembly ("memory-safe") {
                mstore(data, place)
            }
        }
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
        assertEq(mock.credit(keeper), oracle.credit(keeper), "credit of who finalizes");
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

    /// @dev What a call of `request` must be sent.
    function _priceOf(bytes memory data) private view returns (uint256) {
        (, bytes memory prompt, IOracle.Params memory params) =
            abi.decode(_arguments(data), (bytes32, bytes, IOracle.Params));
        uint256 callbackGas = params.callbackGas == 0 ? 0 : uint256(params.callbackGas) + 60_000;
        return terms.basePriceWei + terms.bytePriceWei * prompt.length + uint256(terms.tokenPriceWei) * params.maxTokens
            + callbackGas * params.callbackGasPriceWei;
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
