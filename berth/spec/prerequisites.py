"""What Berth installs and sets on a host before anything runs there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from berth.catalogue.patterns import ACCOUNT as _ACCOUNT
from berth.catalogue.patterns import ADDRESS as _ADDRESS
from berth.catalogue.patterns import SETTING as _SETTING
from berth.catalogue.patterns import SETTING_VALUE as _VALUE
from berth.catalogue.patterns import WORD as _WORD
from berth.spec.values import Section, Text, wrong

_VERSION = r"^[A-Za-z0-9][A-Za-z0-9.+:~_-]{0,80}$"
_FINGERPRINT = r"^[0-9A-Fa-f]{40}([0-9A-Fa-f]{24})?$"
_LIMIT = r"^(as|core|memlock|nice|nofile|nproc|rtprio|stack)$"
_CARD = r"^(0|[1-9][0-9]{0,3})$"
_SUITE = r"^[A-Za-z0-9./][A-Za-z0-9._/-]{0,80}$"

MEANINGS = {
    _VERSION: "a version as the repository writes it, such as 580.95.05 or 28.5.2",
    _SETTING: "the name of a kernel setting, such as vm.swappiness",
    _VALUE: "a setting's value: numbers or words",
    _ACCOUNT: "the name of an account: letters, digits, dots, dashes and underscores",
    _FINGERPRINT: "a key's full fingerprint of 40 hexadecimal digits without spaces",
    _LIMIT: "a limit of limits.conf, such as memlock or nofile",
    _CARD: "the index of a GPU, such as 0",
    _SUITE: "a suite, such as trixie or /",
    _ADDRESS: "an address that starts with https://, http:// or file://",
    _WORD: "one word without blanks, such as main",
}
"""What the patterns mean, for messages."""

Version = Annotated[str, Field(pattern=_VERSION)]

Account = Annotated[str, Field(pattern=_ACCOUNT)]

Watts = Annotated[float, Field(gt=0, le=5000)]
"""A power limit in watts."""


def _spaceless(value: Any) -> Any:
    return re.sub(r"[\s:]", "", value).upper() if isinstance(value, str) else value


Fingerprint = Annotated[
    str,
    BeforeValidator(_spaceless),
    Field(pattern=_FINGERPRINT),
    WithJsonSchema({"type": "string", "pattern": r"^([0-9A-Fa-f][\s:]*){40}(([0-9A-Fa-f][\s:]*){24})?$"}),
]
"""A key's fingerprint; spaces and colons, as tools print them, are left out."""


class Driver(Section):
    """The NVIDIA driver of a host."""

    branch: Annotated[int, Field(ge=300, le=2000)] | None = None
    """The driver's branch, such as 580; left out together with the version, the long-lived one for the GPUs."""
    version: Version | None = None
    """The driver's exact version, such as 575.64.05."""
    flavour: Literal["auto", "open", "proprietary"] = "auto"
    """Which kernel modules; auto takes the open ones wherever the GPUs allow it."""
    reboot: Literal["allowed", "never"] = "never"
    """Whether `pulumi up` may reboot the machine where a driver that is installed cannot be loaded otherwise."""
    persistence: bool = True
    """Whether the GPUs stay initialised while nothing uses them, also after a reboot."""
    power_limit: (
        Annotated[
            Annotated[Watts, Tag("|watts")]
            | Annotated[Mapping[Annotated[str, Field(pattern=_CARD)], Watts], Tag("|cards"), Field(min_length=1)],
            Discriminator(lambda value: "|cards" if isinstance(value, Mapping) else "|watts"),
        ]
        | None
    ) = None
    """The most power in watts that each GPU may draw: one number for all, or one by index."""

    @model_validator(mode="after")
    def _agrees(self) -> Driver:
        if self.branch is not None and self.version is not None and not self.version.startswith(f"{self.branch}."):
            raise wrong(f"is {self.version}, must be of branch {self.branch}; leave out one of the two", "version")
        if self.version is not None and re.fullmatch(r"[1-9]\d{2,3}(\.\d+){1,2}", self.version) is None:
            raise wrong(f"is {self.version!r}, must be a driver's version such as 580.95.05", "version")
        return self


def _json(value: Any) -> Any:
    """Lists were read as tuples; what is written to a JSON file has lists."""
    if isinstance(value, Mapping):
        return {key: _json(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_json(inner) for inner in value]
    return value


def _settings(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise wrong("is not a mapping, must be settings of Docker's daemon.json")
    for key in ("runtimes", "default-runtime", "live-restore"):
        if key in value:
            instead = "use docker.live_restore" if key == "live-restore" else "Berth sets it for the NVIDIA runtime"
            raise wrong(f"is given, must be left out: {instead}", key)
    return _json(value)


class DockerEngine(Section):
    """Docker, which runs containers."""

    package: Literal["auto", "docker-ce", "docker.io"] = "auto"
    """Whose Docker: docker-ce is Docker's own, docker.io Debian's and Ubuntu's; auto keeps the one that is there."""
    version: Version | None = None
    """Its exact version; left out, the newest that the repository has at the first installation."""
    live_restore: bool | None = None
    """Whether containers go on while the daemon restarts; left out, as it is on the host."""
    settings: Annotated[Mapping[str, Any], BeforeValidator(_settings), WithJsonSchema({"type": "object"})] = Field(
        default_factory=dict
    )
    """Settings of daemon.json, merged key by key into those that the host has."""


class ContainerToolkit(Section):
    """The NVIDIA container toolkit, which gives containers their GPUs."""

    version: Version | None = None
    """Its exact version; left out, the newest that the repository has at the first installation."""


class User(Section):
    """An account of the host."""

    groups: tuple[Account, ...] = ()
    """Groups that the account is in, beside those that it is in already."""


def _without_login(value: Any) -> Any:
    """Refuses a login in an address, in words that do not repeat it."""
    if isinstance(value, str) and re.match(r"[a-z]+://[^/?#]*@", value):
        raise wrong(
            "has a login in it, must have none, since everybody on the host may read the entry; put it into a file in "
            "/etc/apt/auth.conf.d on the host"
        )
    return value


def _dotted(value: Any) -> Any:
    """A setting's name with dots: `vm/swappiness` is vm.swappiness. What stands first parts the name, as for sysctl."""
    if isinstance(value, str) and (first := re.search(r"[./]", value)) is not None and first[0] == "/":
        return value.translate(str.maketrans("./", "/."))
    return value


class Repository(Section):
    """Where packages come from instead of the vendor's own address, for networks that reach no other."""

    uri: Annotated[str, BeforeValidator(_without_login), Field(pattern=_ADDRESS)] | None = None
    """The address of the mirror, without a login: apt takes that from /etc/apt/auth.conf.d of the host."""
    suite: Annotated[str, Field(pattern=_SUITE)] | None = None
    """apt's suite; `/` for a flat repository."""
    components: tuple[Annotated[str, Field(pattern=_WORD)], ...] | None = None
    """apt's components; none for a flat repository."""
    key: Text | None = None
    """A file of this project with the mirror's signing key; left out, the vendor's key signs it."""
    fingerprint: Fingerprint | None = None
    """The key's fingerprint, which is compared before the key is trusted."""

    @model_validator(mode="after")
    def _is_signed(self) -> Repository:
        if self.key is not None and self.fingerprint is None:
            raise wrong("is not said, must be that of key; `gpg --show-keys FILE` prints it", "fingerprint")
        return self


class Repositories(Section):
    """Where the packages of each vendor come from."""

    nvidia: Repository | None = None
    """NVIDIA's repository with the driver and the fabric manager."""
    docker: Repository | None = None
    """Docker's repository."""
    container_toolkit: Repository | None = None
    """NVIDIA's repository with the container toolkit."""


Limit = Annotated[
    Annotated[int, Field(ge=0), Tag("|number")] | Annotated[Literal["unlimited"], Tag("|word")],
    Discriminator(lambda value: "|word" if isinstance(value, str) else "|number"),
]

SettingName = Annotated[
    str,
    BeforeValidator(_dotted),
    Field(pattern=_SETTING),
    WithJsonSchema({"type": "string", "pattern": r"^[a-z0-9_]+([./][A-Za-z0-9_:-]+)+$"}),
]

Setting = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) and not isinstance(value, bool) else value),
    WithJsonSchema({"type": ["string", "integer"]}),
    Field(pattern=_VALUE),
]


_LEAST = {"nofile": 256, "nproc": 64, "as": 1024 * 1024, "stack": 1024}
"""What a login needs of each limit, in the words of limits.conf (`as` and `stack` in KiB)."""


def _livable(limits: Mapping[str, int | str]) -> Mapping[str, int | str]:
    """Refuses limits with which nobody can log in any more: pam_limits refuses the session (linux-pam issue 353)."""
    for item, value in limits.items():
        if item == "nofile" and value == "unlimited":
            text = "is unlimited, which locks logins out, must be a number up to fs.nr_open, such as 1048576"
            raise wrong(text, item)
        if isinstance(value, int) and value < _LEAST.get(item, 0):
            raise wrong(f"is {value}, must be at least {_LEAST[item]}; with less nobody can log in any more", item)
    return limits


class Prerequisites(Section):
    """What Berth installs and sets on a host. What is absent here is only verified, never changed."""

    driver: Driver | None = None
    """The NVIDIA driver."""
    fabric_manager: Literal["auto", "never"] = "auto"
    """The fabric manager: auto installs it, with the driver, where the GPUs are joined by NVSwitch."""
    docker: DockerEngine | None = None
    """The Docker engine."""
    container_toolkit: ContainerToolkit | None = None
    """The NVIDIA container toolkit."""
    sysctl: Mapping[SettingName, Setting] = Field(default_factory=dict)
    """Kernel settings by name, also after a reboot."""
    limits: Annotated[Mapping[Annotated[str, Field(pattern=_LIMIT)], Limit], AfterValidator(_livable)] = Field(
        default_factory=dict
    )
    """Limits of everyone who logs in, such as memlock: unlimited."""
    users: Mapping[Account, User] = Field(default_factory=dict)
    """Accounts by name, and the groups that they must be in."""
    on_destroy: Literal["keep", "remove"] = "keep"
    """Whether `pulumi destroy` leaves on the machine what is declared here."""
    repositories: Repositories = Repositories()
    """Where packages come from, if not from the vendors."""
