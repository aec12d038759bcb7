// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {INexus} from "./Interfaces.sol";
import {Ownable} from "./Ownable.sol";
import {Pages} from "./Pages.sol";
import {SourceParams, SourceStatus} from "./Types.sol";

/// @notice One published source: its terms, its registrants, its tasks. Deployed by Nexus, owned by the client.
/// @dev Ids count from 0, and an absent registrant reads 0 too: preferredEnvironmentOf tells them apart.
/// A registrant that leaves leaves a zero address in its place.
contract Source is Ownable {
    using Pages for address[];

    address public nexus;
    SourceParams public sourceParams;
    SourceStatus public status;
    address[] public tasks;
    address[] public registrants;
    mapping(address => uint256) public registrantId;
    /// @notice 0 when the provider is not registered, otherwise 1 CPU, 2 NVIDIA or 4 AMD.
    mapping(address => uint8) public preferredEnvironmentOf;

    constructor(SourceParams memory _sourceParams) payable Ownable(_sourceParams.client) {
        nexus = msg.sender;
        sourceParams = _sourceParams;
    }

    modifier onlyNexus() {
        require(msg.sender == nexus, "NotNexus");
        _;
    }

    function register(address provider, uint8 preferredEnvironment) external onlyNexus returns (uint256) {
        uint256 id = registrants.length;
        registrants.push(provider);
        registrantId[provider] = id;
        preferredEnvironmentOf[provider] = preferredEnvironment;
        return id;
    }

    function unregister(address provider) external onlyNexus {
        registrants[registrantId[provider]] = address(0);
        delete registrantId[provider];
        delete preferredEnvironmentOf[provider];
    }

    function publishTask(address task) external onlyNexus {
        tasks.push(task);
    }

    function setSourceParams(SourceParams calldata _sourceParams) external onlyNexus {
        sourceParams = _sourceParams;
    }

    /// @notice One-way: ACTIVE to INACTIVE. The owner's direct call goes round by Nexus, which counts and tells.
    function setStatus(SourceStatus _status) external {
        if (msg.sender == nexus) {
            require(status == SourceStatus.ACTIVE && _status == SourceStatus.INACTIVE, "SourceInactive");
            status = _status;
        } else {
            require(msg.sender == owner(), "NotOwner");
            INexus(nexus).setSourceStatus(address(this), _status);
        }
    }

    function getClient() external view returns (address) {
        return sourceParams.client;
    }

    function getStatus() external view returns (SourceStatus) {
        return status;
    }

    function getSourceParams() external view returns (SourceParams memory) {
        return sourceParams;
    }

    function getTaskCount() external view returns (uint256) {
        return tasks.length;
    }

    /// @notice Both bounds inclusive; panics unless lower is 0.
    function getTasks(uint256 lower, uint256 upper) external view returns (address[] memory) {
        return tasks.sliceFromZeroOnly(lower, upper);
    }

    /// @notice Places in the list, those of registrants who left included.
    function getRegistrantCount() external view returns (uint256) {
        return registrants.length;
    }

    /// @notice Both bounds inclusive; panics unless lower is 0.
    function getRegistrants(uint256 lower, uint256 upper) external view returns (address[] memory) {
        return registrants.sliceFromZeroOnly(lower, upper);
    }

    function getRegistrantId(address provider) external view returns (uint256) {
        return registrantId[provider];
    }
}
