"""A Python environment on a host, made by uv from pinned requirements and verified file by file."""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Sequence
from pathlib import Path

import uv

from berth.provider.command import Command, leashed, shell
from berth.provider.host import Host
from berth.provider.operation import Operation, Want

_STAMP = ".berth.json"
"""Inside the environment: what it was made from. Written last, so that half an environment has none."""

_VERIFY = importlib.resources.files("berth.provider").joinpath("verify_environment.py").read_text()

_LOOK = """
if [ ! -f "$1/$2" ]; then exit 4; fi
cat -- "$1/$2"
echo
if [ -x "$1/bin/python" ]; then
  environment=$1 verify=$3
  shift 3
  "$environment/bin/python" -I -S -c "$verify" "$environment" "$@"
else
  echo 'overlay:python'
fi
"""

_UV = """
if [ ! -x "$1" ]; then
  folder=$(dirname -- "$1")
  mkdir -p -- "$folder"
  new=$(mktemp "$folder/.uv.XXXXXX")
  cat > "$new"
  if [ "$(wc -c < "$new")" -ne "$2" ]; then rm -f -- "$new"; echo "only a part of uv came" >&2; exit 1; fi
  chmod 755 "$new"
  mv -f -- "$new" "$1"
fi
"""

# What uv itself downloads goes to the environment's disk: packages are linked there instead of copied, and a pod, of
# whose disks a reset leaves one, keeps the interpreter. Without a way to uv's builds the host's own interpreter serves.
_INSTALL = """
path=$1 python=$2 uv=$3 requirements=$4 overrides=$5 downloads=$8
mkdir -p -- "$path.build"
if [ -n "$downloads" ] && mkdir -p -- "$downloads" &&
  [ "$(stat -c %d -- "$downloads")" != "$(stat -c %d -- "${HOME:-/}")" ]; then
  export UV_CACHE_DIR="$downloads/cache" UV_PYTHON_INSTALL_DIR="$downloads/python"
  said=$("$uv" python install --no-bin "$python" 2>&1) || {
    printf '%s\\n' "$said" | head -n 1
    echo "the host's own Python $python is used, which has to be there again after a reset"
  }
fi
printf '%s\\n' "$requirements" > "$path.build/requirements.txt"
printf '%s\\n' "$overrides" > "$path.build/overrides.txt"
"$uv" venv --quiet "$7" --python "$python" "$path"
"$uv" pip install --no-progress --python "$path/bin/python" --overrides "$path.build/overrides.txt" \\
  --requirement "$path.build/requirements.txt" $6
rm -rf -- "$path.build"
"""

_OVERLAY = """
site=$("$1/bin/python" -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir -p -- "$(dirname -- "$site/$2")"
cat > "$site/$2"
"""

_INSTALL_S = 3600


class PythonEnvironmentWant(Want):
    """A Python environment at `path`.

    `requirements` and `overrides` are pinned lines as uv reads them, `overlay` files (a path below site-packages, their
    text) that are added afterwards; `uv` is where the host's uv lies or is put, `downloads` a folder for what it brings
    where the home of who logs in is on another disk. `broken` names what is not as it was installed: distributions with
    files missing or of another size, `overlay:` and the name of an added file.
    """

    path: str
    python: str = "3.11"
    requirements: list[str]
    overrides: list[str] = []
    overlay: dict[str, str] = {}
    uv: str
    downloads: str = ""
    broken: list[str] = []

    def stamp(self) -> str:
        """What the environment is made from, as one line."""
        return json.dumps(self.model_dump(include={"python", "requirements", "overrides", "overlay"}), sort_keys=True)


class PythonEnvironment(Operation[PythonEnvironmentWant]):
    """Declares an environment. Other requirements are another path, so that old and new can stand side by side."""

    kind = "berth:host:PythonEnvironment"
    wants = PythonEnvironmentWant
    replace = frozenset({"host", "path", "python"})
    guides = frozenset({"downloads"})

    def identity(self, want: PythonEnvironmentWant) -> str:
        """The environment's folder on its host."""
        return f"{want.host}:{want.path}"

    async def observe(self, host: Host, want: PythonEnvironmentWant) -> PythonEnvironmentWant | None:
        """Reads the stamp, and holds every installed file against what its distribution recorded."""
        arguments = (want.path, _STAMP, _VERIFY, *sorted(want.overlay))
        look = shell(_LOOK, *arguments, says=f"verifying {want.path}", ok=frozenset({0, 4}))
        result = await host.run(look)
        if result.status == 4:
            return None
        stamp, _, broken = result.stdout.partition("\n")
        try:
            made_from = json.loads(stamp)
        except ValueError:
            return None
        return want.model_copy(update={**made_from, "broken": broken.split()})

    def steps(self, want: PythonEnvironmentWant | None, have: PythonEnvironmentWant | None) -> Sequence[Command]:
        """Installs what is missing; with files broken, reinstalls just those distributions."""
        if want is None:
            script = 'rm -rf -- "$1" "$1.build"; rmdir -- "$(dirname -- "$1")" 2> /dev/null || :'
            return [] if have is None else [shell(script, have.path, says=f"removing {have.path}")]
        broken = have.broken if have is not None else []
        reinstall = " ".join(f"--reinstall-package={name}" for name in broken if ":" not in name)
        install = shell(
            _INSTALL,
            want.path,
            want.python,
            want.uv,
            "\n".join(want.requirements),
            "\n".join(want.overrides),
            reinstall,
            # What uv had written of a package when it was killed would look installed to it.
            "--clear" if have is None else "--allow-existing",
            want.downloads,
            says=f"repairing {', '.join(broken)}" if broken else f"installing {', '.join(want.requirements)}",
            timeout_s=_INSTALL_S,
        )
        return [
            shell(_UV, want.uv, str(len(_uv_program())), stdin=_uv_program(), says="bringing uv", timeout_s=_INSTALL_S),
            leashed(install),
            *(
                shell(_OVERLAY, want.path, name, stdin=text.encode(), says=f"adding {name}")
                for name, text in sorted(want.overlay.items())
            ),
            shell('cat > "$1"', f"{want.path}/{_STAMP}", stdin=want.stamp().encode(), says="stamping it"),
        ]

    async def apply(self, host: Host, want: PythonEnvironmentWant | None, have: PythonEnvironmentWant | None) -> None:
        """Shows what uv says while it works."""
        for command in self.steps(want, have):
            await host.run(command, on_line=lambda line: host.say(line) if line[:1].isalpha() else None)


@functools.cache
def _uv_program() -> bytes:
    """The uv that this project itself is installed with: a static program for any Linux of the same architecture."""
    return Path(uv.find_uv_bin()).read_bytes()
