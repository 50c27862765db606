"""What leads a host to the packages that are asked of it."""

from __future__ import annotations

from typing import Any

from berth.provider.operations.packages import Packages, PackagesWant
from tests.provider.operations.tables.case import Case, Table, leashed, surviving

DRIVER = PackagesWant(host="box", manager="apt", name="driver", packages={"foo": "580.*", "tool": "any"})
DOCKER = PackagesWant(
    host="box", manager="apt", name="docker", packages={"docker-ce": "5:29.3.0-1", "docker.io": "absent"}, hold=True
)
ON_DNF = PackagesWant(
    host="box", manager="dnf", name="docker", packages={"docker-ce": "29.3.*", "runc": "absent"}, hold=True
)


def but(want: PackagesWant, **update: Any) -> PackagesWant:
    return want.model_copy(update=update)


TABLE = Table(
    operation=Packages(),
    cases=(
        Case(name="all are there", want=DRIVER, have=DRIVER, why="the installed versions are what is asked"),
        Case(
            name="none is there",
            want=DRIVER,
            have=None,
            commands=(
                leashed("apt._DOWNLOAD", "600", "", "", "", "foo=580.*", "tool"),
                surviving("apt._INSTALL", "600", "", "", "", "foo=580.*", "tool"),
            ),
        ),
        Case(
            name="another branch is there, and what fits stays out of it",
            want=DRIVER,
            have=but(DRIVER, packages={"foo": "590.1", "tool": "any"}),
            commands=(
                leashed("apt._DOWNLOAD", "600", "", "", "", "foo=580.*"),
                surviving("apt._INSTALL", "600", "", "", "", "foo=580.*"),
            ),
        ),
        Case(
            name="an installation was interrupted, and nothing else differs once it is finished",
            want=DRIVER,
            have=but(DRIVER, packages={"foo": "580.2 (half-configured)", "tool": "any"}, broken=["foo"]),
            commands=(surviving("apt._REPAIR", "600"),),
        ),
        Case(
            name="an installation was interrupted, and another version is asked for",
            want=DRIVER,
            have=but(DRIVER, packages={"foo": "590.1 (unpacked)", "tool": "any"}, broken=["foo"]),
            commands=(
                surviving("apt._REPAIR", "600"),
                leashed("apt._DOWNLOAD", "600", "", "", "", "foo=580.*"),
                surviving("apt._INSTALL", "600", "", "", "", "foo=580.*"),
            ),
        ),
        Case(
            name="what conflicts goes in the same run, one exact version may be older, and it is held",
            want=DOCKER,
            have=but(DOCKER, packages={"docker.io": "26.1.5"}, hold=True),
            commands=(
                leashed("apt._DOWNLOAD", "600", "docker.io", "docker-ce", "", "docker-ce=5:29.3.0-1", "docker.io-"),
                surviving("apt._INSTALL", "600", "docker-ce", "", "docker-ce", "docker-ce=5:29.3.0-1", "docker.io-"),
            ),
        ),
        Case(
            name="our own hold is taken off for another version",
            want=DOCKER,
            have=but(DOCKER, packages={"docker-ce": "5:29.2.0-1", "docker.io": "absent"}),
            commands=(
                leashed("apt._DOWNLOAD", "600", "", "docker-ce", "docker-ce", "docker-ce=5:29.3.0-1"),
                surviving("apt._INSTALL", "600", "docker-ce", "docker-ce", "docker-ce", "docker-ce=5:29.3.0-1"),
            ),
        ),
        Case(
            name="only the hold is missing",
            want=DOCKER,
            have=but(DOCKER, hold=False),
            commands=(surviving("apt._INSTALL", "600", "", "", "docker-ce"),),
        ),
        Case(
            name="holds are not wanted",
            want=but(DOCKER, hold=False),
            have=DOCKER,
            commands=(surviving("apt._INSTALL", "600", "", "docker-ce", ""),),
        ),
        Case(
            name="no hold is wanted and none is there",
            want=but(DOCKER, hold=False),
            have=but(DOCKER, hold=False),
            why="as asked",
        ),
        Case(name="nothing to take away", want=None, have=None, why="none of it is there"),
        Case(
            name="nothing to take away but what is absent",
            want=None,
            have=but(DOCKER, packages={"docker.io": "absent"}),
            why="none of it is there",
        ),
        Case(
            name="taken away",
            want=None,
            have=DOCKER,
            commands=(
                leashed("apt._DOWNLOAD", "600", "docker-ce", "", "docker-ce", "docker-ce-"),
                surviving("apt._INSTALL", "600", "", "docker-ce", "", "docker-ce-"),
            ),
        ),
        Case(name="dnf: all are there", want=ON_DNF, have=ON_DNF, why="the installed versions are what is asked"),
        Case(
            name="dnf: none is there",
            want=ON_DNF,
            have=but(ON_DNF, packages={"runc": "1.1"}),
            commands=(
                leashed("dnf._DOWNLOAD", "runc", "", "", "docker-ce-29.3.*"),
                surviving("dnf._INSTALL", "runc", "", "docker-ce", "docker-ce-29.3.*"),
            ),
        ),
        Case(
            name="dnf: only the lock is missing",
            want=ON_DNF,
            have=but(ON_DNF, hold=False),
            commands=(surviving("dnf._INSTALL", "", "", "docker-ce"),),
        ),
        Case(
            name="dnf: taken away",
            want=None,
            have=but(ON_DNF, hold=None),
            commands=(leashed("dnf._DOWNLOAD", "docker-ce", "", ""), surviving("dnf._INSTALL", "docker-ce", "", "")),
        ),
    ),
)
