"""The program that runs on a host, as a process of its own against a stand-in hub."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import scan_cache_dir, snapshot_download

from berth.provider.hub.program import program
from berth.provider.hub.stop import STATUS
from tests.hub.fixtures import ADAPTER_NEEDED, NEEDED, adapter_files, hub, model_files
from tests.hub.stand_in import StandInHub, blob_id
from tests.ports import free_port

__all__ = ["hub"]

REPO = "org/model"
TOKEN = "hf_granted_secret"


@dataclass
class Ran:
    status: int
    lines: list[dict[str, Any]]
    stderr: str

    @property
    def last(self) -> dict[str, Any]:
        return self.lines[-1]

    @property
    def says(self) -> str:
        return "\n".join(str(line.get("say")) for line in self.lines)


@pytest.fixture
def commit(hub: StandInHub) -> str:
    return hub.add(REPO, model_files())


def argv(verb: str, cache: Path, endpoint: str, revision: str, repo: str, *more: str) -> list[str]:
    options = ("--repo", repo, "--revision", revision, "--cache", str(cache), "--endpoint", endpoint)
    return [sys.executable, *program(), verb, *options, "--pause-s", "0.01", *more]


def run(
    hub: StandInHub, cache: Path, revision: str, *more: str, repo: str = REPO, verb: str = "download", token: str = ""
) -> Ran:
    command = argv(verb, cache, hub.endpoint, revision, repo, *more)
    done = subprocess.run(command, input=token, capture_output=True, text=True, timeout=60, check=False)
    return Ran(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr)


def contents(snapshot: str) -> dict[str, bytes]:
    return {str(f.relative_to(snapshot)): f.read_bytes() for f in Path(snapshot).rglob("*") if f.is_file()}


def wanted_contents() -> dict[str, bytes]:
    return {path: content for path, content in model_files().items() if path in NEEDED}


def test_what_serving_needs_is_downloaded_and_nothing_else(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    hub.page = 3
    ran = run(hub, tmp_path, commit)
    assert (ran.status, ran.stderr) == (0, "")
    assert ran.last == {"path": str(tmp_path / "models--org--model/snapshots" / commit), "commit": commit}
    assert contents(ran.last["path"]) == wanted_contents()
    assert hub.sent == sum(map(len, wanted_contents().values()))
    assert not list(tmp_path.rglob("*.incomplete"))


def test_the_real_client_finds_it_in_its_cache(hub: StandInHub, tmp_path: Path) -> None:
    commit = hub.add(REPO, wanted_contents())
    ran = run(hub, tmp_path, "main")
    assert snapshot_download(REPO, cache_dir=tmp_path, local_files_only=True) == ran.last["path"]
    found = scan_cache_dir(tmp_path)
    assert found.warnings == []
    assert [revision.commit_hash for repo in found.repos for revision in repo.revisions] == [commit]


def test_what_the_real_client_downloaded_is_not_downloaded_again(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    snapshot_download(REPO, cache_dir=tmp_path, endpoint=hub.endpoint, token=False)
    hub.sent = 0
    ran = run(hub, tmp_path, commit)
    assert (ran.status, hub.sent) == (0, 0)


def test_a_second_run_asks_nobody(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    run(hub, tmp_path, commit)
    hub.asked.clear()
    ran = run(hub, tmp_path, commit)
    assert (ran.status, len(ran.lines), hub.asked) == (0, 1, [])


def test_a_branch_is_followed_once_and_then_stays(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    assert run(hub, tmp_path, "main").last["commit"] == commit
    hub.add(REPO, {**model_files(), "config.json": b"{}"})
    assert run(hub, tmp_path, "main").last["commit"] == commit


def test_progress_never_goes_back_and_ends_at_all(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    hub.faults.cuts, hub.faults.corrupt = 5, 2
    ran = run(hub, tmp_path, commit)
    total = sum(map(len, wanted_contents().values()))
    done = [line["done"] for line in ran.lines if "done" in line]
    assert done == sorted(done)
    assert (done[-1], {line["total"] for line in ran.lines if "total" in line}) == (total, {total})
    assert f"downloading {total / 1e3:.1f} of {total / 1e3:.1f} kB" in ran.says


def test_a_cut_connection_goes_on_where_it_was(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    hub.faults.cuts, hub.faults.cut_after = 4, 50_000
    ran = run(hub, tmp_path, commit)
    assert ran.status == 0, ran.says
    assert "the connection was cut" in ran.says
    assert contents(ran.last["path"]) == wanted_contents()
    ranges = [headers["Range"] for _, _, headers in hub.storage_asked if "Range" in headers]
    assert "bytes=50000-" in ranges
    assert hub.sent == sum(map(len, wanted_contents().values()))


def test_a_killed_download_goes_on_where_it_was(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    with half_way(hub, commit, tmp_path) as process:
        process.kill()
    partial = sum(file.stat().st_size for file in tmp_path.rglob("*.incomplete"))
    assert partial > 0
    before = len(hub.storage_asked)
    ran = run(hub, tmp_path, commit)
    assert ran.status == 0
    assert contents(ran.last["path"]) == wanted_contents()
    ranges = [headers["Range"] for _, _, headers in hub.storage_asked[before:] if "Range" in headers]
    assert sum(int(asked.removeprefix("bytes=").partition("-")[0]) for asked in ranges) == partial


def test_half_a_download_is_seen_as_missing(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    with half_way(hub, commit, tmp_path) as process:
        process.kill()
    assert run(hub, tmp_path, commit, verb="look").last["missing"] is None


def test_a_server_that_ignores_ranges_starts_over(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    hub.faults.ignore_ranges, hub.faults.cuts, hub.faults.cut_after = True, 1, 50_000
    ran = run(hub, tmp_path, commit)
    assert (ran.status, contents(ran.last["path"])) == (0, wanted_contents())


def test_wrong_content_comes_again_once(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    hub.faults.corrupt = 1
    ran = run(hub, tmp_path, commit)
    assert (ran.status, contents(ran.last["path"])) == (0, wanted_contents())


def test_the_hubs_wait_is_kept_and_said(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    hub.faults.too_many, hub.faults.retry_after = 2, "1"
    ran = run(hub, tmp_path, commit)
    assert ran.status == 0
    assert "waiting 1 s as it asks" in ran.says


def test_the_hubs_own_limit_header_counts_too(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    hub.faults.too_many, hub.faults.retry_after, hub.faults.ratelimit = 1, "", '"api";r=0;t=4000'
    ran = run(hub, tmp_path, commit)
    assert ran.last["error"] == "limit"
    assert "4000 s" in ran.last["say"]


def test_an_error_that_passes_is_waited_out(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    hub.faults.errors = 3
    assert run(hub, tmp_path, commit).status == 0


@contextlib.contextmanager
def half_way(hub: StandInHub, commit: str, cache: Path, token: str = "") -> Iterator[subprocess.Popen[str]]:
    """A download that has half of a large file and waits for the rest."""
    hub.faults.gate = threading.Event()
    hub.half_sent.clear()
    command = argv("download", cache, hub.endpoint, commit, REPO)
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(token)
        process.stdin.close()
        process.stdin = None
        assert hub.half_sent.wait(30)
        for line in process.stdout:
            if json.loads(line).get("done", 0) >= 150_000:  # half of the first shard, which waits for the gate
                break
        try:
            yield process
        finally:
            hub.open_gate()
            process.kill()


FAILURES = {
    "repo": ("org/none", {}, "no such model, or it is private and needs a token"),
    "revision": (REPO, {"revision": "f" * 40}, "no such revision"),
    "gated": ("org/gated", {}, "gated and no token is given"),
    "token": (REPO, {"token": "hf_wrong"}, "does not know this token"),
    "weights": ("org/gguf", {}, "no weights that an engine loads"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_each_refusal_has_its_status_and_says_what_to_do(hub: StandInHub, tmp_path: Path, kind: str) -> None:
    hub.add(REPO, model_files())
    hub.add("org/gated", model_files(), gated=True)
    hub.add("org/gguf", {"model.gguf": b"g" * 5000})
    repo, options, says = FAILURES[kind]
    ran = run(hub, tmp_path, options.get("revision", "main"), repo=repo, token=options.get("token", ""))
    assert (ran.status, ran.last["error"]) == (STATUS[kind], kind)
    assert says in ran.last["say"]
    assert ran.stderr == ""


def test_a_token_that_was_not_let_in(hub: StandInHub, tmp_path: Path) -> None:
    hub.add(REPO, model_files(), gated=True)
    hub.known.add("hf_stranger")
    ran = run(hub, tmp_path, "main", token="hf_stranger")
    assert (ran.status, ran.last["error"]) == (STATUS["gated"], "gated")
    assert "not let in" in ran.last["say"]
    ran = run(hub, tmp_path, "main", repo="org/none", token="hf_stranger")
    assert "this token may not see it" in ran.last["say"]


def test_a_wait_that_is_too_long_is_refused(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    hub.faults.too_many, hub.faults.retry_after = 1, "Fri, 01 Jan 2100 00:00:00 GMT"
    ran = run(hub, tmp_path, commit)
    assert (ran.status, ran.last["error"]) == (STATUS["limit"], "limit")
    assert "declare a token" in ran.last["say"]


def test_wrong_content_twice_is_an_error_that_names_the_file(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    hub.faults.corrupt = 100
    ran = run(hub, tmp_path, commit)
    assert ran.status == STATUS["mismatch"]
    assert "is not what the hub lists" in ran.last["say"]
    assert not (tmp_path / "models--org--model/.berth").exists()


def test_a_hub_that_only_fails(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    hub.faults.errors = 1000
    ran = run(hub, tmp_path, commit)
    assert (ran.status, ran.last["error"]) == (STATUS["server"], "server")
    assert "answers 503" in ran.last["say"]


def test_something_else_than_a_hub(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    hub.faults.not_json = True
    ran = run(hub, tmp_path, commit)
    assert (ran.status, ran.last["error"]) == (STATUS["server"], "server")
    assert "does not answer as a hub does" in ran.last["say"]


@pytest.mark.parametrize("where", ["refused", "unknown name", "no address", "declared offline"])
def test_offline(hub: StandInHub, commit: str, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if where == "declared offline":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names = {"refused": f"http://127.0.0.1:{free_port()}", "unknown name": "http://hub.invalid", "no address": "hub"}
    hub.endpoint = names.get(where, hub.endpoint)
    ran = run(hub, tmp_path, commit)
    assert (ran.status, ran.last["error"], ran.stderr) == (STATUS["offline"], "offline", "")


def test_offline_accepts_a_whole_snapshot_that_others_put_there(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    folder = Path(snapshot_download(REPO, cache_dir=tmp_path, endpoint=hub.endpoint, token=False))
    hub.endpoint = f"http://127.0.0.1:{free_port()}"
    ran = run(hub, tmp_path, commit)
    assert (ran.status, ran.last["path"]) == (0, str(folder))
    assert run(hub, tmp_path, commit, verb="look").last["missing"] == []


def test_offline_refuses_a_snapshot_with_a_short_shard(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    folder = Path(snapshot_download(REPO, cache_dir=tmp_path, endpoint=hub.endpoint, token=False))
    os.truncate(folder / "model-00002-of-00002.safetensors", 100_000)
    hub.endpoint = f"http://127.0.0.1:{free_port()}"
    assert run(hub, tmp_path, commit).status == STATUS["offline"]


def test_an_adapter_is_downloaded_and_accepted_offline_without_a_tokenizer(hub: StandInHub, tmp_path: Path) -> None:
    commit = hub.add("acme/french", adapter_files())
    ran = run(hub, tmp_path / "ours", commit, repo="acme/french")
    assert ran.status == 0
    assert {path.name for path in Path(ran.last["path"]).iterdir()} == {*ADAPTER_NEEDED}
    theirs = snapshot_download("acme/french", cache_dir=tmp_path / "theirs", endpoint=hub.endpoint, token=False)
    hub.endpoint = f"http://127.0.0.1:{free_port()}"
    ran = run(hub, tmp_path / "theirs", commit, repo="acme/french")
    assert (ran.status, ran.last["path"]) == (0, theirs)


def test_the_endpoint_of_the_environment_counts_when_none_is_told(
    hub: StandInHub, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint + "/")
    command = [part for part in argv("download", tmp_path, "", commit, REPO) if part]
    command.remove("--endpoint")
    done = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_folder_that_cannot_be_written(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    ran = run(hub, tmp_path / "cache", commit)
    assert (ran.status, ran.last["error"]) == (STATUS["disk"], "disk")


def test_a_disk_that_cannot_hold_it_is_refused_before_anything_comes(
    hub: StandInHub, commit: str, tmp_path: Path
) -> None:
    with mounted(tmp_path, "16m") as cache:
        ran = run(hub, cache, commit)
    assert (ran.status, ran.last["error"]) == (STATUS["disk"], "disk")
    assert "free that are needed" in ran.last["say"]
    assert hub.sent == 0


def test_a_disk_that_fills_up_meanwhile_is_said_and_what_came_is_kept(
    hub: StandInHub, commit: str, tmp_path: Path
) -> None:
    with mounted(tmp_path, "258m") as cache, half_way(hub, commit, cache) as process:
        free = os.statvfs(cache)
        with (cache / "others").open("wb") as others:
            os.posix_fallocate(others.fileno(), 0, free.f_bavail * free.f_frsize)
        hub.open_gate()
        assert process.stdout is not None
        last = json.loads(process.stdout.read().splitlines()[-1])
        assert (process.wait(30), last["error"]) == (STATUS["disk"], "disk")
        assert "the disk is full" in last["say"]
        assert list(cache.rglob("*.incomplete"))


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A small disk of its own."""
    place = folder / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_the_token_is_seen_by_nobody_but_the_hub(hub: StandInHub, tmp_path: Path) -> None:
    commit = hub.add(REPO, model_files(), gated=True)
    hub.granted.add(TOKEN)
    with half_way(hub, commit, tmp_path, token=TOKEN) as process:
        for name in ("cmdline", "environ"):
            assert TOKEN.encode() not in Path(f"/proc/{process.pid}/{name}").read_bytes()
    assert all(headers["Authorization"] == f"Bearer {TOKEN}" for _, _, headers in hub.asked)
    assert hub.storage_asked
    assert not any("Authorization" in headers for _, _, headers in hub.storage_asked)
    ran = run(hub, tmp_path, commit, token=TOKEN)
    assert ran.status == 0
    assert TOKEN not in ran.says + ran.stderr
    assert not any(TOKEN.encode() in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_it_ends_when_nobody_reads_it_any_more(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    with half_way(hub, commit, tmp_path) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.wait(10)
        assert process.returncode == 1


def test_two_downloads_at_once_share_the_work(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    with half_way(hub, commit, tmp_path) as first:
        command = argv("download", tmp_path, hub.endpoint, commit, REPO)
        with subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as second:
            for line in second.stdout or ():
                if "waiting for another download" in line:
                    break
            hub.open_gate()
            assert second.wait(30) == 0
            assert first.wait(30) == 0
    assert hub.sent == sum(map(len, wanted_contents().values()))


def test_a_file_that_was_cut_short_later_is_named_and_brought_again(
    hub: StandInHub, commit: str, tmp_path: Path
) -> None:
    snapshot = Path(run(hub, tmp_path, commit).last["path"])
    assert run(hub, tmp_path, commit, verb="look").last["missing"] == []
    os.truncate(snapshot / "tokenizer.json", 3)
    (snapshot / "config.json").unlink()
    assert run(hub, tmp_path, commit, verb="look").last["missing"] == ["config.json", "tokenizer.json"]
    hub.sent = 0
    assert run(hub, tmp_path, commit).status == 0
    assert contents(str(snapshot)) == wanted_contents()
    assert hub.sent == len(model_files()["tokenizer.json"])


def test_looking_asks_nobody_and_writes_nothing(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    looked = run(hub, tmp_path / "cache", commit, verb="look")
    assert looked.last["missing"] is None
    assert not (tmp_path / "cache").exists()
    assert hub.asked == []


def test_files_have_the_names_that_the_hub_gives_their_contents(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    run(hub, tmp_path, commit)
    blobs = {file.name for file in (tmp_path / "models--org--model/blobs").iterdir()}
    assert blobs == {blob_id(content) for content in wanted_contents().values()}
