"""Settings from a TOML file, overridden by `OGPU_PROVIDER_<SECTION>__<KEY>` variables. The only reader of config files.

Parts of the daemon never see this module; `daemon.py` gives each part the figures of its section. There is no
setting that holds a key or a password, only places where one is kept.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import platformdirs
from pydantic import ValidationError

from ogpu_provider import environment
from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.units import coin
from ogpu_provider.settings import APP, Alerts, Gateway, Settings, Wallet
from ogpu_provider.values import Section, bare, receiver

RESERVED = frozenset({"CONFIG", "DEBUG"})
"""Variables with our prefix that are not settings."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as `config explain` shows it. `origin`: default, file, or the variable's name."""

    key: str
    value: object
    default: object
    origin: str
    variable: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings, and where each came from. `file` is None if there was none."""

    settings: Settings
    file: Path | None
    origins: Mapping[str, str]

    def explain(self, key: str = "") -> list[Setting]:
        """The settings under `key` (a section, a setting, or all). Raises ConfigError for an unknown key."""
        found = [s for s in self._every() if not key or s.key == key or s.key.startswith(key + ".")]
        if not found:
            sections = ", ".join(Settings.model_fields)
            raise ConfigError(f"there is no setting {key}", code="config.unknown_key", remedy=f"choose from {sections}")
        return found

    def _every(self) -> Iterator[Setting]:
        for name, top in Settings.model_fields.items():
            value = getattr(self.settings, name)
            if not isinstance(value, Section):
                default = top.get_default(call_default_factory=True, validated_data={})
                yield self._setting(name, value, default, top.description)
                continue
            for inner, field in type(value).model_fields.items():
                key = f"{name}.{inner}"
                yield self._setting(key, getattr(value, inner), field.get_default(), field.description)

    def _setting(self, key: str, value: object, default: object, meaning: str | None) -> Setting:
        shown, usual = _shown(key, value), _shown(key, default)
        return Setting(key, shown, usual, self.origins.get(key, "default"), variable(key), meaning or "")


def _shown(key: str, value: object) -> object:
    """As the operator would write it; a URL's password or query (endpoint keys live there) is left out."""
    if key == "admission.min_payment" and isinstance(value, int):
        return coin(value)
    if key == "alerts.url" and isinstance(value, str):
        return bare(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_shown(key, one) for one in value]
    if isinstance(value, str) and "://" in value:
        return re.sub(r"\?.+", "?…", re.sub(r"//[^/@]+@", "//…@", value))
    return value


def variable(key: str) -> str:
    """The environment variable that overrides a setting: network.rpc_url -> OGPU_PROVIDER_NETWORK__RPC_URL."""
    return environment.PREFIX + key.replace(".", "__").upper()


SERVICE_FILE = Path("/etc/ogpu-provider/config.toml")
"""The service's, which `ogpu-provider service install` writes."""


def default_file(service: Path = SERVICE_FILE) -> Path:
    """The user's own; where there is none, the service's."""
    own = platformdirs.user_config_path(APP) / "config.toml"
    return service if service.exists() and not own.exists() else own


def chosen_file(file: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """The file that is read: the one given, else the one of the environment, else the default; it may not exist."""
    named = environment.variables(environ).get("CONFIG")
    return file or (Path(named) if named else default_file())


def load(
    file: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    changes: Mapping[str, object] | None = None,
) -> Configuration:
    """Read the settings. Without `file`, the default one is read if it exists.

    With `changes`, as they would be if those stood in the file, which then need not exist.

    Raises ConfigError, naming each wrong key and where it stands: `config.missing_file`, `config.unreadable`,
    `config.syntax`, `config.unknown_key`, `config.invalid`. Values are never repeated in the message.
    """
    ours = environment.variables(environ)
    if file is None and (named := ours.get("CONFIG")):
        file = Path(named)
    path = file or default_file()
    there = path.exists() or (file is not None and changes is None)
    tree, used = (_read_toml(path), path) if there else ({}, None)
    for key, value in (changes or {}).items():
        _put(tree, key, value)
    origins = dict.fromkeys(_leaves(tree), "file")
    for name, key, text in _given(ours):
        _put(tree, key, text)
        origins[key] = environment.PREFIX + name
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise _refusal(error, used, origins) from None
    return Configuration(settings, used, MappingProxyType(origins))


TERMS = ("sources", "admission", "price", "breakers", "owner", "devices", "execution")
"""Sections that say which work is taken, and on what terms."""


def overlaid(settings: Settings, file: Path) -> Settings:
    """The settings with what a file says of `TERMS` in place of theirs; its other sections are left aside.

    Raises ConfigError as `load`.
    """
    tree = _read_toml(file)
    try:
        other = Settings.model_validate(tree)
    except ValidationError as error:
        raise _refusal(error, file, dict.fromkeys(_leaves(tree), "file")) from None
    sections = {}
    for name in TERMS:
        theirs: Section = getattr(other, name)
        sections[name] = getattr(settings, name).model_copy(
            update={key: getattr(theirs, key) for key in theirs.model_fields_set}
        )
    return settings.model_copy(update=sections)


def written(file: Path, environ: Mapping[str, str] = os.environ) -> dict[str, object]:
    """What stands in the file, if there is one, and in the environment, by key and unchecked: `network.name`.

    Raises ConfigError config.syntax, config.unreadable.
    """
    tree = _read_toml(file) if file.exists() else {}
    for _, key, text in _given(environment.variables(environ)):
        _put(tree, key, text)
    found: dict[str, object] = {}
    for name, value in tree.items():
        found |= {f"{name}.{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {name: value}
    return found


def _given(variables: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Variable without its prefix, key of the setting, and text."""
    for name, text in sorted(variables.items()):
        if name not in RESERVED:
            yield name, name.lower().replace("__", ".", 1), text


def _put(tree: dict[str, object], key: str, value: object) -> None:
    section, _, name = key.partition(".")
    if not name:
        tree[section] = value
        return
    inner = tree.get(section, {})
    tree[section] = {**inner, name: value} if isinstance(inner, dict) else {name: value}


def _leaves(tree: Mapping[str, object]) -> Iterator[str]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from (f"{name}.{inner}" for inner in value)
        else:
            yield name


def _read_toml(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", code="config.missing_file", remedy="check the path") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", code="config.unreadable", remedy="make the file readable for this user"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}", code="config.syntax", remedy="correct the TOML at that place") from None


def _refusal(error: ValidationError, file: Path | None, origins: Mapping[str, str]) -> ConfigError:
    lines, unknown = [], False
    for problem in error.errors(include_input=False, include_url=False):
        # a union adds its branch names to the path; a setting is two words deep
        key = ".".join(str(part) for part in problem["loc"][:2])
        origin = origins.get(key) or next((o for k, o in origins.items() if k.startswith(key)), "file")
        place = str(file) if origin == "file" and file else origin
        unknown = unknown or problem["type"] == "extra_forbidden"
        what = "no such setting" if problem["type"] == "extra_forbidden" else problem["msg"]
        line = f"{place}: {key}: {what}" if key else f"{place}: {what}"
        if line not in lines:
            lines.append(line.replace("Value error, ", ""))
    return ConfigError(
        "\n  ".join(lines),
        code="config.unknown_key" if unknown else "config.invalid",
        remedy="`ogpu-provider config explain` lists every setting with its meaning",
    )


def wallet_password(wallet: Wallet, environ: Mapping[str, str] = os.environ) -> environment.Secret | None:
    """The keystore's password from where the settings say it is, None if they say nothing.

    Raises ConfigError (`config.secret`) if that place does not answer, or others can read it.
    """
    if wallet.password_fd is not None:
        return secret_from_descriptor(wallet.password_fd)
    if wallet.password_credential:
        directory = environment.credentials_directory(environ)
        if directory is None:
            raise ConfigError(
                "wallet.password_credential: this process was given no systemd credentials",
                code="config.secret",
                remedy="start it as the service that has LoadCredential, or use wallet.password_file",
            )
        return _first_line(directory / wallet.password_credential)
    return secret_from_file(wallet.password_file) if wallet.password_file else None


def gateway_password(gateway: Gateway) -> environment.Secret | None:
    """The gateway keystore's password, None if the settings do not say where it is. Raises ConfigError, as above."""
    return secret_from_file(gateway.password_file) if gateway.password_file else None


def alert_url(alerts: Alerts) -> environment.Secret | None:
    """Where alerts go, None for nowhere. Raises ConfigError (`config.secret`, `config.invalid`)."""
    if alerts.url_file is None:
        return None if alerts.url is None else environment.Secret(alerts.url)
    found = secret_from_file(alerts.url_file)
    try:
        receiver(found.reveal())
    except ValueError as error:
        raise ConfigError(f"{alerts.url_file}: {error}", remedy="write the receiver's URL on its first line") from None
    return found


def secret_from_file(path: Path) -> environment.Secret:
    """The first line of a file that only its owner can read. Raises ConfigError (`config.secret`)."""
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", code="config.secret", remedy="check the path") from error
    if status.st_mode & 0o077 or status.st_uid not in (os.geteuid(), 0):
        raise ConfigError(f"{path}: other users can reach it", code="config.secret", remedy=f"chmod 600 {path}")
    return _first_line(path)


def secret_from_descriptor(number: int) -> environment.Secret:
    """The first line of an open descriptor, which is closed. Raises ConfigError (`config.secret`)."""
    return _first_line(number)


def _first_line(place: Path | int) -> environment.Secret:
    name = f"descriptor {place}" if isinstance(place, int) else str(place)
    try:
        with open(place, encoding="utf-8") as stream:
            text = stream.readline(4097).rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{name}: cannot be read", code="config.secret", remedy="check it and its owner") from None
    if not text:
        raise ConfigError(
            f"{name}: there is nothing in its first line", code="config.secret", remedy="write the secret there, alone"
        )
    return environment.Secret(text)
