// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice Pages of a list. Both bounds are inclusive; an index past the end panics (0x32).
library Pages {
    function slice(address[] storage list, uint256 lower, uint256 upper)
        internal
        view
        returns (address[] memory page)
    {
        page = new address[](upper - lower + 1);
        for (uint256 i = lower; i <= upper; i++) page[i - lower] = list[i];
    }

    function slice(uint256[] storage list, uint256 lower, uint256 upper)
        internal
        view
        returns (uint256[] memory page)
    {
        page = new uint256[](upper - lower + 1);
        for (uint256 i = lower; i <= upper; i++) page[i - lower] = list[i];
    }

    /// @dev The public network's Source writes its page at the list's own index, so any lower bound
    /// above 0 panics. Clients have to live with it, so the local network has it too.
    function sliceFromZeroOnly(address[] storage list, uint256 lower, uint256 upper)
        internal
        view
        returns (address[] memory page)
    {
        page = new address[](upper - lower + 1);
        for (uint256 i = lower; i <= upper; i++) page[i] = list[i];
    }
}
