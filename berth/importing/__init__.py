"""From what runs on a host to a stack file that says the same.

`engines` finds the engines among the containers and processes, `stack` says them and what stands before them in a stack
file's words, `writing` writes these as YAML with a comment for each thing that was not understood.
"""

from berth.importing.engines import Found, engines
from berth.importing.stack import Imported, stack
from berth.importing.writing import text

__all__ = ["Found", "Imported", "engines", "stack", "text"]
