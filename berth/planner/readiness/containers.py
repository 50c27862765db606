"""Docker, the NVIDIA container toolkit, and the way in which containers get GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from berth.catalogue import docker as known
from berth.planner.readiness.check import Check, Subject, fail, ok, unknown, warn

_GPU = "nvidia.com/gpu"


def docker_checks(subject: Subject) -> Iterator[Check]:
    """Docker, where containers run or are declared."""
    if not subject.needs_docker:
        return
    docker, unread = subject.facts.docker, subject.facts.unread.get("docker")
    by_hand = f"install Docker {known.OLDEST_DOCKER} or newer"
    if docker.snap:
        todo = f"`snap remove docker`, then {subject.install('docker', by_hand)}"
        yield fail("docker", "Docker is a snap, which ignores /etc/docker/daemon.json", "packages", todo, "docker")
    elif docker.client is None and docker.version is None:
        yield fail("docker", "Docker is not installed", "installed", subject.install("docker", by_hand), "docker")
    elif docker.version is None and unread is not None:
        yield unknown("docker", unread, "", "docker")
    elif docker.version is None:
        todo = subject.install("docker", "look at `systemctl status docker` and start it")
        yield fail(
            "docker", f"Docker {docker.client} is installed and its daemon does not answer", "up", todo, "docker"
        )
    elif subject.needs_toolkit and not known.at_least(docker.version, known.OLDEST_DOCKER):
        must = f"{known.OLDEST_DOCKER} or newer, the first with CDI"
        yield fail("docker", f"Docker is {docker.version}", must, subject.install("docker", by_hand), "docker")
    elif not docker.usable and not subject.facts.root:
        have = f"Docker {docker.version} does not let {subject.facts.user} in"
        todo = subject.install("docker", f"`usermod -aG docker {subject.facts.user}`")
        yield fail("docker", have, "open to the login", todo, "docker")
    else:
        yield ok("docker", f"{docker.version} answers", "docker")


def toolkit_checks(subject: Subject) -> Iterator[Check]:
    """The container toolkit, the runtime and the CDI specification, where containers get GPUs."""
    if not subject.needs_toolkit:
        return
    facts = subject.facts
    by_hand = f"install nvidia-container-toolkit {known.OLDEST_TOOLKIT} or newer"
    about = "container toolkit"
    if facts.toolkit is None:
        todo = subject.install("container_toolkit", by_hand)
        yield fail(about, "the NVIDIA container toolkit is not installed", "installed", todo, "container_toolkit")
        return
    if not known.at_least(facts.toolkit, known.OLDEST_TOOLKIT):
        must = f"{known.OLDEST_TOOLKIT} or newer, which keeps its CDI file fresh"
        todo = subject.install("container_toolkit", by_hand)
        yield fail(about, f"the container toolkit is {facts.toolkit}", must, todo, "container_toolkit")
        return
    if facts.docker.version is not None and facts.docker.detected is False:
        have = f"the container toolkit {facts.toolkit} came after Docker's daemon started, which does not know it"
        yield fail(
            about,
            have,
            "known",
            subject.install("container_toolkit", "`systemctl restart docker`"),
            "container_toolkit",
        )
    elif facts.docker.version is not None and "nvidia" not in facts.docker.runtimes:
        have = "Docker's runtimes do not have nvidia"
        todo = subject.install("container_toolkit", "`nvidia-ctk runtime configure --runtime=docker`, restart Docker")
        yield warn(about, have, "in daemon.json for `--runtime=nvidia`", todo, "container_toolkit")
    else:
        yield ok(about, f"{facts.toolkit} is installed", "container_toolkit")
    yield _cdi(subject)


def _cdi(subject: Subject) -> Check:
    facts, about = subject.facts, "cdi"
    generate = "`nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml`"
    todo = subject.install("container_toolkit", generate)
    files = [file for file in facts.cdi if file.kind == _GPU]
    if not files:
        return fail(about, f"no CDI file has {_GPU}", "there", todo, "container_toolkit")
    if len(files) > 1:
        paths = ", ".join(file.path for file in files)
        return fail(
            about, f"{len(files)} CDI files have {_GPU} ({paths})", "one", "remove all but one", "container_toolkit"
        )
    found, loaded = files[0], facts.driver.loaded
    if found.driver is not None and loaded is not None and found.driver != loaded:
        have = f"{found.path} is of driver {found.driver} and {loaded} is loaded"
        return fail(about, have, "of the loaded one", todo, "container_toolkit")
    lacking = [
        str(gpu.index) for gpu in facts.gpus if found.devices and not {str(gpu.index), gpu.uuid} & _names(found.devices)
    ]
    if lacking:
        return fail(about, f"{found.path} lacks GPU {', '.join(lacking)}", "complete", todo, "container_toolkit")
    return ok(about, f"{found.path} has {', '.join(found.devices) or 'its devices'}", "container_toolkit")


def _names(devices: tuple[str, ...]) -> set[str]:
    return {device.removeprefix(f"{_GPU}=") for device in devices}
