"""Whether an engine computes: `/health` is answered by its server, also when the part that computes stands still.

It sees what the watcher of hosts sees, by one look without a memory, since a probe has none: an engine that makes one
token, or whose numbers move while it has other work, is alive. So nothing more runs in the cluster for it.
"""

from __future__ import annotations

from typing import Final

ANSWER_S: Final = 8
"""So long may one token take, unless the numbers move meanwhile."""
TIMEOUT_S: Final = 30
"""Of the whole look: numbers twice, the names of the models, one token."""

PROGRAM: Final = r"""
import http.client, json, re, sys, urllib.error
from urllib.request import ProxyHandler, Request, build_opener
base = "http://127.0.0.1:" + sys.argv[1]
way = build_opener(ProxyHandler(dict()))
moves = re.compile(r"^(?:vllm:(?:generation_tokens_total|prompt_tokens_total|iteration_tokens_total_(?:sum|count)"
    r"|\w*cache_usage_perc)|sglang:(?:generation_tokens_total|prompt_tokens_total|realtime_tokens_total"
    r"|num_used_tokens|token_usage)|tgi_(?:batch_inference_count|batch_forward_duration_count"
    r"|request_generated_tokens_sum))[{ ].*", re.M)
def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    sent = Request(base + path, data, dict([("Content-Type", "application/json")]))
    with way.open(sent, timeout=8) as answer:
        return answer.read().decode(errors="replace")
def numbers():
    return moves.findall(ask("/metrics"))
try:
    ask("/health")
    before = numbers()
    if not before:
        sys.exit(0)
    try:
        name = json.loads(ask("/v1/models"))["data"][0]["id"]
        ask("/v1/completions", dict(model=name, prompt="a", max_tokens=1, temperature=0))
    except urllib.error.HTTPError:
        pass
    except (OSError, http.client.HTTPException):
        if numbers() == before:
            sys.exit("nothing moves, and one token was not made in 8 s")
except (OSError, http.client.HTTPException) as error:
    sys.exit("no answer: " + str(error))
""".lstrip()
"""Asks the engine on the port that is its argument; it ends with 1 when that does not compute.

Of the standard library alone, for the Python that each engine's image has. Who shows no numbers, or takes no such
request, cannot be told apart from a busy one and is left alone. KServe reads two braces as a template: there are none.
"""


def command(port: int) -> list[str]:
    """The command of a probe in the engine's own container."""
    return ["python3", "-I", "-S", "-c", PROGRAM, str(port)]
