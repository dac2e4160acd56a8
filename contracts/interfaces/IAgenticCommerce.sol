// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title What an evaluator needs of an escrow for agents' jobs.
/// @dev Of ERC-8183, "Agentic Commerce", a draft as of November 2026: https://eips.ethereum.org/EIPS/eip-8183. The draft names a
/// job's data and not the function that reads it; `getJob` is as in its first reference implementation
/// (github.com/erc-8183/base-contracts, contracts/AgenticCommerce.sol). For an escrow with another one, change `Job`.
interface IAgenticCommerce {
    enum JobStatus {
        Open,
        Funded,
        Submitted,
        Completed,
        Rejected,
        Expired
    }

    /// @param provider who works, and is paid once the job is completed.
    /// @param evaluator the only one who may complete a submitted job, or reject it.
    /// @param budget in the escrow's token.
    /// @param expiredAt Unix time in seconds: from then on anyone may have the client refunded.
    struct Job {
        uint256 id;
        address client;
        address provider;
        address evaluator;
        string description;
        uint256 budget;
        uint256 expiredAt;
        JobStatus status;
        address hook;
    }

    /// @notice Pays the provider. Only the evaluator, and only for submitted work.
    function complete(uint256 jobId, bytes32 reason, bytes calldata optParams) external;

    /// @notice Refunds the client. Only the evaluator, of a job that is funded or submitted.
    function reject(uint256 jobId, bytes32 reason, bytes calldata optParams) external;

    function getJob(uint256 jobId) external view returns (Job memory);
}
