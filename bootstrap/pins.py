"""The versions of everything that is brought from outside Python's registry, and how each program is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PULUMI = "3.250.0"
"""The CLI; the same as `pulumi` in requirements.txt. 3.240 and 3.270 are not in the public Go module mirror."""

GO = (1, 26)
"""The oldest Go that builds the programs; as the go.mod files say."""

FOLDER = Path(__file__).parent
"""Where this package lies; `go/` in it holds the go.mod and go.sum of each program."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that builds from a Go module pinned in `go/<module>/go.mod` and `go.sum`.

    Files of `go/<module>/_instead` are built in the place of those of the dependency `instead`.
    """

    name: str
    module: str
    package: str
    ldflags: str
    usually: str
    """How long a cold build takes on two cores, in words."""
    instead: str | None = None


@dataclass(frozen=True, kw_only=True)
class Script:
    """A file that lies ready inside a Go module which `go/<module>/go.mod` requires."""

    name: str
    module: str
    dependency: str
    path: str


PROGRAMS = (
    Program(
        name="pulumi",
        module="pulumi",
        package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
        # Without the version set, `pulumi version` prints nothing and plugins are asked for in odd versions.
        ldflags=f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{PULUMI}",
        usually="3 to 6 min",
    ),
    Program(
        name="pulumi-language-python",
        # From sdk v3.79.0, the last release where it lies in this module; it speaks with CLI and SDK of 3.250.
        module="language-python",
        package="github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python",
        ldflags="-s -w",
        usually="half a minute",
    ),
)

SCRIPTS = (
    Script(
        name="pulumi-language-python-exec",
        module="pulumi",
        dependency="github.com/pulumi/pulumi/sdk/v3",
        path="python/cmd/pulumi-language-python-exec",
    ),
    Script(
        name="pulumi-resource-pulumi-python",  # only dynamic providers use it; the official archive has it too
        module="pulumi",
        dependency="github.com/pulumi/pulumi/sdk/v3",
        path="python/dist/pulumi-resource-pulumi-python",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A resource plugin of Pulumi's in one version, and how its program is built where it cannot be fetched."""

    name: str
    version: str
    program: Program

    @property
    def folder(self) -> str:
        """Its folder below `$PULUMI_HOME/plugins`."""
        return f"resource-{self.name}-v{self.version}"


DOCKER = "5.2.0"
"""The release of pulumi-docker; its SDK of the same number is on PyPI."""

KUBERNETES = "4.25.0"
"""The release of pulumi-kubernetes; the same as its SDK in requirements.txt."""

PLUGINS: Mapping[str, Plugin] = {
    "docker": Plugin(
        name="docker",
        version=DOCKER,
        program=Program(
            name="pulumi-resource-docker",
            module="docker",
            package="github.com/terraform-providers/terraform-provider-docker/bridge",
            ldflags=f"-s -w -X main.version=v{DOCKER}",
            usually="4 to 6 min",
        ),
    ),
    "kubernetes": Plugin(
        name="kubernetes",
        version=KUBERNETES,
        program=Program(
            name="pulumi-resource-kubernetes",
            module="kubernetes",
            package="github.com/pulumi/pulumi-kubernetes/provider/v4/plugin",
            ldflags=f"-s -w -X main.version=v{KUBERNETES}",
            usually="3 to 6 min",
            instead="github.com/pulumi/pulumi-kubernetes/provider/v4",
        ),
    ),
}
"""Resource plugins by name: fetched or built only for who asks, and kubernetes for stacks with clusters."""

NAMES = tuple(item.name for item in (*PROGRAMS, *SCRIPTS))
"""All files that make a complete Pulumi for a Python program."""
