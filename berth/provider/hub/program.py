"""The modules that run on a host, as one command line."""

from __future__ import annotations

import functools
import importlib.resources
import json

_MODULES = ("stop", "status_lines", "selection", "folder", "preloaded", "api", "download")
_OF_BUCKETS = (*_MODULES, "signing", "bucket", "bucket_folder", "from_bucket")
"""In the order in which they import each other; the last one has `main`."""

_BOOT = """
import json, os, sys, types
for name, text in json.loads(sys.argv.pop(1)).items():
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
os._exit(module.main(sys.argv[1:]))  # threads that still wait for the network must not hold up the end
"""


@functools.cache
def program(*, of_bucket: bool = False) -> tuple[str, ...]:
    """The arguments after the name of a Python: its options, the boot text and the modules' texts as JSON.

    It is the program for models of the hub, or the one for those of buckets. The names are kept, so that a module on
    the host imports another one just as it does here.
    """
    package = importlib.resources.files("berth.provider.hub")
    texts = {
        f"berth.provider.hub.{name}": package.joinpath(f"{name}.py").read_text()
        for name in (_OF_BUCKETS if of_bucket else _MODULES)
    }
    return ("-I", "-c", _BOOT, json.dumps(texts))
