"""Facts as they may be shown to others: without names of people and machines, addresses, serial numbers and secrets.

What is kept is listed wherever a list can be made (accounts, groups, keys of Docker's configuration); the rest of every
text is cleaned of what looks like one of these. Look through what was recorded before it is published all the same: no
rule knows what a package of a company's own is called.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from berth.facts.model import FileFact, HostFacts

USER = "user"
_ACCOUNTS = {"root", "nobody", "docker", "nvidia-persistenced", "_apt", "sshd", "messagebus", "polkitd"}
_GROUPS = {"root", "sudo", "wheel", "docker", "video", "render", "adm", "nvidia-persistenced", "nogroup"}
_PACKAGES = re.compile(
    r"^(lib)?(nvidia|cuda|nv|infiniband|ib|rdma|mlnx|doca|dcgm|datacenter-gpu|docker|containerd|moby|runc|crun|podman|"
    r"buildah|container|criu|linux-|kernel|dkms|mokutil|shim|grub|unattended-upgrades|apt|dpkg|dnf|yum|rpm|python3-dnf|"
    r"systemd|supervisor|openssh|sudo|curl|ca-certificates|gnupg|gpg|epel|gcc|make|glibc|c6|util-linux|snapd|"
    r"needrestart|ubuntu-drivers|xserver-xorg-video|bash|dash)"
)
"""What prerequisites and checks look at; other packages would tell what the machine is for."""

_OF_BERTH = re.compile(r"^berth-")
_PUBLIC = re.compile(
    r"(^|\.)(docker\.com|nvidia\.com|nvcr\.io|github\.io|debian\.org|ubuntu\.com|canonical\.com|rockylinux\.org|"
    r"fedoraproject\.org|centos\.org|redhat\.com|almalinux\.org|docker\.io|ghcr\.io|quay\.io|huggingface\.co)$"
)
_KNOWN_KEYS = {
    *("runtimes", "features", "default-runtime", "exec-opts", "log-driver", "log-opts", "live-restore", "data-root"),
    *("storage-driver", "storage-opts", "cdi-spec-dirs", "default-ulimits", "default-shm-size", "iptables", "ipv6"),
    *("max-concurrent-downloads", "cgroup-parent", "userland-proxy", "debug", "experimental", "containerd"),
}
"""Of /etc/docker/daemon.json; others name registries, proxies and machines."""

_SECRET = re.compile(
    r"(?i)([\w.-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|apikey|auth|credential)[\w.-]*[\"']?\s*[:=]\s*)"
    r"(\"[^\"]*\"|'[^']*'|[^\s,;}\]\"']+)"
)
_TOKEN = re.compile(
    r"(?<!\w)(?:(?:hf_|sk-|pk-|ghp_|gho_|github_pat_|glpat-|xox[bap]-|nvapi-)[A-Za-z0-9_-]{12,}|AKIA[A-Z0-9]{16})(?!\w)"
)
_PRIVATE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")
_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)(?:[^\s/@]*@)?(\[[0-9a-f:]+\]|[^\s/:\"'\]]+)")
_LOCAL_NAME = re.compile(
    r"(?i)\b[a-z0-9][a-z0-9.-]*\.(?:local|lan|internal|intranet|intra|corp|home|private|localdomain)\b"
)
_WITH_PORT = re.compile(r"(?i)\b(?:[a-z0-9-]+\.)+[a-z]{2,}(?=:\d{2,5}\b)")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_IPV4 = re.compile(r"(?<![\w.:~+-])(?:\d{1,3}\.){3}\d{1,3}(?![\w.~+-])")
_IPV6 = re.compile(r"(?i)(?<![\w:.])(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{0,4}(?![\w:])|(?<![\w:.])[0-9a-f:]*::[0-9a-f:]+")
_MAC = re.compile(r"(?i)\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b")
_UUID = re.compile(r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_HOMES = re.compile(r"/home/(?!user\b)[^/\s\"':]+")


def anonymous(facts: HostFacts, names: Iterable[str] = ()) -> HostFacts:
    """The same machine without what tells whose it is.

    Args:
        facts: as they were gathered.
        names: more words to take out: how the machine is called and reached.
    """
    cleaner = _Cleaner(facts, names)
    plain = cleaner.plain(
        facts.model_dump(mode="json", exclude={"files", "users", "gpu_processes", "units", "packages"})
    )
    plain |= {
        "packages": {name: one.model_dump() for name, one in facts.packages.items() if _PACKAGES.match(name)},
        "users": _users(facts),
        "units": {name: unit.model_dump() for name, unit in facts.units.items() if not _OF_BERTH.match(name)},
        "files": {
            cleaner.text(path): cleaner.file(path, file).model_dump()
            for path, file in facts.files.items()
            if not _OF_BERTH.match(path.rpartition("/")[2])
        },
        "user": _login(facts),
        "home": _home(facts),
        "boot_id": "00000000-0000-0000-0000-000000000000",
        "ports": [port for port in facts.ports if port < 1024],
    }
    return HostFacts.model_validate(plain)


def _login(facts: HostFacts) -> str:
    return "root" if facts.user == "root" else USER


def _home(facts: HostFacts) -> str:
    return "/root" if facts.user == "root" else f"/home/{USER}"


def _users(facts: HostFacts) -> dict[str, list[str]]:
    kept = {name: groups for name, groups in facts.users.items() if name in _ACCOUNTS and name != facts.user}
    kept[_login(facts)] = facts.users.get(facts.user, ())
    return {name: [group for group in groups if group in _GROUPS] for name, groups in sorted(kept.items())}


class _Cleaner:
    """Takes out of every text what one machine's facts tell about whose it is."""

    def __init__(self, facts: HostFacts, names: Iterable[str]) -> None:
        people = {name for name, groups in facts.users.items() if name not in _ACCOUNTS and name in groups}
        words = {*names, facts.user, *(path.split("/")[2] for path in (facts.home,) if path.startswith("/home/"))}
        ordinary = {"", "root", USER, "localhost", "ubuntu", "debian", "rocky", "admin", "docker"}
        told = sorted({*words, *_persons(facts, people), *_own_hosts(facts)} - ordinary, key=len, reverse=True)
        self._words = re.compile("|".join(rf"(?<![\w]){re.escape(word)}(?![\w])" for word in told)) if told else None
        self._home = facts.home if facts.home not in {"/", "/root", ""} else None
        self._ids: dict[str, str] = {}

    def plain(self, value: Any) -> Any:
        """Plain values with every text in them cleaned."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.plain(item) for key, item in value.items()}
        return [self.plain(item) for item in value] if isinstance(value, list | tuple) else value

    def text(self, text: str) -> str:
        """One text."""
        if self._home is not None:
            text = text.replace(self._home, f"/home/{USER}")
        text = _HOMES.sub(f"/home/{USER}", text)
        text = _URL.sub(_url, text)
        text = _SECRET.sub(r"\1REMOVED", text)
        text = _TOKEN.sub("REMOVED", text)
        text = _MAIL.sub("somebody@example.org", text)
        text = _UUID.sub(self._uuid, text)
        text = _MAC.sub("00:00:00:00:00:00", text)
        text = _IPV4.sub(_address, text)
        text = _IPV6.sub("2001:db8::1", text)
        text = _LOCAL_NAME.sub("host.example", text)
        text = _WITH_PORT.sub(lambda match: match[0] if _PUBLIC.search(match[0]) else "host.example", text)
        return self._words.sub(USER, text) if self._words is not None else text

    def file(self, path: str, file: FileFact) -> FileFact:
        """A file with its content cleaned, and the digest of that."""
        content = file.content
        if content is not None:
            content = None if _PRIVATE.search(content) else self._content(path, content)
        owner = ":".join(word if word in _ACCOUNTS | _GROUPS else USER for word in file.owner.split(":"))
        changed = content != file.content
        digest = hashlib.sha256((content or "").encode()).hexdigest() if changed else file.sha256
        return FileFact(mode=file.mode, owner=owner, content=content, sha256=digest)

    def _content(self, path: str, content: str) -> str:
        if content.startswith("-----BEGIN PGP PUBLIC KEY"):
            return content  # a vendor's, whose lines look like anything
        if path == "/etc/docker/daemon.json":
            try:
                said = json.loads(content)
            except ValueError:
                return self.text(content)
            known = {key: said[key] for key in said if key in _KNOWN_KEYS} if isinstance(said, dict) else {}
            cleaned = self.plain(known)
            return content if cleaned == said else json.dumps(cleaned, indent=4) + "\n"
        return self.text(content)

    def _uuid(self, match: re.Match[str]) -> str:
        """Another for each, the same for the same: a card is named in several places."""
        number = len(self._ids)
        return self._ids.setdefault(match[0].lower(), f"{number:08d}-0000-0000-0000-000000000000")


def _persons(facts: HostFacts, candidates: Iterable[str]) -> set[str]:
    """Accounts that look like people's: in a group that lets one do something, beside their own."""
    powers = {"sudo", "wheel", "docker", "adm", "users"}
    return {name for name in candidates if powers & set(facts.users[name])}


def _own_hosts(facts: HostFacts) -> set[str]:
    """The hosts of addresses that are nobody's but this machine's owner's, which other lines may name without a URL."""
    texts = (file.content for file in facts.files.values() if file.content is not None)
    return {match[2] for text in texts for match in _URL.finditer(text) if not _PUBLIC.search(match[2])}


def _url(match: re.Match[str]) -> str:
    host = match[2]
    return match[1] + (host if _PUBLIC.search(host) else "host.example")


def _address(match: re.Match[str]) -> str:
    address = match[0]
    kept = address.startswith("127.") or address in {"0.0.0.0", "255.255.255.255"}  # noqa: S104 -- compared, not bound
    return address if kept else "192.0.2.1"
