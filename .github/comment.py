# ruff: noqa: INP001 -- a script of the workflow, in no package
"""Writes one comment on a pull request, over the one that it wrote before.

Usage: comment.py FILE [PICTURES]; the first line of the file marks the comment. Pictures that it shows from that folder
become a commit of their own, without parents and on no branch, since GitHub draws no picture that is part of a comment.
Reads GITHUB_API_URL, GITHUB_SERVER_URL, GITHUB_REPOSITORY and GITHUB_TOKEN, as GitHub's runners set them, and
PULL_REQUEST, its number.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

_TIMEOUT_S = 30.0


def main(file: str, pictures: str = "") -> int:
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
            if pictures and (drawn := sorted(Path(pictures).glob("*.svg"))):
                place = _published(session, repository, drawn)
                text = text.replace(f"]({Path(pictures).name}/", f"]({place}/")
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


def _published(session: requests.Session, repository: str, drawn: list[Path]) -> str:
    """Where the pictures can be read once they are a commit, which a reference of this pull request keeps."""

    def made(what: str, content: dict[str, Any]) -> str:
        answer = session.post(f"{repository}/git/{what}", json=content, timeout=_TIMEOUT_S)
        _check(answer)
        return str(answer.json()["sha"])

    files = [
        {"path": file.name, "mode": "100644", "type": "blob", "content": file.read_text(encoding="utf-8")}
        for file in drawn
    ]
    name = f"berth/pictures/{os.environ['PULL_REQUEST']}"
    commit = made("commits", {"message": "Plans as pictures", "tree": made("trees", {"tree": files}), "parents": []})
    moved = session.patch(f"{repository}/git/refs/{name}", json={"sha": commit, "force": True}, timeout=_TIMEOUT_S)
    if moved.status_code in {404, 422}:  # the first time
        moved = session.post(f"{repository}/git/refs", json={"ref": f"refs/{name}", "sha": commit}, timeout=_TIMEOUT_S)
    _check(moved)
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    return f"{server}/{os.environ['GITHUB_REPOSITORY']}/raw/{commit}"


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
    sys.exit(main(*sys.argv[1:3]))
