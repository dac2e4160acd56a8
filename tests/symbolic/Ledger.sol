// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test} from "forge-std/Test.sol";

import {ServiceStore} from "../../contracts/ServiceStore.sol";
import {ServiceId} from "../../contracts/interfaces/Ids.sol";
import {Books} from "./Books.sol";
import {SYMBOLS} from "./Symbols.sol";

/// @title What accounts and seats hold, summed over whoever can be paid by one call.
/// @dev Amounts and fields are symbols. Accounts have names of our choosing, since no code under test asks for more than
/// whether two are the same.
abstract contract Ledger is Test {
    address internal constant BURN = 0x000000000000000000000000000000000000dEaD;
    ServiceId internal constant SERVICE = ServiceId.wrap(bytes32(uint256(1)));

    /// @dev More than all ether, so that no sum of credits overflows.
    uint256 internal constant MOST_WEI = 1 << 96;

    Books internal books;
    address[] private _accounts;

    function setUp() public virtual {
        books = Books(payable(deployCode(".build/symbolic/Books.sol/Books.json")));
    }

    /// @dev Takes an account with any credit into the sum: a new one, or that of an earlier role, for `role` below their
    /// number.
    function _cast(uint256 role, uint256 creditWei) internal returns (address account) {
        for (uint256 i; i < _accounts.length; ++i) {
            if (role == i) return _accounts[i];
        }
        account = address(uint160(0xace0 + _accounts.length));
        _account(account, creditWei);
    }

    function _account(address account, uint256 creditWei) internal {
        vm.assume(creditWei < MOST_WEI);
        _accounts.push(account);
        books.setCredit(account, creditWei);
    }

    /// @dev Any number of so many bits.
    function _any(uint256 bits, string memory name) internal pure returns (uint256) {
        return SYMBOLS.createUint(bits, name);
    }

    function _anyCredits(uint256 count) internal pure returns (uint256[] memory creditsWei) {
        creditsWei = new uint256[](count);
        for (uint256 i; i < count; ++i) {
            creditsWei[i] = _any(96, "creditWei");
        }
    }

    function _creditsWei() internal view returns (uint256 sumWei) {
        unchecked {
            for (uint256 i; i < _accounts.length; ++i) {
                sumWei += books.credit(_accounts[i]);
            }
        }
    }

    function _seatWei(uint256 seat) internal view returns (uint256) {
        return books.seatState(SERVICE, seat).money.balanceWei;
    }
}
