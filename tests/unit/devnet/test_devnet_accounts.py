from ogpu_provider.devnet.accounts import ROLES, role


def test_the_roles_are_the_well_known_accounts_in_order() -> None:
    assert role("client").address == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    assert role("client").private_key == "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
    assert role("master").address == "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    assert role("provider").address == "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
    assert role("agent").address == "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
    assert len({role(name).address for name in ROLES}) == len(ROLES)
