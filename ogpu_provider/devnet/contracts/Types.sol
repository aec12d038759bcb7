// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice Enums and structs of the network's published ABIs, with their published order and names.

enum SourceStatus {
    ACTIVE,
    INACTIVE
}

enum TaskStatus {
    NEW,
    ATTEMPTED,
    RESPONDED,
    CANCELED,
    EXPIRED,
    FINALIZED
}

enum ResponseStatus {
    SUBMITTED,
    CONFIRMED
}

enum DeliveryMethod {
    MANUAL_CONFIRMATION,
    FIRST_RESPONSE
}

/// @param imageEnvironments mask of 1 CPU, 2 NVIDIA, 4 AMD
/// @param minPayment wei
/// @param minAvailableLockup wei a provider must have locked to register
/// @param maxExpiryDuration seconds between publication and expiry of a task
struct SourceParams {
    address client;
    string imageMetadataUrl;
    uint8 imageEnvironments;
    uint256 minPayment;
    uint256 minAvailableLockup;
    uint256 maxExpiryDuration;
    bool privacyEnabled;
    string optionalParamsUrl;
    DeliveryMethod deliveryMethod;
    uint256 lastUpdateTime;
}

/// @param expiryTime unix seconds
/// @param payment wei
struct TaskParams {
    address source;
    string config;
    uint256 expiryTime;
    uint256 payment;
}

/// @param payment wei asked for; never more than the task's payment
struct ResponseParams {
    address task;
    address provider;
    string data;
    uint256 payment;
}
