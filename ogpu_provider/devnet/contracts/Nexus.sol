// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IManager, ITerminal, IVault} from "./Interfaces.sol";
import {Ownable} from "./Ownable.sol";
import {Pages} from "./Pages.sol";
import {Response} from "./Response.sol";
import {Source} from "./Source.sol";
import {Task} from "./Task.sol";
import {
    DeliveryMethod,
    ResponseParams,
    ResponseStatus,
    SourceParams,
    SourceStatus,
    TaskStatus
} from "./Types.sol";

/// @notice The registry: sources, registrations, attempts, responses, and every event about them.
/// @dev No parameter of these events is indexed, as on the public network.
contract Nexus is Ownable {
    using Pages for address[];

    bytes32 public constant PROVIDER = keccak256("PROVIDER");
    bytes32 public constant CONTROLLER = keccak256("CONTROLLER");
    uint8 private constant _ALL_ENVIRONMENTS = 7;

    address public manager;
    address public terminal;
    address public vault;

    address[] public sources;
    /// @notice Counts from 0; an unknown source reads 0 too.
    mapping(address => uint256) public sourceId;
    address[] public clients;
    mapping(address => address[]) public sourcesOf;
    mapping(address => uint256) public activeSourceCountOf;

    mapping(address source => bool) private _isSource;
    mapping(address task => bool) private _isTask;

    event SourcePublished(address source);
    event SourceUpdated(address source, SourceParams sourceParams);
    event SourceStatusChanged(address source, SourceStatus status);
    event Registered(address provider, uint256 registrantId, address source, uint8 preferredEnvironment);
    event TaskPublished(address task, address source);
    event TaskStatusChanged(address task, TaskStatus status);
    event Attempted(address task, address provider, uint256 suggestedPayment);
    event ResponseSubmitted(address response, address task);
    event ResponseStatusChanged(address response, ResponseStatus status);

    constructor(address _manager, address _terminal, address _vault) Ownable(msg.sender) {
        manager = _manager;
        terminal = _terminal;
        vault = _vault;
    }

    modifier onlyController() {
        require(checkController(msg.sender), "NotController");
        _;
    }

    // --- sources ---

    /// @notice Published by the client itself or its agent. The chain's clock, not the caller's, stamps it.
    function publishSource(SourceParams memory _sourceParams) external {
        address client = _sourceParams.client;
        require(_actsFor(client), "NotOwner");
        _checkTerms(_sourceParams);
        _sourceParams.lastUpdateTime = block.timestamp;
        address source = address(new Source(_sourceParams));
        _isSource[source] = true;
        sourceId[source] = sources.length;
        sources.push(source);
        if (sourcesOf[client].length == 0) clients.push(client);
        sourcesOf[client].push(source);
        activeSourceCountOf[client]++;
        emit SourcePublished(source);
    }

    /// @notice New terms for an active source; its client stays.
    function updateSource(address source, SourceParams memory _sourceParams) external {
        address client = _clientOf(source);
        require(_actsFor(client) && _sourceParams.client == client, "NotOwner");
        require(Source(source).getStatus() == SourceStatus.ACTIVE, "SourceInactive");
        _checkTerms(_sourceParams);
        _sourceParams.lastUpdateTime = block.timestamp;
        Source(source).setSourceParams(_sourceParams);
        emit SourceUpdated(source, _sourceParams);
    }

    /// @notice One-way. Open tasks live on, new ones are refused.
    function inactivateSource(address source) external {
        require(_actsFor(_clientOf(source)), "NotOwner");
        _setSourceStatus(source, SourceStatus.INACTIVE);
    }

    /// @notice For controllers, and for the source itself on behalf of its owner.
    function setSourceStatus(address source, SourceStatus status) external {
        require(_isSource[source] && (msg.sender == source || checkController(msg.sender)), "NotController");
        _setSourceStatus(source, status);
    }

    // --- providers ---

    /// @notice Registers a paired provider that has the network's and the source's lockup.
    /// @param preferredEnvironment one of the source's environments: 1 CPU, 2 NVIDIA, 4 AMD
    function register(address source, address provider, uint8 preferredEnvironment) external {
        _checkProvider(provider);
        SourceParams memory params = _paramsOf(source);
        require(Source(source).getStatus() == SourceStatus.ACTIVE, "SourceInactive");
        require(_isOneBit(preferredEnvironment), "EnvironmentNotSupported");
        require(params.imageEnvironments & preferredEnvironment != 0, "EnvironmentNotSupported");
        require(!_isRegistered(source, provider), "AlreadyRegistered");
        require(_hasLockup(provider, params.minAvailableLockup), "InsufficientLockup");
        uint256 id = Source(source).register(provider, preferredEnvironment);
        emit Registered(provider, id, source, preferredEnvironment);
    }

    /// @notice Leaves a source; there is no event. An unpaired provider may still leave by itself.
    function unregister(address source, address provider) external {
        require(msg.sender == provider || _actsForMasterOf(provider), "NotProvider");
        require(_isSource[source] && _isRegistered(source, provider), "NotRegistered");
        Source(source).unregister(provider);
    }

    /// @notice A registered provider's promise to answer. Past its expiry a task nobody answered becomes
    /// EXPIRED instead and the client is refunded: that transaction succeeds, without an Attempted event.
    /// @param suggestedPayment wei, advisory; told to everyone and otherwise unused
    function attempt(address task, address provider, uint256 suggestedPayment) external {
        _checkProvider(provider);
        require(_isTask[task], "UnknownTask");
        require(_isRegistered(Task(task).getSource(), provider), "NotRegistered");
        TaskStatus status = Task(task).getStatus();
        _checkOpen(status);
        if (block.timestamp > Task(task).getExpiryTime()) {
            require(status != TaskStatus.RESPONDED, "Expired");
            IVault(vault).releasePayment(Task(task).owner(), task);
            _setTaskStatus(task, TaskStatus.EXPIRED);
            return;
        }
        Task(task).attempt(provider);
        emit Attempted(task, provider, suggestedPayment);
        if (status == TaskStatus.NEW) _setTaskStatus(task, TaskStatus.ATTEMPTED);
    }

    /// @notice The answer, sent by the provider itself. For FIRST_RESPONSE it is confirmed, paid in full and
    /// final at once; otherwise the client chooses.
    function submitResponse(ResponseParams memory _responseParams) external {
        address task = _responseParams.task;
        address provider = _responseParams.provider;
        require(msg.sender == provider, "NotProvider");
        _checkProvider(provider);
        require(_isTask[task], "UnknownTask");
        TaskStatus status = Task(task).getStatus();
        _checkOpen(status);
        require(block.timestamp <= Task(task).getExpiryTime(), "Expired");
        require(_responseParams.payment <= Task(task).getPayment(), "PaymentTooHigh");
        address response = address(new Response(_responseParams));
        Task(task).submitResponse(response, provider);
        emit ResponseSubmitted(response, task);
        if (status != TaskStatus.RESPONDED) _setTaskStatus(task, TaskStatus.RESPONDED);
        if (Task(task).getDeliveryMethod() == DeliveryMethod.FIRST_RESPONSE) {
            IVault(vault).processPayment(Task(task).owner(), provider, task, Task(task).getPayment());
            _setResponseStatus(response, ResponseStatus.CONFIRMED);
            _setTaskStatus(task, TaskStatus.FINALIZED);
        }
    }

    // --- what the Controller moves ---

    function emitTaskPublished(address task, address source) external onlyController {
        _isTask[task] = true;
        Source(source).publishTask(task);
        emit TaskPublished(task, source);
    }

    function setTaskStatus(address task, TaskStatus status) external onlyController {
        _setTaskStatus(task, status);
    }

    function setResponseStatus(address response, ResponseStatus status) external onlyController {
        _setResponseStatus(response, status);
    }

    // --- the owner's wiring ---

    function setManager(address _manager) external onlyOwner {
        manager = _manager;
    }

    function setTerminal(address _terminal) external onlyOwner {
        terminal = _terminal;
    }

    function setVault(address _vault) external onlyOwner {
        vault = _vault;
    }

    // --- views ---

    function checkController(address account) public view returns (bool) {
        return IManager(manager).hasRole(CONTROLLER, account);
    }

    function getSourceCount() external view returns (uint256) {
        return sources.length;
    }

    function getSourceId(address source) external view returns (uint256) {
        return sourceId[source];
    }

    /// @notice Both bounds inclusive.
    function getSources(uint256 lower, uint256 upper) external view returns (address[] memory) {
        return sources.slice(lower, upper);
    }

    function getActiveSourceCount(address client) external view returns (uint256) {
        return activeSourceCountOf[client];
    }

    // --- rules ---

    function _actsFor(address account) private view returns (bool) {
        return msg.sender == account || ITerminal(terminal).isAgentOf(account, msg.sender);
    }

    function _actsForMasterOf(address provider) private view returns (bool) {
        address master = ITerminal(terminal).masterOf(provider);
        return master != address(0) && _actsFor(master);
    }

    /// @dev The provider must be paired; it, its master or the master's agent may call.
    function _checkProvider(address provider) private view {
        require(IManager(manager).hasRole(PROVIDER, provider), "NotProvider");
        require(msg.sender == provider || _actsForMasterOf(provider), "NotMaster");
    }

    function _checkTerms(SourceParams memory params) private pure {
        uint8 mask = params.imageEnvironments;
        require(mask != 0 && mask <= _ALL_ENVIRONMENTS, "EnvironmentNotSupported");
    }

    function _checkOpen(TaskStatus status) private pure {
        require(status != TaskStatus.EXPIRED, "Expired");
        require(status != TaskStatus.CANCELED, "Canceled");
        require(status != TaskStatus.FINALIZED, "AlreadyFinalized");
    }

    function _isOneBit(uint8 environment) private pure returns (bool) {
        return environment == 1 || environment == 2 || environment == 4;
    }

    function _hasLockup(address provider, uint256 sourceMinimum) private view returns (bool) {
        IVault v = IVault(vault);
        if (v.isWhitelisted(provider)) return true;
        return v.isEligible(provider) && v.lockupOf(provider) >= sourceMinimum;
    }

    function _isRegistered(address source, address provider) private view returns (bool) {
        return Source(source).preferredEnvironmentOf(provider) != 0;
    }

    function _paramsOf(address source) private view returns (SourceParams memory) {
        require(_isSource[source], "UnknownSource");
        return Source(source).getSourceParams();
    }

    function _clientOf(address source) private view returns (address) {
        require(_isSource[source], "UnknownSource");
        return Source(source).getClient();
    }

    function _setSourceStatus(address source, SourceStatus status) private {
        Source(source).setStatus(status);
        activeSourceCountOf[Source(source).getClient()]--;
        emit SourceStatusChanged(source, status);
    }

    function _setTaskStatus(address task, TaskStatus status) private {
        Task(task).setStatus(status);
        emit TaskStatusChanged(task, status);
    }

    function _setResponseStatus(address response, ResponseStatus status) private {
        if (status == ResponseStatus.CONFIRMED) Response(response).confirm();
        else Response(response).setStatus(status);
        emit ResponseStatusChanged(response, status);
    }
}
