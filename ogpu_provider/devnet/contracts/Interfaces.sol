// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ResponseStatus, SourceStatus, TaskStatus} from "./Types.sol";

interface IManager {
    function hasRole(bytes32 role, address account) external view returns (bool);
    function grantRole(bytes32 role, address account) external;
    function revokeRole(bytes32 role, address account) external;
}

interface INexus {
    function emitTaskPublished(address task, address source) external;
    function setSourceStatus(address source, SourceStatus status) external;
    function setTaskStatus(address task, TaskStatus status) external;
    function setResponseStatus(address response, ResponseStatus status) external;
    function getSourceId(address source) external view returns (uint256);
    function sources(uint256 id) external view returns (address);
}

interface ITerminal {
    function masterOf(address provider) external view returns (address);
    function isAgentOf(address account, address agent) external view returns (bool);
}

interface IVault {
    function MIN_LOCKUP_PER_SOURCE() external view returns (uint256);
    function isEligible(address account) external view returns (bool);
    function isWhitelisted(address account) external view returns (bool);
    function lockupOf(address account) external view returns (uint256);
    function deposit(address account) external payable;
    function freezePayment(address client, address task, uint256 amount) external;
    function processPayment(address client, address provider, address task, uint256 amount) external;
    function releasePayment(address client, address task) external;
}
