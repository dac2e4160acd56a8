// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

// Slashed ether is sent here: an address without code and without a known key.
address constant BURN = 0x000000000000000000000000000000000000dEaD;

/// @title Balances to withdraw.
/// @notice Nothing is ever pushed to anyone: fees, refunds and rewards become credit, and its owner takes it.
interface ICredits {
    /// @notice Credit was paid out.
    event Withdrawn(address indexed account, address indexed to, uint256 amountWei);

    /// @notice Somebody's ether became `account`'s credit.
    event Deposited(address indexed from, address indexed account, uint256 amountWei);

    /// @notice Slashed value left circulation.
    event Burnt(uint256 amountWei);

    /// @notice Thrown when more is asked for than there is.
    /// @dev Read `credit` first, and ask for no more.
    error InsufficientCredit(address account, uint256 creditWei, uint256 amountWei);

    /// @notice Thrown when the receiver refuses the ether; the credit stays.
    /// @dev Withdraw to an account that takes ether.
    error TransferFailed(address to, uint256 amountWei);

    /// @notice Credit of `account`, in wei.
    function credit(address account) external view returns (uint256 creditWei);

    /// @notice Pays `amountWei` of the caller's credit to `to`.
    function withdraw(address payable to, uint256 amountWei) external;

    /// @notice Turns the ether sent into credit of `account`.
    function deposit(address account) external payable;

    /// @notice Sends everything slashed so far to the burn address. Anyone may call.
    function burn() external;

    /// @notice Slashed value waiting for `burn`, in wei.
    function burnable() external view returns (uint256 amountWei);
}
