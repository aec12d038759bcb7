"""The provider's key: kept encrypted, used under a policy, shown to nobody."""
