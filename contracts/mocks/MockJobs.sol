// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

import {IAgenticCommerce} from "../interfaces/IAgenticCommerce.sol";

/// @title A token that tests pay jobs with. It can refuse transfers.
contract MockToken is ERC20 {
    bool public refuses;

    error Refused();

    constructor() ERC20("Token", "TOK") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function refuse(bool refuses_) external {
        refuses = refuses_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (refuses) revert Refused();
        super._update(from, to, amount);
    }
}

/// @title A hook of a job, as a client may choose one: it can refuse what happens, burn gas, and settle again meanwhile.
contract MockJobHook {
    bool public refuses;
    bool public burns;
    address public target;
    bytes public data;
    uint256 public calls;
    bool public reentered;

    error Refused();

    function refuse(bool refuses_) external {
        refuses = refuses_;
    }

    function burn(bool burns_) external {
        burns = burns_;
    }

    function enter(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
    }

    function beforeAction(uint256, bytes4, bytes calldata) external {
        if (refuses) revert Refused();
        while (burns) {}
        ++calls;
        if (target != address(0)) (reentered,) = target.call(data);
    }
}

/// @title A small escrow of ERC-8183, for tests of an evaluator: one token, a hook before the end, and a fee for the evaluator.
contract MockJobs is IAgenticCommerce {
    MockToken public immutable token;
    uint256 public evaluatorFee;

    Job[] private _jobs;

    event JobSubmitted(uint256 indexed jobId, address indexed provider, bytes32 deliverable);
    event JobCompleted(uint256 indexed jobId, address indexed evaluator, bytes32 reason);
    event JobRejected(uint256 indexed jobId, address indexed rejector, bytes32 reason);
    event JobExpired(uint256 indexed jobId);

    error WrongStatus();
    error Unauthorized();
    error NotExpired();
    error Unpaid();

    constructor(MockToken token_) {
        token = token_;
    }

    function setEvaluatorFee(uint256 fee) external {
        evaluatorFee = fee;
    }

    function createJob(
        address provider,
        address evaluator,
        uint256 expiredAt,
        string calldata description,
        address hook
    ) external returns (uint256 jobId) {
        jobId = _jobs.length;
        _jobs.push(Job(jobId, msg.sender, provider, evaluator, description, 0, expiredAt, JobStatus.Open, hook));
    }

    function fund(uint256 jobId, uint256 budget) external {
        Job storage job = _expect(jobId, JobStatus.Open, _jobs[jobId].client);
        (job.status, job.budget) = (JobStatus.Funded, budget);
        if (!token.transferFrom(msg.sender, address(this), budget)) revert Unpaid();
    }

    function submit(uint256 jobId, bytes32 deliverable) external {
        _expect(jobId, JobStatus.Funded, _jobs[jobId].provider).status = JobStatus.Submitted;
        emit JobSubmitted(jobId, msg.sender, deliverable);
    }

    function complete(uint256 jobId, bytes32 reason, bytes calldata) external {
        Job storage job = _expect(jobId, JobStatus.Submitted, _jobs[jobId].evaluator);
        _beforeAction(job);
        job.status = JobStatus.Completed;
        _pay(job.evaluator, evaluatorFee);
        _pay(job.provider, job.budget - evaluatorFee);
        emit JobCompleted(jobId, msg.sender, reason);
    }

    function reject(uint256 jobId, bytes32 reason, bytes calldata) external {
        Job storage job = _expect(jobId, JobStatus.Submitted, _jobs[jobId].evaluator);
        _beforeAction(job);
        job.status = JobStatus.Rejected;
        _pay(job.client, job.budget);
        emit JobRejected(jobId, msg.sender, reason);
    }

    function claimRefund(uint256 jobId) external {
        Job storage job = _jobs[jobId];
        if (job.status != JobStatus.Funded && job.status != JobStatus.Submitted) revert WrongStatus();
        if (block.timestamp < job.expiredAt) revert NotExpired();
        job.status = JobStatus.Expired;
        _pay(job.client, job.budget);
        emit JobExpired(jobId);
    }

    function getJob(uint256 jobId) external view returns (Job memory) {
        return _jobs[jobId];
    }

    function _expect(uint256 jobId, JobStatus status, address caller) private view returns (Job storage job) {
        job = _jobs[jobId];
        if (job.status != status) revert WrongStatus();
        if (msg.sender != caller) revert Unauthorized();
    }

    function _pay(address to, uint256 amount) private {
        if (!token.transfer(to, amount)) revert Unpaid();
    }

    function _beforeAction(Job storage job) private {
        if (job.hook != address(0)) MockJobHook(job.hook).beforeAction(job.id, msg.sig, "");
    }
}
