"""What somebody answers to the questions of `register`, by pattern of the prompt."""

from tests.integration.onboarding.host import BareHost

WORD = "horse"


def answers_of(host: BareHost, *, lockup: str = "") -> dict[str, str]:
    """`lockup`: what the master is to lock; empty for what is proposed."""
    made = host.network.describe()
    return {
        r"Which network .*\? \[mainnet\] $": "devnet",
        r"RPC URL of the devnet\? $": made["rpc_url"],
        r"pinning service's URL\? $": made["pin_url"] + "/file/create",
        r"There is no key yet.*\[new\] $": "hex",
        r"Private key, 64 hex digits: $": host.provider.private_key,
        r"New password for the keystore: $": WORD,
        r"Once more: $": WORD,
        r"Password of .*keystore.json: $": WORD,
        r"Keep the password in .*\[Y/n\] $": "",
        r"Address of the master .*\? (\[0x.*\] )?$": host.master.address,
        r"that the master locks .*\? \[100\] $": lockup,
        r"Send it with the provider's key\? \[Y/n\] $": "y",
        r"Which ones .*\? \[none\] $": "1",
        r"Send it\? \[Y/n\] $": "yes",
    }


def answers_at_hand(host: BareHost) -> dict[str, str]:
    """Of somebody who has the master's keystore at hand, and is stingy: the stake needs a deposit then."""
    return answers_of(host, lockup="80") | {
        r"Sign and send it with the master's key, once\? \[Y/n\] $": "y",
        r"Password of .*master.json: $": "horse",
    }
