"""What people and other tools do to a machine that was made ready, and what a preview must say of it.

Each is one drift, of one resource, and is repaired by an update without touching anything else. The table is also what
benchmarks/prerequisites compares Ansible with.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Breakage:
    """One thing broken by hand.

    `hand` is what is done as root, `resource` the name of the resource that must differ (after the host's) and `words`
    what the preview names in it; `whole` is a command that succeeds once it is repaired, and not before. What is
    `like_another` is seen and repaired by the same commands and waits for the soak.
    """

    name: str
    hand: str
    resource: str
    words: tuple[str, ...]
    whole: str
    like_another: bool = False


BREAKAGES = (
    Breakage(
        name="a hold is taken off",
        hand="apt-mark unhold nvidia-driver-cuda",
        resource="driver",
        words=("hold",),
        whole="apt-mark showhold | grep -qx nvidia-driver-cuda",
    ),
    Breakage(
        name="Docker's settings are edited, and one of somebody else's is added",
        hand="""sed -i '1 s/{/{"max-concurrent-downloads": 5,/; s/"cdi": true/"cdi": false/' /etc/docker/daemon.json""",
        resource="docker-configuration",
        words=("~ cdi: true => false",),
        whole="cd /etc/docker; grep -q '\"cdi\": true' daemon.json && grep -q max-concurrent-downloads daemon.json",
    ),
    Breakage(
        name="the CDI specification is deleted",
        hand="rm /run/cdi/nvidia.yaml",
        resource="cdi",
        words=("problems",),
        whole="test -s /run/cdi/nvidia.yaml",
        like_another=True,
    ),
    Breakage(
        name="the CDI specification is of another driver",
        hand="sed -i 's/580[.]105[.]08/580.95.05/g' /run/cdi/nvidia.yaml",
        resource="cdi",
        words=("problems",),
        whole="grep -q libcuda.so.580.105.08 /run/cdi/nvidia.yaml",
    ),
    Breakage(
        name="Docker is stopped and disabled",
        hand="systemctl disable --now docker.service docker.socket",
        resource="docker",
        words=("active", "enabled"),
        whole="systemctl is-active docker && systemctl is-enabled docker",
    ),
    Breakage(
        name="one of the toolkit's packages has another version",
        hand="""dpkg --force-depends --force-hold --install \\
  /srv/repository/libnvidia-container/stable/deb/amd64/libnvidia-container1_1.19.1-1_amd64.deb""",
        resource="packages-container-toolkit",
        words=('libnvidia-container1         : "1.20.1-*" => "1.19.1-1"',),
        whole="dpkg-query -Wf '${Version}' libnvidia-container1 | grep -qx 1.20.1-1",
    ),
    Breakage(
        name="a package source is edited",
        hand="sed -i 's/^Suites:.*/Suites: bookworm/' /etc/apt/sources.list.d/docker.sources",
        resource="repository-docker",
        words=('"bookworm" => "trixie"',),
        whole="grep -qx 'Suites: trixie' /etc/apt/sources.list.d/docker.sources",
    ),
    Breakage(
        name="a repository's key is replaced",
        hand="cat /srv/repository/debian/key.asc > /etc/apt/keyrings/nvidia-container-toolkit.asc",
        resource="repository-nvidia-container-toolkit",
        words=("key",),
        whole="! cmp -s /srv/repository/debian/key.asc /etc/apt/keyrings/nvidia-container-toolkit.asc",
    ),
    Breakage(
        name="nouveau is allowed again",
        hand="rm /etc/modprobe.d/berth-nvidia.conf",
        resource="driver",
        words=("nouveau",),
        whole="grep -q nouveau /etc/modprobe.d/berth-nvidia.conf",
    ),
    Breakage(
        name="persistence mode is off",
        hand="systemctl stop nvidia-persistenced",
        resource="persistence-mode",
        words=("mode", "daemon"),
        whole="nvidia-smi --query-gpu=persistence_mode --format=csv,noheader | grep -qx Enabled",
    ),
    Breakage(
        name="a unit's drop-in is edited",
        hand="echo '[Unit]' > /etc/systemd/system/nvidia-cdi-refresh.service.d/20-berth.conf",
        resource="cdi",
        words=("drop_in",),
        whole="grep -q docker.service /etc/systemd/system/nvidia-cdi-refresh.service.d/20-berth.conf",
        like_another=True,
    ),
    Breakage(
        name="the login loses its group",
        hand="gpasswd --delete free docker",
        resource="user-free",
        words=("groups",),
        whole="id -nG free | grep -qw docker",
    ),
    Breakage(
        name="the runtime is set to its old mode",
        hand="nvidia-ctk config --in-place --set nvidia-container-runtime.mode=legacy",
        resource="container-toolkit",
        words=("legacy",),
        whole="grep -q 'mode = \"auto\"' /etc/nvidia-container-runtime/config.toml",
    ),
)
