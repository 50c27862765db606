"""A signed package repository: its entry, the key it is trusted by, and its index fetched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from berth.catalogue.patterns import ADDRESS, WORD
from berth.facts import HostFacts
from berth.provider.command import Command, leashed, put, shell
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.operation import FactOperation, Want
from berth.provider.packaging import Manager, apt, sources
from berth.provider.packaging.fetched_key import fetched
from berth.provider.packaging.openpgp import UntrustedKey, fingerprints, only
from berth.provider.packaging.running import run

_AWAY = """
for file do
  if [ -e "$file" ]; then mv -f -- "$file" "$file.save"; fi
done
"""

# $1 how long to wait, $2 the entry's file, $3 its candidate, $4 the key's file, which apt's own user must be able to
# read.
_ADD_APT = (
    "wait_s=$1\n"
    + apt.WAIT
    + """
trap 'rm -rf -- "${3%/*}"' EXIT
chmod 0755 "${4%/*}"
mkdir -p -- "${2%/*}"
if ! LC_ALL=C apt-get -q update -o Dir::Etc::sourcelist="$3" -o Dir::Etc::sourceparts=/dev/null \\
  -o APT::Get::List-Cleanup=0 -o APT::Update::Error-Mode=any -o Acquire::Retries=3; then exit 100; fi
install -m 0644 -- "$3" "$2.berth-new"
mv -f -- "$2.berth-new" "$2"
"""
)

# $1 the entry's file, $2 its candidate, alone in its folder.
_ADD_DNF = """
trap 'rm -rf -- "${2%/*}"' EXIT
LC_ALL=C dnf -y --setopt=reposdir="${2%/*}" --setopt=skip_if_unavailable=False --setopt=retries=3 --refresh makecache
install -m 0644 -- "$2" "$1.berth-new"
mv -f -- "$1.berth-new" "$1"
"""

_REMOVE = """
rm -f -- "$@"
"""

_APT_WORDS = {"uris": "uris", "suites": "suites", "components": "components", "architectures": "architectures"}
_DNF_WORDS = {"uris": "baseurl"}
"""The fields of an entry that a declaration has words for."""

_BEFORE, _AFTER = 600, 100
"""Priorities of apt: a distribution's packages have 500; with 100 what is installed still gets newer versions."""

_WAIT_S = 600
_REFRESH_S = 900.0

_Word = Annotated[str, StringConstraints(pattern=WORD)]
_Address = Annotated[str, StringConstraints(pattern=ADDRESS)]
_Path = Annotated[str, StringConstraints(pattern=r"^/\S+$")]


class PackageRepositoryWant(Want):
    """A repository. `name` is that of its files: NAME.sources and NAME.asc, or NAME.repo and RPM-GPG-KEY-NAME.

    `suites`, `components` and `architectures` (the repository's words: amd64) are apt's alone; the suite `/` is a flat
    repository and has no components. The key is given as text (`key`, armoured) or fetched by the host itself from
    `key_url`; either way it must have `fingerprint`, in full. Other keys beside it in the same text are not written.
    `signed` is what the publisher of a dnf repository signs. `obsolete` are files of earlier guides that are moved away
    (to FILE.save) since they declare the same repository in another way; any other such file is refused, by its name.
    With `first`, patterns of names, apt takes packages of these names from the repository of that `label`, and others
    only where nobody else has them; a repository of another label, as mirrors may have, is not touched by that.

    `entry` is there to be observed: `missing`, or the lines that differ where the other words cannot say it. The entry
    is put in place only once its index has been fetched, so that one that is there has proved to work.
    """

    manager: Manager
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    uris: list[_Address] = Field(min_length=1)
    suites: list[_Word] = []
    components: list[_Word] = []
    architectures: list[_Word] = []
    key: str = ""
    key_url: str = Field(default="", pattern=r"^((https?|file)://\S+)?$")
    fingerprint: str = Field(pattern=r"^([0-9A-F]{40}|[0-9A-F]{64})$")
    signed: Literal["packages", "metadata", "both"] = "packages"
    obsolete: list[_Path] = []
    label: str = Field(default="", pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$|^$")
    first: list[Annotated[str, StringConstraints(pattern=r"^[a-z0-9*][a-z0-9+.*-]*$")]] = []
    entry: str = "as declared"
    pin: Literal["as declared", "other", "missing"] = "as declared"
    on_destroy: Literal["keep", "remove"] = "keep"

    @model_validator(mode="after")
    def _sayable(self) -> Self:
        if bool(self.key) == bool(self.key_url):
            raise ValueError("give the key as text (key) or its address (key_url), one of the two")
        if self.manager == "apt" and not self.suites:
            raise ValueError("suites is empty, must name the distribution's release, or be ['/'] for a flat repository")
        if self.manager == "dnf" and (self.suites or self.components or self.architectures):
            raise ValueError("suites, components and architectures are apt's; a dnf repository has its uris alone")
        if any(suite.endswith("/") for suite in self.suites) and self.components:
            raise ValueError("components are given with a flat repository (a suite that ends in /); it has none")
        if bool(self.label) != bool(self.first) or (self.first and self.manager != "apt"):
            raise ValueError("label and first go together, and are apt's")
        return self

    @property
    def candidate(self) -> str:
        """Where the entry lies until its index has been fetched: alone in a folder that only root reads."""
        return f"/run/berth-repository-{self.name}/{self.path.rpartition('/')[2]}"

    @property
    def path(self) -> str:
        """The file of the entry."""
        if self.manager == "apt":
            return f"/etc/apt/sources.list.d/{self.name}.sources"
        return f"/etc/yum.repos.d/{self.name}.repo"

    @property
    def key_path(self) -> str:
        """The file of the key."""
        if self.manager == "apt":
            return f"/etc/apt/keyrings/{self.name}.asc"
        return f"/etc/pki/rpm-gpg/RPM-GPG-KEY-berth-{self.name}"

    @property
    def pin_path(self) -> str:
        """The file of the preferences, read after those of NVIDIA's pinning package: the first that fits counts."""
        return f"/etc/apt/preferences.d/zz-berth-{self.name}"

    def preferences(self) -> str:
        """What apt prefers; empty where nothing is declared of it."""
        if not self.first:
            return ""
        pin = f"Pin: release l={self.label}\n"
        return (
            "# Written by Berth: the distribution keeps its own packages.\n"
            f"Package: {' '.join(self.first)}\n{pin}Pin-Priority: {_BEFORE}\n\n"
            f"Package: *\n{pin}Pin-Priority: {_AFTER}\n"
        )

    def text(self) -> str:
        """What the entry says."""
        if self.manager == "apt":
            return sources.deb822(
                {
                    "Types": ["deb"],
                    "URIs": self.uris,
                    "Suites": self.suites,
                    "Components": self.components,
                    "Architectures": self.architectures,
                    "Signed-By": [self.key_path],
                }
            )
        return sources.repo(
            self.name,
            {
                "name": self.name,
                "baseurl": " ".join(self.uris),
                "enabled": "1",
                "gpgcheck": str(int(self.signed in {"packages", "both"})),
                "repo_gpgcheck": str(int(self.signed in {"metadata", "both"})),
                "gpgkey": f"file://{self.key_path}",
            },
        )


class PackageRepository(FactOperation[PackageRepositoryWant]):
    """Declares a package repository."""

    kind = "berth:host:PackageRepository"
    wants = PackageRepositoryWant
    replace = frozenset({"host", "name", "manager"})

    def identity(self, want: PackageRepositoryWant) -> str:
        """Its name on its host."""
        return f"{want.host}:repository:{want.name}"

    def seen(self, facts: HostFacts, want: PackageRepositoryWant) -> PackageRepositoryWant | None:
        """The entry, the fingerprint of the key that lies beside it, and which obsolete files are out of the way."""
        entry, key = facts.files.get(want.path), facts.files.get(want.key_path)
        gone = [path for path in want.obsolete if path not in facts.files]
        if entry is None and key is None and gone == want.obsolete:
            return None
        pin = facts.files.get(want.pin_path)
        found = " and ".join(fingerprints(key.content or "")) if key is not None else "missing"
        update: dict[str, object] = {"obsolete": gone, "fingerprint": found, "entry": "missing"}
        if (pin.content if pin is not None else "") != want.preferences():
            update["pin"] = "missing" if pin is None else "other"
        if entry is not None:
            update |= _entry(want, entry.content)
        if want.key and key is not None and key.content != _written(want):
            update["key"] = key.content or ""
        return want.model_copy(update=update)

    def steps(self, want: PackageRepositoryWant | None, have: PackageRepositoryWant | None) -> Sequence[Command]:
        """What is obsolete goes, the key comes, and the entry once its index has been fetched."""
        if want is None:
            says = f"removing the repository {have.name}" if have is not None else ""
            return [] if have is None else [shell(_REMOVE, *_files(have), says=says, root=True)]
        commands = []
        if obsolete := [path for path in want.obsolete if have is not None and path not in have.obsolete]:
            commands.append(shell(_AWAY, *obsolete, says=f"moving away {', '.join(obsolete)}", root=True))
        commands += _prefer(want, have)
        same_key = have is not None and (have.fingerprint, have.key) == (want.fingerprint, want.key)
        if not same_key:
            commands.append(put(want.key_path, _written(want), root=True))
        if not same_key or have is None or (have.entry, have.text()) != (want.entry, want.text()):
            commands.append(put(want.candidate, want.text(), mode="0600", root=True))
            commands.append(_add(want))
        return commands

    async def preflight(self, host: Host, want: PackageRepositoryWant) -> None:
        """A host of the other kind, another key than the one that is meant, and other entries are seen beforehand."""
        facts = await host.facts()
        where = f"repository {want.name} on {host.name}"
        if problems := [f"{where}: {problem}" for problem in _problems(facts, want)]:
            raise BadInput("\n".join(problems))

    async def apply(self, host: Host, want: PackageRepositoryWant | None, have: PackageRepositoryWant | None) -> None:
        """Runs the steps; a key that is given by its address is fetched by the host and looked at here first."""
        if want is not None and want.key_url and (have is None or have.fingerprint != want.fingerprint):
            where = f"repository {want.name} on {host.name}"
            want = want.model_copy(update={"key": await fetched(host, want.key_url, want.fingerprint, where=where)})
            have = have and have.model_copy(update={"key": ""})
        for command in self.steps(want, have):
            await run(host, command)


def _entry(want: PackageRepositoryWant, text: str | None) -> dict[str, object]:
    """What the file of an entry says, in the words of the declaration as far as they go."""
    if text is None:
        return {"entry": "unreadable"}
    said, words = sources.said(text, want.name), _APT_WORDS if want.manager == "apt" else _DNF_WORDS
    update: dict[str, object] = {name: said.get(field, "").split() for name, field in words.items()}
    try:
        found = type(want).model_validate({**want.plain(), **update})
    except ValidationError:  # such as an address with a login, which is not to be shown
        found, update = want, {}
    return {**update, "entry": sources.odd(text, found.text()) or "as declared"}


def _files(have: PackageRepositoryWant) -> list[str]:
    return [have.path, have.key_path, *([have.pin_path] if have.first else [])]


def _prefer(want: PackageRepositoryWant, have: PackageRepositoryWant | None) -> list[Command]:
    """Before the index is there, so that nothing of it is ever preferred otherwise."""
    if want.pin == (have.pin if have is not None else "missing"):
        return []
    if want.first:
        return [put(want.pin_path, want.preferences(), root=True)]
    says = f"removing {want.pin_path}"
    return [] if have is None else [shell(_REMOVE, want.pin_path, says=says, root=True)]


def _add(want: PackageRepositoryWant) -> Command:
    says = f"reading the index of {', '.join(want.uris)}"
    if want.manager == "apt":
        arguments = (str(_WAIT_S), want.path, want.candidate, want.key_path)
        return leashed(shell(_ADD_APT, *arguments, says=says, timeout_s=_REFRESH_S, root=True))
    return leashed(shell(_ADD_DNF, want.path, want.candidate, says=says, timeout_s=_REFRESH_S, root=True))


def _written(want: PackageRepositoryWant) -> str:
    """The key's file: the key that is meant alone. One that is not in the text has been refused before."""
    try:
        return only(want.key.encode(), want.fingerprint)
    except UntrustedKey:
        return ""


def _problems(facts: HostFacts, want: PackageRepositoryWant) -> list[str]:
    problems = []
    if facts.package_manager != want.manager:
        problems.append(f"the host has {facts.package_manager or 'neither apt nor dnf'}, must have {want.manager}")
    if not facts.root:
        problems.append("adding it needs root, which this login cannot become; log in as root or allow it sudo")
    if want.key:
        try:
            only(want.key.encode(), want.fingerprint)
        except UntrustedKey as problem:
            problems.append(f"the text of its key {problem}")
    if want.manager == "apt":
        others = sources.also_declared(facts, want.path, want.uris, want.suites)
    else:
        others = sources.also_named(facts, want.path, want.name)
    problems += [
        f"{path} declares it as well, must be the only one; remove it there, or name the file in obsolete"
        for path in others
        if path not in want.obsolete
    ]
    return problems
