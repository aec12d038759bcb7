"""How a service starts, restarts, is looked after and ends: all of it bounded."""

from ogpu_provider.runtime.compose import quantities
from ogpu_provider.runtime.compose.draft import Draft
from ogpu_provider.runtime.compose.model import Dependency, Healthcheck
from ogpu_provider.runtime.compose.policy import CONDITIONS
from ogpu_provider.runtime.compose.reader import Field

_TIMES = ("interval", "timeout", "start_period")
_LONGEST = 3600.0


def depends_on(draft: Draft, at: Field) -> None:
    found: list[Dependency] = []
    if at.is_list:
        found = [Dependency(name) for name in at.texts()]
    else:
        for name, options in at.entries():
            condition, required = "service_started", True
            for key, value in options.entries():
                if key == "condition":
                    condition = value.text() or condition
                    if condition not in CONDITIONS:
                        value.refuse("compose.type", f"{condition[:40]!r} is not a condition")
                elif key == "required":
                    required = value.flag() is not False
                elif key == "restart":
                    value.flag()
                else:
                    value.refuse("compose.unknown_key", "not part of a dependency")
            found.append(Dependency(name, condition, required))
    draft.values["depends_on"] = tuple(found)


def healthcheck(draft: Draft, at: Field) -> None:
    test: tuple[str, ...] = ()
    times = {"interval": 30.0, "timeout": 30.0, "start_period": 0.0}
    retries, off = 3, False
    for key, value in at.entries():
        if key == "test":
            words = value.words()
            test = ("CMD-SHELL", words) if isinstance(words, str) else words or ()
        elif key in _TIMES:
            seconds = value.parsed(quantities.duration)
            times[key] = min(seconds, _LONGEST) if seconds else times[key]
        elif key == "start_interval":
            value.parsed(quantities.duration)
        elif key == "retries":
            retries = min(max(value.number() or 3, 1), 100)
        elif key == "disable":
            off = bool(value.flag())
        else:
            value.refuse("compose.unknown_key", "not part of a healthcheck")
    if test and (test[0] not in ("CMD", "CMD-SHELL", "NONE") or test in (("CMD",), ("CMD-SHELL",))):
        remedy = 'write test: ["CMD", "program", "argument"], or the command as text'
        at.part("test").refuse("compose.type", "a test starts with CMD, CMD-SHELL or NONE, and names a command", remedy)
    if off or test[:1] == ("NONE",):
        test = ()
    times["interval"] = max(times["interval"], 1.0)
    if test or off:
        draft.values["healthcheck"] = Healthcheck(test, retries=retries, **times)


def restart(draft: Draft, at: Field) -> None:
    policy, colon, count = (at.text() or "no").partition(":")
    most = draft.limits.retries
    counted = count.isascii() and count.isdigit() and len(count) < 9
    if colon and not (policy == "on-failure" and counted):
        at.refuse("compose.type", f"{count[:40]!r} is not a number of restarts", "write on-failure:3")
    elif policy == "always":
        at.refuse("compose.restart", "restart: always restarts a broken container for ever")
    elif policy == "unless-stopped":
        at.note("on-failure, at most 3 times")
        draft.values["retries"] = min(3, most)
    elif policy == "on-failure":
        draft.values["retries"] = min(int(count), most) if counted else most
    elif policy not in ("no", "false"):
        at.refuse("compose.type", f"{policy[:40]!r} is not a restart policy")


def stop_grace(draft: Draft, at: Field) -> None:
    seconds = at.parsed(quantities.duration)
    if seconds is not None:
        draft.values["stop_grace"] = min(seconds, draft.limits.stop_grace)


def profiles(draft: Draft, at: Field) -> None:
    if at.texts():
        at.note("a service behind a profile is not started")
        draft.values["optional"] = True
