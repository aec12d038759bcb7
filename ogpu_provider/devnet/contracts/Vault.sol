// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IManager, ITerminal} from "./Interfaces.sol";

/// @notice The money: liquid balances, lockups, unbonding amounts and the escrow of every open task. All wei.
contract Vault {
    bytes32 private constant _ADMIN = 0x00;
    bytes32 private constant _CONTROLLER = keccak256("CONTROLLER");
    bytes32 private constant _JUDGE = keccak256("JUDGE");

    struct Escrow {
        address payer;
        uint256 amount;
    }

    address public manager;
    address public nexus;
    address public terminal;

    /// @notice Lockup that a provider needs to register to any source.
    uint256 public MIN_LOCKUP_PER_SOURCE = 100 ether;
    /// @notice Seconds between unbond and claim.
    uint256 public UNBONDING_PERIOD = 60;

    mapping(address => uint256) public balanceOf;
    mapping(address => uint256) public lockupOf;
    mapping(address => uint256) public unbondingOf;
    /// @notice Unix seconds from which claim succeeds; 0 when nothing is unbonding.
    mapping(address => uint256) public unbondingTimestamp;
    mapping(address => uint256) public totalEarningsOf;
    mapping(address => uint256) public sanctionOf;
    uint256 public sanctionedAmount;
    mapping(address => bool) public isWhitelisted;

    mapping(address task => Escrow) private _escrows;
    /// @dev What a client's open tasks hold in escrow, plus one from the first task on. A slot that falls back to zero
    /// costs more to fill again, and a client whose gas was estimated exactly while a task was open, as the official SDK
    /// does, would run out of gas if that task is paid before its own transaction is mined.
    mapping(address client => uint256) private _frozenPlusOne;

    event Deposited(address account, uint256 amount);
    event Withdrawn(address account, uint256 amount);
    event Locked(address account, uint256 amount);
    event Unbonded(address account, uint256 amount);
    event UnbondingCanceled(address account, uint256 amount);
    event Claimed(address account, uint256 amount);
    event Sanctioned(address account, uint256 amount);
    event Waived(address account, uint256 amount);

    constructor(address _manager, address _nexus, address _terminal) {
        manager = _manager;
        nexus = _nexus;
        terminal = _terminal;
    }

    modifier onlyRole(bytes32 role) {
        require(IManager(manager).hasRole(role, msg.sender), "NotAuthorized");
        _;
    }

    modifier onlyProtocol() {
        require(
            msg.sender == nexus || IManager(manager).hasRole(_CONTROLLER, msg.sender), "NotController"
        );
        _;
    }

    // --- everyone's own money ---

    /// @notice Credits the account's balance, or, sent by the Terminal for a pairing, its lockup.
    function deposit(address account) external payable {
        if (msg.sender == terminal) {
            lockupOf[account] += msg.value;
            emit Locked(account, msg.value);
        } else {
            balanceOf[account] += msg.value;
            emit Deposited(account, msg.value);
        }
    }

    function withdraw(uint256 amount) external {
        require(balanceOf[msg.sender] >= amount, "InsufficientBalance");
        balanceOf[msg.sender] -= amount;
        _pay(msg.sender, amount);
        emit Withdrawn(msg.sender, amount);
    }

    function lock(uint256 amount) external {
        require(balanceOf[msg.sender] >= amount, "InsufficientBalance");
        balanceOf[msg.sender] -= amount;
        lockupOf[msg.sender] += amount;
        emit Locked(msg.sender, amount);
    }

    /// @notice Starts the unbonding of an amount; the clock of what was already unbonding starts again.
    function unbond(uint256 amount) external {
        require(amount > 0 && lockupOf[msg.sender] >= amount, "InsufficientLockup");
        lockupOf[msg.sender] -= amount;
        unbondingOf[msg.sender] += amount;
        unbondingTimestamp[msg.sender] = block.timestamp + UNBONDING_PERIOD;
        emit Unbonded(msg.sender, amount);
    }

    function cancelUnbonding() external {
        uint256 amount = _takeUnbonding(msg.sender);
        lockupOf[msg.sender] += amount;
        emit UnbondingCanceled(msg.sender, amount);
    }

    function claim() external {
        require(block.timestamp >= unbondingTimestamp[msg.sender], "UnbondingNotElapsed");
        uint256 amount = _takeUnbonding(msg.sender);
        balanceOf[msg.sender] += amount;
        emit Claimed(msg.sender, amount);
    }

    // --- escrow, moved by the protocol's own contracts ---

    function freezePayment(address client, address task, uint256 amount) external onlyProtocol {
        require(_escrows[task].payer == address(0), "AlreadyFrozen");
        require(balanceOf[client] >= amount, "InsufficientBalance");
        balanceOf[client] -= amount;
        _frozenPlusOne[client] = _frozenOf(client) + amount + 1;
        _escrows[task] = Escrow(client, amount);
    }

    /// @notice Pays a task: `amount` to the provider's master, what is left back to the client.
    /// @dev A provider that was unpaired in the meantime is paid itself.
    function processPayment(address client, address provider, address task, uint256 amount)
        external
        onlyProtocol
    {
        uint256 frozen = _takeEscrow(client, task);
        require(amount <= frozen, "PaymentTooHigh");
        address earner = ITerminal(terminal).masterOf(provider);
        if (earner == address(0)) earner = provider;
        balanceOf[earner] += amount;
        totalEarningsOf[earner] += amount;
        balanceOf[client] += frozen - amount;
    }

    function releasePayment(address client, address task) external onlyProtocol {
        balanceOf[client] += _takeEscrow(client, task);
    }

    /// @notice The judge's way out for a task that nobody will ever finalise.
    function forceReleasePayment(address client, address task) external onlyRole(_JUDGE) {
        balanceOf[client] += _takeEscrow(client, task);
    }

    // --- judge and admin ---

    /// @notice Takes lockup away from an account, to be waived or withdrawn later.
    function sanction(address account, uint256 amount) external onlyRole(_JUDGE) {
        require(lockupOf[account] >= amount, "InsufficientLockup");
        lockupOf[account] -= amount;
        sanctionOf[account] += amount;
        sanctionedAmount += amount;
        emit Sanctioned(account, amount);
    }

    function waive(address account, uint256 amount) external onlyRole(_JUDGE) {
        require(sanctionOf[account] >= amount, "InsufficientBalance");
        sanctionOf[account] -= amount;
        sanctionedAmount -= amount;
        lockupOf[account] += amount;
        emit Waived(account, amount);
    }

    /// @notice The account's sanctioned amount leaves the Vault, to the admin who asks.
    function withdrawSanctionOf(address account) external onlyRole(_ADMIN) {
        uint256 amount = sanctionOf[account];
        sanctionOf[account] = 0;
        sanctionedAmount -= amount;
        _pay(msg.sender, amount);
    }

    /// @notice All that an account has here, escrow and sanctions apart, is paid out to it.
    function emergencyExit(address account) external onlyRole(_ADMIN) {
        uint256 amount = balanceOf[account] + lockupOf[account] + unbondingOf[account];
        balanceOf[account] = 0;
        lockupOf[account] = 0;
        unbondingOf[account] = 0;
        unbondingTimestamp[account] = 0;
        _pay(account, amount);
        emit Withdrawn(account, amount);
    }

    function setMinLockupPerSource(uint256 amount) external onlyRole(_ADMIN) {
        MIN_LOCKUP_PER_SOURCE = amount;
    }

    function setMaxUnbondingPeriod(uint256 period) external onlyRole(_ADMIN) {
        UNBONDING_PERIOD = period;
    }

    /// @notice A whitelisted account may register without any lockup.
    function setWhitelist(address account, bool value) external onlyRole(_ADMIN) {
        isWhitelisted[account] = value;
    }

    function setTerminal(address _terminal) external onlyRole(_ADMIN) {
        terminal = _terminal;
    }

    // --- views ---

    function isEligible(address account) external view returns (bool) {
        return isWhitelisted[account] || lockupOf[account] >= MIN_LOCKUP_PER_SOURCE;
    }

    function getBalanceOf(address account) external view returns (uint256) {
        return balanceOf[account];
    }

    /// @notice What a client's open tasks hold in escrow.
    /// @dev The published ABI leaves the argument without a name.
    function frozenPayment(address) external view returns (uint256) {
        return _frozenOf(abi.decode(msg.data[4:], (address)));
    }

    function getLockupOf(address account) external view returns (uint256) {
        return lockupOf[account];
    }

    function _frozenOf(address client) private view returns (uint256) {
        return _frozenPlusOne[client] == 0 ? 0 : _frozenPlusOne[client] - 1;
    }

    function _takeUnbonding(address account) private returns (uint256 amount) {
        amount = unbondingOf[account];
        require(amount > 0, "NothingUnbonding");
        unbondingOf[account] = 0;
        unbondingTimestamp[account] = 0;
    }

    function _takeEscrow(address client, address task) private returns (uint256 amount) {
        require(_escrows[task].payer == client && client != address(0), "NotFrozen");
        amount = _escrows[task].amount;
        _frozenPlusOne[client] -= amount;
        delete _escrows[task];
    }

    function _pay(address account, uint256 amount) private {
        (bool paid,) = account.call{value: amount}("");
        require(paid, "TransferFailed");
    }
}
