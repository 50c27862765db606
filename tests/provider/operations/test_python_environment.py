"""Python environments: what is run for which difference, and real ones made by uv from packages of this test."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from berth.provider.errors import CommandFailed
from berth.provider.host import Host
from berth.provider.operations.python_environment import PythonEnvironment, PythonEnvironmentWant

ENVIRONMENT = PythonEnvironment()
WANT = PythonEnvironmentWant(
    host="box",
    path="/srv/env",
    requirements=["a==1", "b==2"],
    overrides=["c==3"],
    overlay={"z.txt": "z", "a/b.txt": "b"},
    uv="/srv/uv",
    downloads="/srv/downloads",
)


def test_the_whole_commands_of_an_installation() -> None:
    uv, install, *overlay, stamp = ENVIRONMENT.steps(WANT, None)
    assert uv.argv[5:] == ("/srv/uv", str(len(uv.stdin or b"")))
    assert install.argv[:2] == ("sh", "-c")
    made_from = ("/srv/env", "3.11", "/srv/uv", "a==1\nb==2", "c==3")
    assert install.argv[-8:] == (*made_from, "", "--clear", "/srv/downloads")
    assert install.hold
    assert install.says == "installing a==1, b==2"
    assert [(step.argv[5:], step.stdin) for step in overlay] == [
        (("/srv/env", "a/b.txt"), b"b"),
        (("/srv/env", "z.txt"), b"z"),
    ]
    assert stamp.argv[-1] == "/srv/env/.berth.json"
    assert json.loads(stamp.stdin or b"") == {
        **{"python": "3.11", "requirements": ["a==1", "b==2"], "overrides": ["c==3"]},
        "overlay": {"z.txt": "z", "a/b.txt": "b"},
    }


def test_a_repair_keeps_what_is_whole_and_names_what_is_not() -> None:
    _, install, *_ = ENVIRONMENT.steps(WANT, WANT.model_copy(update={"broken": ["a", "overlay:z.txt"]}))
    made_from = ("/srv/env", "3.11", "/srv/uv", "a==1\nb==2", "c==3")
    assert install.argv[-8:] == (*made_from, "--reinstall-package=a", "--allow-existing", "/srv/downloads")
    assert install.says == "repairing a, overlay:z.txt"


def test_removing_takes_the_environment_and_what_was_made_on_the_way() -> None:
    (remove,) = ENVIRONMENT.steps(None, WANT)
    assert remove.argv[-1] == "/srv/env"
    assert remove.argv[3].startswith('rm -rf -- "$1" "$1.build"')
    assert ENVIRONMENT.steps(None, None) == []


def test_what_is_as_declared_differs_in_nothing() -> None:
    assert ENVIRONMENT.differing(WANT, WANT) == []


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Two small packages."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for name in ("tiny", "small"):
        wheel(folder, name)
    return folder


def wheel(folder: Path, name: str) -> None:
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": f"NAME = {name!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}"
        for path, text in files.items()
    ]
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,", ""]))


@pytest.fixture
def want(packages: Path, tmp_path: Path) -> PythonEnvironmentWant:
    return PythonEnvironmentWant(
        host="box",
        path=str(tmp_path / "a b/env"),
        requirements=[f"{name} @ file://{packages}/{name}-1.0-py3-none-any.whl" for name in ("tiny", "small")],
        overlay={"added-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: added\nVersion: 1.0\n"},
        uv=str(tmp_path / "uv"),
    )


def site(want: PythonEnvironmentWant) -> Path:
    return Path(want.path, "lib/python3.11/site-packages")


def runs(want: PythonEnvironmentWant) -> bool:
    code = "import tiny, small, importlib.metadata as m; print(tiny.NAME, small.NAME, m.version('added'))"
    done = subprocess.run([f"{want.path}/bin/python", "-I", "-c", code], capture_output=True, text=True, check=False)
    return done.stdout == "tiny small 1.0\n"


async def test_it_is_installed_verified_and_left_alone(
    host: Host, want: PythonEnvironmentWant, said: list[str]
) -> None:
    assert await ENVIRONMENT.observe(host, want) is None
    await ENVIRONMENT.converge(host, want, want)
    assert runs(want)
    said.clear()
    assert await ENVIRONMENT.converge(host, want, want) == want
    assert said == []
    await ENVIRONMENT.converge(host, None, want)
    assert not Path(want.path).exists()
    assert not Path(f"{want.path}.build").exists()


@pytest.mark.parametrize("how", ["removed", "cut short"])
async def test_a_file_that_is_not_as_installed_names_its_package_which_alone_is_repaired(
    host: Host, want: PythonEnvironmentWant, how: str
) -> None:
    await ENVIRONMENT.converge(host, want, want)
    file = site(want) / "tiny/__init__.py"
    if how == "removed":
        file.unlink()
    else:
        file.unlink()  # it may be one file with uv's cache
        file.write_text("")
    untouched = (site(want) / "small-1.0.dist-info/METADATA").stat().st_mtime_ns
    seen = await ENVIRONMENT.observe(host, want)
    assert seen is not None
    assert seen.broken == ["tiny"]
    assert ENVIRONMENT.differing(want, seen) == ["broken[0]"]
    await ENVIRONMENT.converge(host, want, want)
    assert runs(want)
    assert (site(want) / "small-1.0.dist-info/METADATA").stat().st_mtime_ns == untouched


async def test_an_added_file_that_is_gone_is_named_and_added_again(host: Host, want: PythonEnvironmentWant) -> None:
    await ENVIRONMENT.converge(host, want, want)
    (site(want) / "added-1.0.dist-info/METADATA").unlink()
    seen = await ENVIRONMENT.observe(host, want)
    assert seen is not None
    assert seen.broken == ["overlay:added-1.0.dist-info/METADATA"]
    await ENVIRONMENT.converge(host, want, want)
    assert runs(want)


async def test_a_removed_interpreter_is_named_and_brought_back(host: Host, want: PythonEnvironmentWant) -> None:
    await ENVIRONMENT.converge(host, want, want)
    for name in ("python", "python3", "python3.11"):
        Path(want.path, "bin", name).unlink(missing_ok=True)
    seen = await ENVIRONMENT.observe(host, want)
    assert seen is not None
    assert seen.broken == ["overlay:python"]
    await ENVIRONMENT.converge(host, want, want)
    assert runs(want)


async def test_other_requirements_are_seen_as_such(host: Host, want: PythonEnvironmentWant) -> None:
    await ENVIRONMENT.converge(host, want, want)
    fewer = want.model_copy(update={"requirements": want.requirements[:1]})
    assert ENVIRONMENT.differing(fewer, await ENVIRONMENT.observe(host, fewer)) == ["requirements[1]"]


async def test_an_installation_that_was_interrupted_is_begun_anew(host: Host, want: PythonEnvironmentWant) -> None:
    """What uv had written of a package when it was killed looks installed to it."""
    await ENVIRONMENT.converge(host, want, want)
    Path(want.path, ".berth.json").unlink()
    (site(want) / "tiny/__init__.py").unlink()
    assert await ENVIRONMENT.observe(host, want) is None
    await ENVIRONMENT.converge(host, want, want)
    assert runs(want)


async def test_half_a_stamp_is_none(host: Host, want: PythonEnvironmentWant) -> None:
    await ENVIRONMENT.converge(host, want, want)
    Path(want.path, ".berth.json").write_text('{"python": "3.')
    assert await ENVIRONMENT.observe(host, want) is None
    await ENVIRONMENT.converge(host, want, want)
    assert runs(want)


async def test_a_requirement_that_cannot_be_had_is_told_in_uv_s_words(host: Host, want: PythonEnvironmentWant) -> None:
    wrong = want.model_copy(update={"requirements": ["gone @ file:///no/such/gone-1.0-py3-none-any.whl"]})
    with pytest.raises(CommandFailed, match=r"gone-1\.0-py3-none-any\.whl"):
        await ENVIRONMENT.converge(host, wrong, wrong)
    assert await ENVIRONMENT.observe(host, wrong) is None
    await ENVIRONMENT.converge(host, want, want)
    assert runs(want)
