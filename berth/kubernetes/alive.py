"""Whether an engine computes: `/health` is answered by its server, also when the part that computes stands still.

It sees what the watcher of hosts sees, by one look without a memory, since a probe has none: an engine that makes one
token, or whose numbers move while it has other work, is alive. So nothing more runs in the cluster for it.
"""

from __future__ import annotations

from typing import Final

ANSWER_S: Final = 8
"""So long may one token take, unless the numbers move meanwhile."""
DEADLINE_S: Final = 25
"""Of all requests of one look together; what is not known by then cannot be told."""
TIMEOUT_S: Final = 30
"""Of the look with the start of its Python; the kubelet counts one that it has to end as failed."""

PROGRAM: Final = r"""
import http.client, json, re, signal, socket, sys
moves = re.compile(r"^(?:vllm:(?:generation_tokens_total|prompt_tokens_total|iteration_tokens_total_(?:sum|count)"
    r"|\w*cache_usage_perc)|sglang:(?:generation_tokens_total|prompt_tokens_total|realtime_tokens_total"
    r"|num_used_tokens|token_usage)|tgi_(?:batch_inference_count|batch_forward_duration_count"
    r"|request_generated_tokens_sum))[{ ].*", re.M)
probes = (
    ("/v1/completions", dict(prompt="a", max_tokens=1, temperature=0)),
    ("/v1/embeddings", dict(input="a")),
    ("/v1/chat/completions", dict(messages=[dict(role="user", content="a")], max_tokens=1, temperature=0)),
)
def ask(path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=8)
    try:
        said = dict([("Content-Type", "application/json")])
        connection.request("GET" if body is None else "POST", path, body and json.dumps(body), said)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()
def numbers():
    return moves.findall(ask("/metrics")[1])
def wrong():
    try:
        status, _ = ask("/health")
        if status >= 500:
            return "/health answers " + str(status)
    except socket.timeout:
        pass
    before = numbers()
    if not before:
        return None
    name = json.loads(ask("/v1/models")[1])["data"][0]["id"]
    for path, body in probes:
        try:
            status, _ = ask(path, dict(body, model=name))
        except socket.timeout:
            return "nothing moves, and one token was not made in 8 s" if numbers() == before else None
        if status not in (400, 404, 405):
            return None
signal.signal(signal.SIGALRM, lambda *_: sys.exit(0))
signal.alarm(25)
try:
    sys.exit(wrong())
except ConnectionRefusedError as error:
    sys.exit("no answer: " + str(error))
except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError):
    pass
""".lstrip()
"""Asks the engine on the port that is its argument; it ends with 1 when that does not compute.

That is: nobody listens, its server says itself that it is not well, or it neither makes a token nor moves. Who shows no
numbers, takes no such request, or answers late or in a way that nobody expects, cannot be told apart from a busy one
and is left alone: a peak of load must not take out all replicas. A `/health` that is late alone says nothing, since
some engines make a token for it. Of the standard library alone, for the Python that each engine's image has. KServe
reads two braces as a template: there are none.
"""


def command(port: int) -> list[str]:
    """The command of a probe in the engine's own container."""
    return ["python3", "-I", "-S", "-c", PROGRAM, str(port)]
