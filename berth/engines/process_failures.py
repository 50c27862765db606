"""How command lines, ports, memory and disks show in the log of any engine that is a Python server."""

from __future__ import annotations

from berth.engines.contract import Failure

PROCESS_FAILURES: tuple[Failure, ...] = (
    Failure(
        name="unknown-argument",
        pattern=r"error: unrecognized arguments: (?P<flags>.+)",
        cause="this engine version does not know {flags}",
        cure="take it out of `args`, or use an engine version that has it",
    ),
    Failure(
        name="wrong-argument",
        pattern=r"error: argument (?P<flag>\S+): (?P<reason>.+)",
        cause="the engine refuses the value of {flag}: {reason}",
        cure="correct it in the stack file",
    ),
    Failure(
        name="port-in-use",
        pattern=r"(?i)(?:\[Errno 98\]|OSError).*address already in use",
        cause="another process listens on the engine's port",
        cure="stop that process (`ss -ltnp` names it) or give the model another port",
    ),
    Failure(
        name="host-memory",
        pattern=r"Cannot allocate memory|\bMemoryError|DefaultCPUAllocator: can't allocate memory",
        cause="the host ran out of memory",
        cure="free memory, lower the KV cache or use a smaller model",
    ),
    Failure(
        name="shared-memory",
        pattern=r"Bus error|unable to (?:open|write|mmap).*shared memory",
        cause="the engine's processes lack shared memory",
        cure="raise the container's `shm_size` (1 GiB per GPU is plenty)",
    ),
    Failure(
        name="disk-full",
        pattern=r"\[Errno 28\]|No space left on device",
        cause="a disk of the host is full",
        cure="free space where weights and caches lie, or move the stack's root",
    ),
    Failure(
        name="too-many-files",
        pattern=r"^(?!.*This can cause).*(?:\[Errno 24\]|OSError: Too many open files)",
        cause="the engine may not open more files",
        cure="raise the limit of open files (LimitNOFILE, ulimit -n) to 65536",
    ),
)
