// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "./Ownable.sol";
import {ResponseParams, ResponseStatus} from "./Types.sol";

/// @notice One provider's answer to one task. Deployed and owned by Nexus.
contract Response is Ownable {
    ResponseParams public responseParams;
    ResponseStatus public status;
    /// @notice Unix seconds.
    uint256 public responseTimestamp;
    bool public confirmedFinal;

    constructor(ResponseParams memory _responseParams) payable Ownable(msg.sender) {
        responseParams = _responseParams;
        responseTimestamp = block.timestamp;
    }

    /// @notice Makes this the task's winning response, for good.
    function confirm() external onlyOwner {
        require(!confirmedFinal, "AlreadyConfirmed");
        status = ResponseStatus.CONFIRMED;
        confirmedFinal = true;
    }

    function setStatus(ResponseStatus _status) external onlyOwner {
        require(!confirmedFinal, "AlreadyConfirmed");
        status = _status;
    }

    function getResponseParams() external view returns (ResponseParams memory) {
        return responseParams;
    }

    function getStatus() external view returns (ResponseStatus) {
        return status;
    }
}
