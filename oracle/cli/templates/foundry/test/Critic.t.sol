// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {RequestId, ServiceId} from "didyma/contracts/interfaces/Ids.sol";
import {IOracle} from "didyma/contracts/interfaces/IOracle.sol";
import {MockOracle} from "didyma/contracts/mocks/MockOracle.sol";

import {Critic} from "../src/Critic.sol";

/// @dev What these tests need of forge; forge-std has all of it.
interface Vm {
    function expectRevert(bytes calldata revertData) external;
}

/// @title The critic on the mock oracle: the test says what the model answers.
contract CriticTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    MockOracle private mock;
    Critic private critic;

    receive() external payable {}

    function setUp() external {
        mock = new MockOracle(0.001 ether, 10 gwei, 10_000 gwei);
        critic = new Critic(IOracle(address(mock)), ServiceId.wrap(bytes32(uint256(7))));
    }

    function ask() private returns (RequestId) {
        uint256 priceWei = critic.price(bytes("The soup was cold.").length, 1 gwei);
        return critic.ask{value: priceWei}("The soup was cold.", 1 gwei);
    }

    function test_ask__wrong_price__reverts() external {
        uint256 priceWei = critic.price(5, 1 gwei);
        vm.expectRevert(abi.encodeWithSelector(IOracle.WrongFee.selector, priceWei, priceWei - 1));
        critic.ask{value: priceWei - 1}("Great", 1 gwei);
    }

    function test_answer__one_word__is_kept() external {
        RequestId requestId = ask();
        mock.answer(requestId, "negative", 2);
        require(critic.moods(requestId) == Critic.Mood.Negative, "not heard");
    }

    function test_answer__anything_else__is_unknown() external {
        RequestId requestId = ask();
        mock.answer(requestId, "rather cold", 2);
        require(critic.moods(requestId) == Critic.Mood.Unknown, "believed");
    }

    function test_answer__rejected_in_a_dispute__the_next_one_is_heard() external {
        RequestId requestId = ask();
        mock.post(requestId, "positive", 2);
        mock.dispute(requestId);
        mock.rule(requestId, IOracle.Ruling.Rejected);
        require(critic.moods(requestId) == Critic.Mood.Unknown, "heard too early");
        mock.answer(requestId, "negative", 2);
        require(critic.moods(requestId) == Critic.Mood.Negative, "not heard");
    }

    function test_refund__nobody_answers__money_comes_back() external {
        RequestId requestId = ask();
        mock.refund(requestId);
        require(mock.credit(address(critic)) == address(mock).balance, "not all of it");
        critic.sweep(payable(address(this)));
        require(address(mock).balance == 0, "not swept");
    }
}
