// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {BURN, ICredits} from "./interfaces/ICredits.sol";

/// @title Credits
/// @notice Who may withdraw how much.
abstract contract Credits is ICredits, ReentrancyGuardTransient {
    /// @inheritdoc ICredits
    mapping(address account => uint256) public credit;

    /// @inheritdoc ICredits
    function withdraw(address payable to, uint256 amountWei) external nonReentrant {
        uint256 creditWei = credit[msg.sender];
        if (amountWei > creditWei) revert InsufficientCredit(msg.sender, creditWei, amountWei);

        // INVARIANT: the contract's balance covers every credit, seat balance, locked bond and escrowed fee. Credit shrinks
        // before the ether leaves.
        unchecked {
            credit[msg.sender] = creditWei - amountWei;
        }
        emit Withdrawn(msg.sender, to, amountWei);
        _send(to, amountWei);
    }

    /// @inheritdoc ICredits
    function deposit(address account) external payable {
        // INVARIANT: credit grows by the ether that came in.
        credit[account] += msg.value;
        emit Deposited(msg.sender, account, msg.value);
    }

    /// @inheritdoc ICredits
    function burn() external nonReentrant {
        // INVARIANT: only what was slashed or fined leaves here, once.
        uint256 amountWei = credit[BURN];
        credit[BURN] = 0;
        emit Burnt(amountWei);
        _send(payable(BURN), amountWei);
    }

    /// @inheritdoc ICredits
    function burnable() external view returns (uint256) {
        return credit[BURN];
    }

    function _send(address payable to, uint256 amountWei) private {
        // The caller's own credit, or what is burnt.
        // slither-disable-next-line arbitrary-send-eth
        (bool sent,) = to.call{value: amountWei}("");
        if (!sent) revert TransferFailed(to, amountWei);
    }
}
