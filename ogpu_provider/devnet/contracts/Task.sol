// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "./Ownable.sol";
import {Pages} from "./Pages.sol";
import {Response} from "./Response.sol";
import {DeliveryMethod, ResponseParams, TaskParams, TaskStatus} from "./Types.sol";

/// @notice One task: its terms, who attempted it, who answered. Deployed by the Controller, owned by the client
/// who pays, moved by Nexus.
/// @dev Attempter ids count from 0, and an absent attempter reads 0 too. Responses are listed by attempter id.
contract Task is Ownable {
    using Pages for address[];
    using Pages for uint256[];

    address private _nexus;
    TaskParams public taskParams;
    DeliveryMethod public deliveryMethod;
    TaskStatus public status;
    address[] public attempters;
    uint256[] public attemptTimestamps;
    mapping(address => uint256) public attempterId;
    mapping(address => address) public responseOf;
    /// @notice By keccak256(abi.encodePacked(provider, data)).
    mapping(bytes32 => bool) public isAlreadySubmitted;

    mapping(address provider => bool) private _attempted;

    constructor(TaskParams memory _taskParams, DeliveryMethod _deliveryMethod, address nexus)
        payable
        Ownable(msg.sender)
    {
        taskParams = _taskParams;
        deliveryMethod = _deliveryMethod;
        _nexus = nexus;
    }

    modifier onlyNexus() {
        require(msg.sender == _nexus, "NotNexus");
        _;
    }

    /// @notice One attempt per provider; it keeps no other provider out.
    function attempt(address provider) external onlyNexus {
        require(!_attempted[provider], "AlreadyAttempted");
        _attempted[provider] = true;
        attempterId[provider] = attempters.length;
        attempters.push(provider);
        attemptTimestamps.push(block.timestamp);
    }

    /// @notice One response per provider, and only from one that attempted.
    function submitResponse(address response, address provider) external onlyNexus {
        require(_attempted[provider], "NotAttempted");
        require(responseOf[provider] == address(0), "AlreadySubmitted");
        ResponseParams memory params = Response(response).getResponseParams();
        bytes32 hash = keccak256(abi.encodePacked(provider, params.data));
        require(!isAlreadySubmitted[hash], "AlreadySubmitted");
        isAlreadySubmitted[hash] = true;
        responseOf[provider] = response;
    }

    function setStatus(TaskStatus _status) external onlyNexus {
        status = _status;
    }

    function getSource() external view returns (address) {
        return taskParams.source;
    }

    function getStatus() external view returns (TaskStatus) {
        return status;
    }

    function getPayment() external view returns (uint256) {
        return taskParams.payment;
    }

    function getExpiryTime() external view returns (uint256) {
        return taskParams.expiryTime;
    }

    function getDeliveryMethod() external view returns (DeliveryMethod) {
        return deliveryMethod;
    }

    function getAttemptCount() external view returns (uint256) {
        return attempters.length;
    }

    /// @notice Both bounds inclusive.
    function getAttempters(uint256 lower, uint256 upper) external view returns (address[] memory) {
        return attempters.slice(lower, upper);
    }

    function getAttempterId(address provider) external view returns (uint256) {
        return attempterId[provider];
    }

    /// @notice Both bounds inclusive; unix seconds.
    function getAttemptTimestamps(uint256 lower, uint256 upper) external view returns (uint256[] memory) {
        return attemptTimestamps.slice(lower, upper);
    }

    /// @notice Both bounds inclusive; the zero address for an attempter without a response.
    function getResponsesOf(uint256 lower, uint256 upper) external view returns (address[] memory) {
        address[] memory page = attempters.slice(lower, upper);
        for (uint256 i = 0; i < page.length; i++) page[i] = responseOf[page[i]];
        return page;
    }

    /// @notice The provider whose response was confirmed, or the zero address.
    function winningProvider() external view returns (address) {
        for (uint256 i = 0; i < attempters.length; i++) {
            address response = responseOf[attempters[i]];
            if (response != address(0) && Response(response).confirmedFinal()) return attempters[i];
        }
        return address(0);
    }
}
