"""What a machine is, in typed words: read live in one gathering, or recorded earlier; never assumed.

`None` and empty mean "there is none"; what could not be read is said in `unread`, so that nobody takes it for absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class OperatingSystem(_Fact):
    """From /etc/os-release: `id` such as ubuntu, debian, rocky; `version` such as 24.04; `like` its ID_LIKE words."""

    id: str
    version: str
    codename: str = ""
    like: tuple[str, ...] = ()
    pretty: str = ""


class Disk(_Fact):
    """A mounted file system; sizes in bytes."""

    mount: str
    size: int
    free: int


class PciGpu(_Fact):
    """An NVIDIA display or 3D controller on the PCI bus, seen without any driver; ids as four hex digits."""

    address: str
    device: str
    driver: str | None = None


class GpuFact(_Fact):
    """One GPU as its driver reports it. Memory in bytes, power in watts; None where the driver says N/A."""

    index: int
    uuid: str
    name: str
    memory: int
    used: int
    compute_capability: tuple[int, int]
    persistence: bool | None = None
    power_limit: float | None = None
    power_default: float | None = None
    power_min: float | None = None
    power_max: float | None = None
    ecc: bool | None = None
    mig: bool | None = None


class GpuProcess(_Fact):
    """Memory in bytes that a process holds on a GPU; `cgroup`, `command` (its short name) and `output` tell whose.

    Inside a container the driver names no process: those that have a card open are listed, with an empty uuid and 0.
    """

    uuid: str
    pid: int
    memory: int
    command: str = ""
    cgroup: str = ""
    output: str = ""
    """The file that its output goes to: services of a stack write below its workspace."""


class DriverFact(_Fact):
    """The NVIDIA driver: `installed` is the module on disk for the running kernel, `loaded` the one in the kernel.

    `packages` is the version of the driver's user space (libcuda or nvidia-smi's package); `dkms` maps a kernel to its
    state there; `flavour` is that of the module on disk, `loaded_flavour` that of the one in the kernel.

    `next_kernel` is the kernel that the machine boots next, as far as can be told, `next_module` the version of the
    module on disk for it.
    """

    installed: str | None = None
    loaded: str | None = None
    flavour: Literal["open", "proprietary"] | None = None
    loaded_flavour: Literal["open", "proprietary"] | None = None
    next_kernel: str | None = None
    next_module: str | None = None
    packages: str | None = None
    dkms: Mapping[str, str] = {}
    cuda: str | None = None
    nouveau: tuple[str, ...] = ()
    nvswitch: bool = False
    fabric: str | None = None
    rejected: bool = False

    @property
    def fabric_state(self) -> Literal["up", "not said", "down"]:
        """What the cards say of their fabric; those with an NVSwitch of the first two generations say nothing."""
        if self.fabric in {None, "unknown", "n/a", "not supported"}:
            return "not said"
        return "up" if self.fabric == "completed" else "down"


class DockerFact(_Fact):
    """Docker: `version` of the answering daemon (None when it does not answer), of the `client` program on disk."""

    client: str | None = None
    version: str | None = None
    snap: bool = False
    cgroup_driver: str | None = None
    root: str | None = None
    default_runtime: str | None = None
    runtimes: tuple[str, ...] = ()
    cdi_dirs: tuple[str, ...] = ()
    cdi_devices: tuple[str, ...] = ()
    live_restore: bool | None = None
    running: int | None = None
    """Containers that run, which a restart of the daemon stops unless `live_restore`."""
    detected: bool | None = None
    """Whether the daemon started after the container toolkit came; None where one of the two is not there."""
    usable: bool = False
    """Whether the login itself, without root, may talk to the daemon."""


class CdiFile(_Fact):
    """A CDI specification: its kind (`nvidia.com/gpu`), devices, and the driver version in its library paths.

    `hooks` are those that it runs in containers by name, such as `enable-cuda-compat`; each once.
    """

    path: str
    kind: str
    devices: tuple[str, ...] = ()
    driver: str | None = None
    hooks: tuple[str, ...] = ()


class PackageFact(_Fact):
    """An installed (or half-installed) package; `state` is `installed`, or what dpkg says otherwise."""

    version: str
    state: str = "installed"
    held: bool = False


class UnitFact(_Fact):
    """A systemd unit: words of systemctl show (`active`/`failed`, `enabled`/`static`/`masked`, `success`)."""

    active: str
    enabled: str
    result: str = ""
    needs_reload: bool = False


class FileFact(_Fact):
    """A configuration file; `content` is None where it is no text, longer than 256 KiB or not to be read.

    `mode` is four octal digits, `owner` is `user:group`, `sha256` is empty where the file is not to be read.
    """

    mode: str
    owner: str
    content: str | None = None
    sha256: str = ""


class HostFacts(_Fact):
    """One machine. `gathered` is when; `unread` are the parts that this login may not read, each with its reason."""

    gathered: datetime
    os: OperatingSystem
    architecture: str
    kernel: str
    init: Literal["systemd", "supervisord"]
    """What keeps engines running: systemd where it runs and the login is root."""
    systemd: bool = False
    """Whether systemd runs there, whoever logs in."""
    container: str | None = None
    secure_boot: Literal["enabled", "disabled", "unknown"] = "unknown"
    user: str
    uid: int = 0
    gid: int = 0
    home: str
    root: bool
    """Whether root's rights are to be had: the login is root, or its sudo works."""
    cores: int
    memory: int
    disks: tuple[Disk, ...] = ()
    pci_gpus: tuple[PciGpu, ...] = ()
    gpus: tuple[GpuFact, ...] = ()
    gpu_processes: tuple[GpuProcess, ...] = ()
    links: Mapping[str, str] = {}
    """How each two cards reach each other (`0-1`), in the words of `nvidia-smi topo -m`: NV4, PIX, PXB, PHB, SYS."""
    driver: DriverFact = DriverFact()
    docker: DockerFact = DockerFact()
    toolkit: str | None = None
    cdi: tuple[CdiFile, ...] = ()
    package_manager: Literal["apt", "dnf"] | None = None
    initramfs: Literal["update-initramfs", "dracut"] | None = None
    """What makes the initramfs there; None where nothing does, or nobody asked."""
    packages: Mapping[str, PackageFact] = {}
    units: Mapping[str, UnitFact] = {}
    files: Mapping[str, FileFact] = {}
    sysctl: Mapping[str, str] = {}
    users: Mapping[str, tuple[str, ...]] = {}
    """All accounts, each with its groups."""
    ports: tuple[int, ...] = ()
    reboot_required: bool = False
    boot_id: str = ""
    unread: Mapping[str, str] = {}

    @property
    def guest(self) -> bool:
        """Whether it is a container whose driver and services are the machine's around it: verified, and no more."""
        return self.container is not None and not self.systemd
