// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {INexus, ITerminal, IVault} from "./Interfaces.sol";
import {Ownable} from "./Ownable.sol";
import {Response} from "./Response.sol";
import {Source} from "./Source.sol";
import {Task} from "./Task.sol";
import {
    ResponseParams,
    ResponseStatus,
    SourceParams,
    SourceStatus,
    TaskParams,
    TaskStatus
} from "./Types.sol";

/// @notice The client's side of a task: publish, cancel, confirm.
contract Controller is Ownable {
    address public nexus;
    address public terminal;
    address public vault;

    mapping(address task => bool) private _isTask;

    constructor(address _nexus, address _terminal, address _vault) Ownable(msg.sender) {
        nexus = _nexus;
        terminal = _terminal;
        vault = _vault;
    }

    /// @notice Publishes a task on anyone's active source. The payment is taken from the caller's Vault
    /// balance into escrow; no value is sent.
    function publishTask(TaskParams memory _taskParams) external {
        address source = _taskParams.source;
        SourceParams memory terms = _termsOf(source);
        require(_taskParams.payment >= terms.minPayment, "PaymentTooLow");
        require(_taskParams.expiryTime > block.timestamp, "Expired");
        require(_taskParams.expiryTime - block.timestamp <= terms.maxExpiryDuration, "ExpiryTooFar");
        Task task = new Task(_taskParams, terms.deliveryMethod, nexus);
        task.transferOwnership(msg.sender);
        _isTask[address(task)] = true;
        IVault(vault).freezePayment(msg.sender, address(task), _taskParams.payment);
        INexus(nexus).emitTaskPublished(address(task), source);
    }

    /// @notice Takes back a task that nobody attempted; the payment returns to the client.
    function cancelTask(address task) external {
        address client = _checkClient(task);
        require(Task(task).getStatus() == TaskStatus.NEW, "AlreadyFinalized");
        IVault(vault).releasePayment(client, task);
        INexus(nexus).setTaskStatus(task, TaskStatus.CANCELED);
    }

    /// @notice Chooses the winning response of a MANUAL_CONFIRMATION task, also after its expiry. The provider
    /// is paid what it asked for, the client gets the rest back.
    function confirmResponse(address response) external {
        ResponseParams memory params = Response(response).getResponseParams();
        address client = _checkClient(params.task);
        Task task = Task(params.task);
        require(task.responseOf(params.provider) == response, "UnknownResponse");
        require(!Response(response).confirmedFinal(), "AlreadyConfirmed");
        require(task.getStatus() == TaskStatus.RESPONDED, "AlreadyFinalized");
        IVault(vault).processPayment(client, params.provider, params.task, params.payment);
        INexus(nexus).setResponseStatus(response, ResponseStatus.CONFIRMED);
        INexus(nexus).setTaskStatus(params.task, TaskStatus.FINALIZED);
    }

    function setNexus(address _nexus) external onlyOwner {
        nexus = _nexus;
    }

    function setTerminal(address _terminal) external onlyOwner {
        terminal = _terminal;
    }

    function setVault(address _vault) external onlyOwner {
        vault = _vault;
    }

    function _termsOf(address source) private view returns (SourceParams memory) {
        uint256 id = INexus(nexus).getSourceId(source);
        require(INexus(nexus).sources(id) == source, "UnknownSource");
        require(Source(source).getStatus() == SourceStatus.ACTIVE, "SourceInactive");
        return Source(source).getSourceParams();
    }

    /// @dev The task must be one of ours; its client or the client's agent may call.
    function _checkClient(address task) private view returns (address client) {
        require(_isTask[task], "UnknownTask");
        client = Task(task).owner();
        require(
            msg.sender == client || ITerminal(terminal).isAgentOf(client, msg.sender), "NotOwner"
        );
    }
}
