# ruff: noqa: INP001 -- a script of the workflow, in no package
"""Writes one comment on a pull request, over the one that it wrote before.

Usage: comment.py FILE; the first line of the file marks the comment. Reads GITHUB_API_URL, GITHUB_REPOSITORY and
GITHUB_TOKEN, as GitHub's runners set them, and PULL_REQUEST, its number.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

_TIMEOUT_S = 30.0


def main(file: str) -> int:
    """Write the comment; an answer that is no success ends with its text and 1."""
    text = Path(file).read_text(encoding="utf-8")
    marker = text.splitlines()[0]
    repository = f"{os.environ.get('GITHUB_API_URL', 'https://api.github.com')}/repos/{os.environ['GITHUB_REPOSITORY']}"
    comments = f"{repository}/issues/{os.environ['PULL_REQUEST']}/comments"
    with requests.Session() as session:
        session.headers["Accept"] = "application/vnd.github+json"
        session.headers["Authorization"] = f"Bearer {os.environ['GITHUB_TOKEN']}"
        session.headers["X-GitHub-Api-Version"] = "2022-11-28"
        try:
            before = next((one for one in _all(session, comments) if _ours(one, marker)), None)
            if before is None:
                answer = session.post(comments, json={"body": text}, timeout=_TIMEOUT_S)
            else:
                answer = session.patch(
                    f"{repository}/issues/comments/{before['id']}", json={"body": text}, timeout=_TIMEOUT_S
                )
            _check(answer)
        except requests.RequestException as error:
            sys.stderr.write(f"comment: GitHub does not take it: {error}\n")
            return 1
    sys.stdout.write(f"{'wrote' if before is None else 'wrote over'} {answer.json()['html_url']}\n")
    return 0


def _all(session: requests.Session, comments: str) -> Iterator[dict[str, Any]]:
    url: str | None = f"{comments}?per_page=100"
    while url:
        answer = session.get(url, timeout=_TIMEOUT_S)
        _check(answer)
        yield from answer.json()
        url = answer.links.get("next", {}).get("url")


def _ours(comment: dict[str, Any], marker: str) -> bool:
    """Whether a run before wrote it; a person who quotes the marker is no bot."""
    return comment["user"]["type"] == "Bot" and str(comment["body"]).startswith(marker)


def _check(answer: requests.Response) -> None:
    if not answer.ok:
        raise requests.HTTPError(f"{answer.status_code} {answer.reason}: {answer.text[:500]}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
