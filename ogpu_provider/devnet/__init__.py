"""The local network: chain, contracts, pinning service and image registry for trying and testing."""
