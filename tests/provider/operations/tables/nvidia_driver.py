"""What puts a driver on disk, on each family of systems, from nothing and from what is in its way."""

from __future__ import annotations

from typing import Any

from berth.provider.nvidia_module import BLACKLIST, SEALED
from berth.provider.operations.nvidia_driver import NvidiaDriver, NvidiaDriverWant
from tests.provider.operations.tables.case import Case, Script, Table, leashed, script, surviving

KERNEL = "6.8.0-45-generic"
HEADERS = [f"linux-headers-{KERNEL}", "dkms"]
PACKAGES = ["libnvidia-compute-580", "nvidia-dkms-580-open", "nvidia-utils-580", "nvidia-compute-utils-580"]
UBUNTU = NvidiaDriverWant(
    host="box",
    manager="apt",
    branch=580,
    flavour="open",
    packages=PACKAGES,
    pinning="nvidia-driver-pinning-580",
    headers=HEADERS,
    kernel=KERNEL,
    initramfs="update-initramfs",
)
DEBIAN = UBUNTU.model_copy(
    update={
        "version": "580.95.05",
        "packages": ["nvidia-driver-cuda", "nvidia-kernel-open-dkms"],
        "pinning": "nvidia-driver-pinning-580.95.05",
        "lock_wait_s": 60,
    }
)
ROCKY = UBUNTU.model_copy(
    update={
        "manager": "dnf",
        "packages": ["nvidia-driver-cuda", "kmod-nvidia-open-dkms"],
        "pinning": "",
        "stream": "nvidia-driver:580-open",
        "headers": ["kernel-devel-5.14.0-427.el9.x86_64"],
        "kernel": "5.14.0-427.el9.x86_64",
        "initramfs": "dracut",
    }
)
PREBUILT = UBUNTU.model_copy(update={"origin": "ubuntu", "dkms": False, "headers": [], "pinning": "", "hold": False})

BUILD = leashed("nvidia_module._BUILD", KERNEL, "580", "yes")


def there(want: NvidiaDriverWant, **but: Any) -> NvidiaDriverWant:
    return want.model_copy(update=but)


def apt(*asked: str, older: str = "", free: str = "", hold: str = "", go: str = "", wait: str = "600") -> list[Script]:
    return [
        leashed("apt._DOWNLOAD", wait, go, older, free, *asked),
        surviving("apt._INSTALL", wait, older, free, hold, *asked),
    ]


def blacklist(how: str = "update-initramfs") -> list[Script]:
    return [
        script("_PUT", BLACKLIST, "0644", "", "142"),
        leashed("nvidia_module._INITRAMFS", how),
        script("_PUT", BLACKLIST, "0644", "", str(len(SEALED))),
    ]


ALL = " ".join(PACKAGES)
BRANCH = [f"{name}=580.*" for name in PACKAGES]

TABLE = Table(
    operation=NvidiaDriver(),
    cases=(
        Case(name="as declared", want=UBUNTU, have=UBUNTU, why="the driver is on disk, and nothing is in its way"),
        Case(
            name="Ubuntu, nothing there",
            want=UBUNTU,
            have=None,
            commands=(
                *apt(*HEADERS, "nvidia-driver-pinning-580"),
                *apt(*BRANCH, older=ALL, free=ALL, hold=ALL),
                BUILD,
                *blacklist(),
            ),
        ),
        Case(
            name="Debian, one version, nothing there",
            want=DEBIAN,
            have=None,
            commands=(
                *apt(*HEADERS, "nvidia-driver-pinning-580.95.05", wait="60"),
                *apt(
                    "nvidia-driver-cuda=580.95.05-*",
                    "nvidia-kernel-open-dkms=580.95.05-*",
                    older="nvidia-driver-cuda nvidia-kernel-open-dkms",
                    free="nvidia-driver-cuda nvidia-kernel-open-dkms",
                    hold="nvidia-driver-cuda nvidia-kernel-open-dkms",
                    wait="60",
                ),
                leashed("nvidia_module._BUILD", KERNEL, "580.95.05", "yes"),
                *blacklist(),
            ),
        ),
        Case(
            name="Rocky, nothing there",
            want=ROCKY,
            have=None,
            commands=(
                leashed("dnf._DOWNLOAD", "", "", "", "kernel-devel-5.14.0-427.el9.x86_64"),
                surviving("dnf._INSTALL", "", "", "", "kernel-devel-5.14.0-427.el9.x86_64"),
                script("_STREAM", "nvidia-driver:580-open"),
                leashed(
                    "dnf._DOWNLOAD",
                    "",
                    "nvidia-driver-cuda kmod-nvidia-open-dkms",
                    "nvidia-driver-cuda kmod-nvidia-open-dkms",
                    "nvidia-driver-cuda-580.*",
                    "kmod-nvidia-open-dkms-580.*",
                ),
                surviving(
                    "dnf._INSTALL",
                    "",
                    "nvidia-driver-cuda kmod-nvidia-open-dkms",
                    "nvidia-driver-cuda kmod-nvidia-open-dkms",
                    "nvidia-driver-cuda-580.*",
                    "kmod-nvidia-open-dkms-580.*",
                ),
                leashed("nvidia_module._BUILD", "5.14.0-427.el9.x86_64", "580", "yes"),
                *blacklist("dracut"),
            ),
        ),
        Case(
            name="another branch is there: its packages and pin go, in one run with those that come",
            want=UBUNTU,
            have=there(
                UBUNTU,
                branch=575,
                packages=[],
                pinning="",
                others=[
                    "libnvidia-compute-575",
                    "nvidia-dkms-575-open",
                    "nvidia-driver-pinning-575",
                    "nvidia-firmware",
                ],
                module="other version",
            ),
            commands=(
                *apt("nvidia-driver-pinning-580", "nvidia-driver-pinning-575-", go="nvidia-driver-pinning-575"),
                *apt(
                    *BRANCH,
                    "libnvidia-compute-575-",
                    "nvidia-dkms-575-open-",
                    "nvidia-firmware=580.*",
                    go="libnvidia-compute-575 nvidia-dkms-575-open",
                    older=f"{ALL} nvidia-firmware",
                    free=f"{ALL} libnvidia-compute-575 nvidia-dkms-575-open nvidia-firmware",
                    hold=f"{ALL} nvidia-firmware",
                ),
                BUILD,
            ),
        ),
        Case(
            name="the other flavour is there",
            want=UBUNTU,
            have=there(
                UBUNTU, flavour="proprietary", packages=[PACKAGES[0], *PACKAGES[2:]], others=["nvidia-dkms-580"]
            ),
            commands=(
                *apt(
                    *BRANCH,
                    "nvidia-dkms-580-",
                    go="nvidia-dkms-580",
                    older=ALL,
                    free=f"{ALL} nvidia-dkms-580",
                    hold=ALL,
                ),
                BUILD,
            ),
        ),
        Case(
            name="the headers of the running kernel are missing, and so the module",
            want=UBUNTU,
            have=there(UBUNTU, headers=["dkms"], module="not built"),
            commands=(*apt(HEADERS[0]), BUILD),
        ),
        Case(name="only the module is missing", want=UBUNTU, have=there(UBUNTU, module="missing"), commands=(BUILD,)),
        Case(
            name="an installation was interrupted",
            want=UBUNTU,
            have=there(UBUNTU, broken=["nvidia-dkms-580-open"], module="missing"),
            commands=(surviving("apt._REPAIR", "600"), BUILD),
        ),
        Case(
            name="the holds were taken off",
            want=UBUNTU,
            have=there(UBUNTU, hold=False),
            commands=(surviving("apt._INSTALL", "600", "", "", ALL),),
        ),
        Case(
            name="the holds are not wanted",
            want=there(UBUNTU, hold=False),
            have=UBUNTU,
            commands=(surviving("apt._INSTALL", "600", "", ALL, ""),),
        ),
        Case(name="nouveau is not off", want=UBUNTU, have=there(UBUNTU, nouveau="on"), commands=blacklist()),
        Case(
            name="Ubuntu's signed modules",
            want=PREBUILT,
            have=there(PREBUILT, module="missing"),
            commands=(leashed("nvidia_module._BUILD", KERNEL, "580", "no"),),
        ),
        Case(
            name="taken out of the stack, not to be kept",
            want=None,
            have=there(UBUNTU, on_destroy="remove"),
            commands=(
                *apt(
                    *(f"{name}-" for name in [*PACKAGES, "nvidia-driver-pinning-580"]),
                    go=f"{ALL} nvidia-driver-pinning-580",
                    free=f"{ALL} nvidia-driver-pinning-580",
                ),
                ("sh", "-eu", "-c", 'rm -f -- "$1"', "berth", BLACKLIST),
                leashed("nvidia_module._INITRAMFS", "update-initramfs"),
            ),
        ),
        Case(name="taken out of the stack, gone already", want=None, have=None, why="there is nothing to remove"),
    ),
)
