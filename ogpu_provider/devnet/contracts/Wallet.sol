// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice A wallet that is a contract: what its owner's key signed, it signed (EIP-1271).
contract Wallet {
    bytes4 private constant _VALID = 0x1626ba7e;
    bytes4 private constant _INVALID = 0xffffffff;

    address public owner;

    constructor(address owner_) {
        owner = owner_;
    }

    /// @param signature r, s and v, 65 bytes; anything shorter makes it revert, as wallets in the field do.
    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        bytes32 r = bytes32(signature[0:32]);
        bytes32 s = bytes32(signature[32:64]);
        address signer = ecrecover(digest, uint8(signature[64]), r, s);
        return signer != address(0) && signer == owner ? _VALID : _INVALID;
    }
}
