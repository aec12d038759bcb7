"""Step 3: what the doctor says about this host, as far as it concerns a provider that is not registered yet."""

from ogpu_provider.onboarding.sitting import DONE, SKIPPED, OnboardingError, Sitting, StepResult


async def check(ctx: Sitting) -> StepResult:
    """Go on without errors, or with --accept-warnings. Raises OnboardingError host.errors."""
    if ctx.examine is None or not ctx.answers.check_host:
        ctx.talk.say("Host check: left out.")
        return StepResult("host", SKIPPED)
    ctx.talk.say("Host check: looking at engine, devices, disks, clock and nodes; up to half a minute ...")
    findings = await ctx.examine(ctx.settings)
    for one in findings:
        ctx.talk.say(f"Host: {one.severity}: {one.id}: {one.found}" + (f"\n      {one.remedy}" if one.remedy else ""))
    errors = [one.id for one in findings if one.severity == "error"]
    if errors and not ctx.answers.accept_warnings:
        raise OnboardingError(
            f"this host is not ready: {', '.join(errors)}",
            code="host.errors",
            remedy="do what is said above (`ogpu-provider doctor` explains), or go on with --accept-warnings",
        )
    if not findings:
        ctx.talk.say("Host check: nothing to complain about.")
    return StepResult("host", DONE, {"findings": [{"id": f.id, "severity": f.severity} for f in findings]})
