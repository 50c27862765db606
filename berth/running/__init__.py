"""What runs on a host without Berth's doing: containers and processes, and engines among them in a stack file's words.

`looking` asks a machine in one round trip, `command_lines` reads an engine's command line, `meaning` is the inverse of
what `berth.engines` renders: flags back into intent.
"""

from berth.running.command_lines import Line, read
from berth.running.looking import SCRIPT, Container, Look, Process, parse
from berth.running.meaning import Meaning, meaning

__all__ = ["SCRIPT", "Container", "Line", "Look", "Meaning", "Process", "meaning", "parse", "read"]
