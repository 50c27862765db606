"""Prints the flags of `sglang.launch_server` as JSON, from an unpacked wheel: `python -I read_sglang.py FOLDER`.

As read_vllm.py: SGLang's own code builds its parser, on stands for what a parser does not need.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

_REAL_MODULES = r"sglang\.srt(\.server_args|\.arg_groups(\..*)?|\.environ)?"
"""The modules of SGLang that make its parser, over all releases since 0.4.6."""

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.path.insert(0, sys.argv[1])
    stubs: Any = importlib.import_module("stubs")
    reader: Any = importlib.import_module("read_vllm")
    stubs.install("sglang", real=_REAL_MODULES)
    parser = argparse.ArgumentParser()
    importlib.import_module("sglang.srt.server_args").ServerArgs.add_cli_args(parser)
    json.dump(reader.flags(parser), sys.stdout, indent=1, sort_keys=True)
