"""Stands in for Text Generation Inference in an image: `text-generation-launcher --model-id MODEL --port P …`.

As the real one it answers whatever model a request names, and refuses flags in the words of Rust's clap.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import NoReturn

import vllm

TGI = vllm.Dialect(
    command=(sys.executable, __file__),
    loading=(
        "INFO download: text_generation_launcher: Starting check and download process for standin",
        "INFO shard-manager: text_generation_launcher: Starting shard rank=0",
        "INFO shard-manager: text_generation_launcher: Shard ready in 0.1s rank=0",
        "INFO text_generation_router_v3: Warming up model",
    ),
    loaded=("INFO text_generation_router_v3: Setting max batch total tokens to 12345",),
    died="Error: ShardCannotStart",
    up=("INFO text_generation_router::server: Connected",),
    numbers={
        "tgi_batch_current_size": "running",
        "tgi_queue_size": "waiting",
        "tgi_request_mean_time_per_token_duration": "between",
        "tgi_request_duration": "whole",
        "tgi_request_queue_duration": "queued",
        "tgi_request_generated_tokens_sum": "generated",
    },
    any_model=True,
)


class Parser(vllm.Parser):
    """Clap's way to refuse."""

    def error(self, message: str) -> NoReturn:
        """What argparse found, as clap says it; both end with status 2."""
        if unknown := re.match(r"unrecognized arguments: (\S+)", message):
            vllm.log(f"error: unexpected argument '{unknown[1]}' found")
        else:
            vllm.log(f"error: {message}")
        vllm.log("\nUsage: text-generation-launcher [OPTIONS]\n\nFor more information, try '--help'.")
        sys.exit(2)


def main(argv: Sequence[str]) -> None:
    """`text-generation-launcher …`; it serves its model under the model's own name."""
    chosen = Parser("text-generation-launcher", "--model-id", "--hostname", "--port").read(argv)
    vllm.log(f'INFO text_generation_launcher: Args {{ model_id: "{chosen.model_id}", .. }}')
    vllm.serve(TGI, chosen.hostname or "0.0.0.0", int(chosen.port or 3000), [chosen.model_id])


if __name__ == "__main__":
    vllm.run(TGI, main)
