// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice Who has which role, with the functions, errors and events of OpenZeppelin's AccessControl (v5).
contract Manager {
    bytes32 public constant DEFAULT_ADMIN_ROLE = 0x00;
    bytes32 public constant PROVIDER = keccak256("PROVIDER");
    bytes32 public constant CONTROLLER = keccak256("CONTROLLER");
    bytes32 public constant JUDGE = keccak256("JUDGE");

    mapping(bytes32 role => mapping(address account => bool)) private _members;
    mapping(bytes32 role => bytes32) private _admins;

    error AccessControlUnauthorizedAccount(address account, bytes32 neededRole);
    error AccessControlBadConfirmation();

    event RoleAdminChanged(
        bytes32 indexed role, bytes32 indexed previousAdminRole, bytes32 indexed newAdminRole
    );
    event RoleGranted(bytes32 indexed role, address indexed account, address indexed sender);
    event RoleRevoked(bytes32 indexed role, address indexed account, address indexed sender);

    constructor() {
        _grant(DEFAULT_ADMIN_ROLE, msg.sender);
    }

    modifier onlyRole(bytes32 role) {
        if (!_members[role][msg.sender]) revert AccessControlUnauthorizedAccount(msg.sender, role);
        _;
    }

    function hasRole(bytes32 role, address account) external view returns (bool) {
        return _members[role][account];
    }

    /// @dev Every role is administered by the default admin; nothing here can change that.
    function getRoleAdmin(bytes32 role) external view returns (bytes32) {
        return _admins[role];
    }

    function grantRole(bytes32 role, address account) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _grant(role, account);
    }

    function revokeRole(bytes32 role, address account) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _revoke(role, account);
    }

    function renounceRole(bytes32 role, address callerConfirmation) external {
        if (callerConfirmation != msg.sender) revert AccessControlBadConfirmation();
        _revoke(role, msg.sender);
    }

    function supportsInterface(bytes4 interfaceId) external view returns (bool) {
        return interfaceId == 0x7965db0b || interfaceId == 0x01ffc9a7; // IAccessControl, IERC165
    }

    function _grant(bytes32 role, address account) private {
        if (_members[role][account]) return;
        _members[role][account] = true;
        emit RoleGranted(role, account, msg.sender);
    }

    function _revoke(bytes32 role, address account) private {
        if (!_members[role][account]) return;
        _members[role][account] = false;
        emit RoleRevoked(role, account, msg.sender);
    }
}
