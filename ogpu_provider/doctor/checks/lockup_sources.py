"""Is the stake enough for each source?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok, skipped
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.judgement import amount
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import provider, sources
from ogpu_provider.domain.units import short


async def look(context: Context) -> Seen:
    listed = await sources(context)
    if not listed:
        return skipped("no source is to be served")
    account, terms = await context.chain.vault(await provider(context)), await context.chain.terms()
    if account.whitelisted:
        return ok("whitelisted: no stake is needed")
    short_of = []
    for source in listed:
        wanted = max(terms.min_lockup_per_source, (await context.chain.source(source)).min_available_lockup)
        if account.lockup < wanted:
            short_of.append(f"{short(source)} wants {amount(wanted, context.network.currency)}")
    locked = amount(account.lockup, context.network.currency)
    return failed(f"{locked} locked; {', '.join(short_of)}") if short_of else ok(f"{locked} locked, enough for each")


CHECK = Check(
    id="lockup_sources",
    topic=Topic.ACCOUNT,
    severity=Severity.WARNING,
    title="stake for sources",
    meaning="A source may ask for more stake than the network does; registering with less is refused.",
    remedy="lock more, or leave those sources out of sources.serve",
    look=look,
    needs=("key_present", "rpc_contracts"),
)
