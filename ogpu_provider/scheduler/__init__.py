"""May I, and where: rules, the ledger of leases, and what this host has."""
