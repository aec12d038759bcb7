// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IManager, IVault} from "./Interfaces.sol";
import {Ownable} from "./Ownable.sol";

/// @notice Who is who: which master owns which provider, and who may act for them.
contract Terminal is Ownable {
    bytes32 public constant PROVIDER = keccak256("PROVIDER");

    address public manager;
    address public vault;

    /// @notice Both are set when, and only when, each side has announced the other.
    mapping(address => address) public masterOf;
    mapping(address => address) public providerOf;
    /// @notice A provider named this account its master.
    mapping(address => bool) public isMaster;
    /// @notice A master named this account its provider.
    mapping(address => bool) public isProvider;
    mapping(address => mapping(address => bool)) public isAgentOf;
    mapping(address => bool) public defaultAgentDisabled;
    mapping(address => string) public baseDataOf;
    mapping(address => string) public liveDataOf;

    mapping(address provider => address master) private _announcedMaster;
    mapping(address master => address provider) private _announcedProvider;

    event MasterAnnounced(address provider, address master);
    event ProviderAnnounced(address provider, address master);
    event ProviderRemoved(address provider);
    event RemoveContainer(address provider, address source);
    event AgentSet(address account, address agent, bool value);
    event DefaultAgentDisabled(address master, bool value);
    event BaseDataUpdated(address provider);
    event LiveDataUpdated(address provider);

    constructor(address _manager, address _vault) Ownable(msg.sender) {
        manager = _manager;
        vault = _vault;
    }

    /// @notice The master's half of the pairing; the two halves may come in either order.
    /// @param amount wei, equal to the value sent; becomes lockup of the provider. Announcing one's own
    /// paired provider again tops the lockup up.
    function announceProvider(address provider, uint256 amount) external payable {
        require(msg.value == amount, "AmountMismatch");
        require(provider != address(0) && provider != msg.sender, "NotProvider");
        address master = masterOf[provider];
        require(master == address(0) || master == msg.sender, "AlreadyPaired");
        address paired = providerOf[msg.sender];
        require(paired == address(0) || paired == provider, "AlreadyPaired");
        _announcedProvider[msg.sender] = provider;
        isProvider[provider] = true;
        if (amount > 0) IVault(vault).deposit{value: amount}(provider);
        emit ProviderAnnounced(provider, msg.sender);
        _pairIfBothAnnounced(provider, msg.sender);
    }

    /// @notice The provider's half of the pairing. Refused once paired.
    function announceMaster(address master) external {
        require(master != address(0) && master != msg.sender, "NotMaster");
        require(masterOf[msg.sender] == address(0), "AlreadyPaired");
        address paired = providerOf[master];
        require(paired == address(0), "AlreadyPaired");
        _announcedMaster[msg.sender] = master;
        isMaster[master] = true;
        emit MasterAnnounced(msg.sender, master);
        _pairIfBothAnnounced(msg.sender, master);
    }

    /// @notice Breaks the pairing. Registrations stay, but the provider can no longer attempt or submit.
    function removeProvider(address provider) external {
        require(masterOf[provider] == msg.sender, "NotMaster");
        delete masterOf[provider];
        delete providerOf[msg.sender];
        delete _announcedMaster[provider];
        delete _announcedProvider[msg.sender];
        delete isProvider[provider];
        delete isMaster[msg.sender];
        IManager(manager).revokeRole(PROVIDER, provider);
        emit ProviderRemoved(provider);
    }

    /// @notice A signal to the provider's host to take the source's containers down; changes nothing here.
    function removeContainer(address provider, address source) external {
        require(masterOf[provider] == msg.sender, "NotMaster");
        emit RemoveContainer(provider, source);
    }

    /// @notice Masters and clients choose agents; providers may not.
    function setAgent(address agent, bool value) external {
        require(!isProvider[msg.sender], "NotMaster");
        isAgentOf[msg.sender][agent] = value;
        emit AgentSet(msg.sender, agent, value);
    }

    /// @notice Kept under the caller. The local network has no default agent, so nothing reads it.
    function setDefaultAgentDisabled(bool value) external {
        defaultAgentDisabled[msg.sender] = value;
        emit DefaultAgentDisabled(msg.sender, value);
    }

    function setBaseData(string calldata _baseData) external {
        require(isProvider[msg.sender], "NotProvider");
        baseDataOf[msg.sender] = _baseData;
        emit BaseDataUpdated(msg.sender);
    }

    function setLiveData(string calldata _liveData) external {
        require(isProvider[msg.sender], "NotProvider");
        liveDataOf[msg.sender] = _liveData;
        emit LiveDataUpdated(msg.sender);
    }

    function getMasterOf(address provider) external view returns (address) {
        return masterOf[provider];
    }

    function getIsMaster(address master) external view returns (bool) {
        return isMaster[master];
    }

    function getIsAgentOf(address master, address agent) external view returns (bool) {
        return isAgentOf[master][agent];
    }

    function setManager(address _manager) external onlyOwner {
        manager = _manager;
    }

    function setVault(address _vault) external onlyOwner {
        vault = _vault;
    }

    function _pairIfBothAnnounced(address provider, address master) private {
        if (_announcedProvider[master] != provider || _announcedMaster[provider] != master) return;
        masterOf[provider] = master;
        providerOf[master] = provider;
        IManager(manager).grantRole(PROVIDER, provider);
    }
}
