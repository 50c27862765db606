"""Stands in for SGLang in an image: `python3 -m sglang.launch_server --model-path MODEL --host H --port P …`.

As the real one: its port listens at once, and `/health_generate` answers only when a token can be made.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import vllm

SGLANG = vllm.Dialect(
    command=(sys.executable, __file__),
    loading=(
        "[2026-01-01 00:00:00] Init torch distributed begin.",
        "[2026-01-01 00:00:00] Load weight begin. avail mem=30.00 GB",
        "[2026-01-01 00:00:00] Load weight end. type=Standin, dtype=torch.float16, avail mem=24.00 GB",
    ),
    loaded=(
        "[2026-01-01 00:00:00] KV Cache is allocated. #tokens: 12345, K size: 1.00 GB, V size: 1.00 GB",
        "[2026-01-01 00:00:00] Capture cuda graph begin. This can take up to several minutes.",
    ),
    died="[2026-01-01 00:00:00] Received sigquit from a child process. It usually means the child failed.",
    up=(
        "INFO:     Uvicorn running on http://{host}:{port} (Press CTRL+C to quit)",
        "[2026-01-01 00:00:00] The server is fired up and ready to roll!",
    ),
    numbers={
        "sglang:num_running_reqs": "running",
        "sglang:num_queue_reqs": "waiting",
        "sglang:token_usage": "usage",
        "sglang:prompt_tokens_total": "prompt",
        "sglang:generation_tokens_total": "generated",
        "sglang:time_to_first_token_seconds": "first",
        "sglang:inter_token_latency_seconds": "between",
        "sglang:e2e_request_latency_seconds": "whole",
        "sglang:queue_time_seconds": "queued",
    },
    ready_path="/health_generate",
    early=True,
)


def main(argv: Sequence[str]) -> None:
    """`python3 -m sglang.launch_server …`; without --enable-metrics there are no numbers."""
    parser = vllm.Parser("launch_server.py", "--model-path", "--host", "--port", "--served-model-name")
    chosen = parser.read(argv)
    vllm.log(f"[2026-01-01 00:00:00] server_args=ServerArgs(model_path={chosen.model_path!r}, ...)")
    name = (chosen.served_model_name or [chosen.model_path])[0]
    vllm.serve(SGLANG, chosen.host or "127.0.0.1", int(chosen.port or 30000), [name])


if __name__ == "__main__":
    vllm.run(SGLANG, main)
