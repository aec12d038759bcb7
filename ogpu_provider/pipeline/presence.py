"""Whether what a transaction is for has come about on chain, by whatever way: then it need not be sent."""

from ogpu_provider.domain.intent import Effect, Intent
from ogpu_provider.pipeline.ports import Chain


async def present(chain: Chain, intent: Intent) -> bool:
    """False too for an effect that only its own transaction can have. Raises RpcUnavailable."""
    match intent.effect:
        case Effect.ATTEMPT:
            return (await chain.standing(intent.subject)).attempted_by_us
        case Effect.SUBMIT_RESPONSE:
            return (await chain.standing(intent.subject)).our_response is not None
        case Effect.REGISTER:
            return await chain.registered_environment(intent.subject) is not None
        case Effect.UNREGISTER:
            return await chain.registered_environment(intent.subject) is None
    return False
