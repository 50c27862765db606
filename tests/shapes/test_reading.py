"""The models of a stack, read from folders and from a hub that answers, refuses, is slow, or talks nonsense."""

from __future__ import annotations

import importlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from berth.catalogue.models import ModelShape
from berth.planner.plan import Note, Severity
from berth.planner.planning import plan
from berth.shapes import Reader, read
from berth.spec import Stack
from tests.hub.stand_in import StandInHub
from tests.shapes import checkpoints
from tests.shapes.conftest import StackOf

LIMIT_S = 20.0
"""Far more than a test needs; where the limit itself is tested it is said there."""


def ask(stack: Stack, token: str | None = None) -> tuple[Mapping[str, ModelShape], tuple[Note, ...]]:
    return read(stack, base=Path.cwd(), timeout_s=LIMIT_S, secret=lambda _: token)


def stored(shape: ModelShape) -> int:
    assert shape.stored is not None
    return shape.stored.total


def source(hub: StandInHub, files: Mapping[str, bytes], name: str = "org/tiny", **more: str) -> dict[str, str]:
    """A model on the hub, as a stack file names it."""
    commit = hub.add(name, files, gated="token" in more)
    return {"hub": name, "revision": commit, "endpoint": hub.endpoint, **more}


def put(folder: Path, files: Mapping[str, bytes]) -> dict[str, str]:
    """A model in a folder, as a stack file names it."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {"path": str(folder)}


@pytest.mark.parametrize("files", [checkpoints.whole(), checkpoints.sharded()], ids=["whole", "sharded"])
def test_the_weights_of_a_plan_are_those_of_the_files(
    hub: StandInHub, stack_of: StackOf, tmp_path: Path, files: Mapping[str, bytes]
) -> None:
    stack = stack_of(source(hub, files), put(tmp_path / "model", files))
    shapes, notes = ask(stack)
    assert notes == ()
    decided = plan(stack, "test", shapes=shapes)
    for replica in decided.replicas:
        assert replica.memory is not None
        weights = next(term for term in replica.memory.terms if term.name == "weights")
        shape = shapes["org/tiny" if replica.model == "m0" else str(tmp_path / "model")]
        rounding = 202_112 // 50  # one byte for every fifty parameters of the architecture
        assert weights.size == checkpoints.size(checkpoints.tensors()) + checkpoints.ROTARY + rounding
        assert "safetensors headers" in weights.source
        assert "safetensors headers" in shape.origin


def test_only_headers_are_read(hub: StandInHub, stack_of: StackOf) -> None:
    big = {"config.json": checkpoints.whole()["config.json"]}
    big["model.safetensors"] = checkpoints.file({**checkpoints.tensors(), "model.layers.1.mlp.x_proj": (3000, 3000)})
    shapes, _ = ask(stack_of(source(hub, big)))
    assert stored(shapes["org/tiny"]) == checkpoints.size(checkpoints.tensors()) + 18_000_000
    assert hub.sent < 200_000


def test_a_header_longer_than_the_first_request_is_read(hub: StandInHub, stack_of: StackOf, tmp_path: Path) -> None:
    files = {**checkpoints.whole(), "model.safetensors": checkpoints.file(checkpoints.tensors(), padding=150_000)}
    shapes, notes = ask(stack_of(source(hub, files), put(tmp_path / "model", files)))
    assert notes == ()
    assert {stored(shape) for shape in shapes.values()} == {checkpoints.size(checkpoints.tensors())}


def test_a_hub_that_ignores_ranges_sends_no_whole_file(hub: StandInHub, stack_of: StackOf) -> None:
    hub.faults.ignore_ranges = True
    shapes, notes = ask(stack_of(source(hub, checkpoints.whole())))
    assert notes == ()
    assert stored(shapes["org/tiny"]) == checkpoints.size(checkpoints.tensors())


def test_a_tied_head_is_not_loaded(stack_of: StackOf, tmp_path: Path) -> None:
    shapes, _ = ask(stack_of(put(tmp_path / "model", checkpoints.whole(tie_word_embeddings=True))))
    (shape,) = shapes.values()
    assert stored(shape) == checkpoints.size(checkpoints.tensors()) - 1000 * 64 * 2


def test_a_second_run_asks_nothing(hub: StandInHub, stack_of: StackOf) -> None:
    stack = stack_of(source(hub, checkpoints.sharded()))
    first = ask(stack)
    hub.asked.clear()
    assert ask(stack) == first
    assert hub.asked == []


@pytest.mark.parametrize("kept", [b"", b"{", b"[]", b'{"counted_by": "other"}', b'{"stored": 1}'])
def test_a_broken_cache_is_read_anew(hub: StandInHub, stack_of: StackOf, tmp_path: Path, kept: bytes) -> None:
    stack = stack_of(source(hub, checkpoints.whole()))
    first = ask(stack)
    (file,) = (tmp_path / "cache" / "berth" / "shapes").iterdir()
    file.write_bytes(kept)
    assert ask(stack) == first


def test_a_cache_that_cannot_be_written_is_done_without(hub: StandInHub, stack_of: StackOf, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    shapes, notes = ask(stack_of(source(hub, checkpoints.whole())))
    assert shapes
    assert notes == ()


def test_offline_nothing_is_asked(hub: StandInHub, stack_of: StackOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    shapes, (note,) = ask(stack_of(source(hub, checkpoints.whole()), source(hub, checkpoints.whole(), "org/other")))
    assert (shapes, hub.asked) == ({}, [])
    assert note.where == "models.m0.source, models.m1.source"
    assert "HF_HUB_OFFLINE is set" in note.text


def test_a_gated_model_is_read_with_its_token_alone(hub: StandInHub, stack_of: StackOf) -> None:
    hub.granted.add("hf_good")
    hub.known.add("hf_other")
    stack = stack_of(source(hub, checkpoints.whole(), token="hf"))
    without, (note,) = ask(stack)
    assert without == {}
    assert note.severity is Severity.WARNING
    assert "org/tiny is gated and it needs a token" in note.text
    _, (note,) = ask(stack, "hf_other")
    assert "this token may not see it" in note.text
    shapes, notes = ask(stack, "hf_good\n")
    assert stored(shapes["org/tiny"])
    assert notes == ()
    assert not any("Authorization" in headers or "authorization" in headers for _, _, headers in hub.storage_asked)


def test_a_token_that_the_hub_does_not_know_is_said(hub: StandInHub, stack_of: StackOf) -> None:
    _, (note,) = ask(stack_of(source(hub, checkpoints.whole(), token="hf")), "hf_old")
    assert "does not know this token" in note.text


@pytest.mark.parametrize("token", ["hf_bäd", "hf_one\nhf_two", "\x00"])
def test_a_token_that_no_header_holds_is_not_shown(hub: StandInHub, stack_of: StackOf, token: str) -> None:
    _, (note,) = ask(stack_of(source(hub, checkpoints.whole(), token="hf")), token)
    assert "set the secret again" in note.text
    assert token not in note.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hub": "org/none"}, "has no org/none, or it needs a token"),
        ({"revision": "f" * 40}, "has no commit ffff"),
        ({"endpoint": "ftp://hub"}, "is no web address"),
        ({"endpoint": "http://127.0.0.1:9"}, "cannot be reached"),
        ({"endpoint": "http://[nonsense"}, "could not be read"),
        ({"endpoint": "http://nonsense:port"}, "cannot be reached"),
    ],
)
def test_what_is_not_there_is_a_note(hub: StandInHub, stack_of: StackOf, change: Mapping[str, str], words: str) -> None:
    shapes, (note,) = ask(stack_of({**source(hub, checkpoints.whole()), **change}))
    assert shapes == {}
    assert words in note.text
    assert "\n" not in note.text


@pytest.mark.parametrize("fault", ["too_many", "errors", "not_json"])
def test_a_hub_in_trouble_is_a_note(hub: StandInHub, stack_of: StackOf, fault: str) -> None:
    setattr(hub.faults, fault, 100)
    shapes, notes = ask(stack_of(source(hub, checkpoints.whole())))
    assert shapes == {}
    assert [note.severity for note in notes] == [Severity.NOTE]


@pytest.fixture
def client() -> None:
    """The hub's client, imported before a short time limit begins."""
    importlib.import_module("berth.shapes.repository")


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_silent_hub_costs_its_time_once(stack_of: StackOf, silent: str) -> None:
    sources = [{"hub": f"org/m{number}", "revision": "a" * 40, "endpoint": silent} for number in range(3)]
    reader = Reader(base=Path.cwd(), token=lambda _: None, timeout_s=1.0)
    first, second = stack_of(*sources[:2]), stack_of(*sources)
    begin = time.monotonic()
    shapes, (note,) = reader.read(first)
    assert 0.8 < time.monotonic() - begin < 3
    assert shapes == {}
    assert note.where == "models.m0.source, models.m1.source"
    assert "in time" in note.text
    begin = time.monotonic()
    assert reader.read(second)[1][0].text == note.text
    assert time.monotonic() - begin < 0.8


@pytest.mark.usefixtures("client")
def test_what_came_in_time_is_used(hub: StandInHub, stack_of: StackOf, tmp_path: Path) -> None:
    """The weights' files stop half way; configuration and index were there."""
    stack = stack_of(source(hub, checkpoints.sharded()))
    hub.faults.gate = threading.Event()
    shapes, (note,) = read(stack, base=Path.cwd(), timeout_s=2.0)
    hub.open_gate()
    assert stored(shapes["org/tiny"]) == checkpoints.size(checkpoints.tensors())
    assert shapes["org/tiny"].origin.endswith("index.json")
    assert "does not answer in time" in note.text
    assert "the total of its index is taken" in note.text
    assert not list((tmp_path / "cache").rglob("*.json"))
    assert ask(stack)[1] == ()


INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (b"", "is no JSON"),
        (b"[1]", "is no JSON object"),
        (b'{"weight_map": 3}', "has no weight_map"),
        (b'{"metadata": 1, "weight_map": {}}', "has no weight_map"),
        (b'{"weight_map": {"a": "../../etc/passwd", "b": 7}}', "names ../../etc/passwd, which is not there, nor 1 oth"),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_an_odd_index_leaves_the_architecture(
    hub: StandInHub, stack_of: StackOf, tmp_path: Path, index: bytes, words: str
) -> None:
    files = {**checkpoints.sharded(), INDEX: index}
    shapes, notes = ask(stack_of(source(hub, files), put(tmp_path / "model", files)))
    assert len(shapes) == 2
    assert all(shape.stored is None for shape in shapes.values())
    assert all(words in note.text and "by architecture" in note.text for note in notes)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "8 bytes of length"),
        (b"version https://git-lfs.github.com/spec/v1", "not a safetensors file"),
        (checkpoints.file(checkpoints.tensors())[:500], "needs"),
        (b"\x0d" + bytes(7) + b'{"a": "odd"} ', "without type or shape"),
        (b"\x22" + bytes(7) + b'{"a":{"dtype":"U8","shape":[-10]}}', "without type or shape"),
    ],
)
def test_broken_weights_leave_the_architecture(stack_of: StackOf, tmp_path: Path, content: bytes, words: str) -> None:
    shapes, (note,) = ask(stack_of(put(tmp_path / "model", {**checkpoints.whole(), "model.safetensors": content})))
    (shape,) = shapes.values()
    assert shape.stored is None
    assert words in note.text


@pytest.mark.parametrize(
    "config", [b"", b"7", b"{}", b'{"hidden_size": "x"}', b'{"text_config": []}', b"\xff", b"[" * 100_000]
)
def test_an_odd_configuration_leaves_the_catalogue(stack_of: StackOf, tmp_path: Path, config: bytes) -> None:
    shapes, (note,) = ask(stack_of(put(tmp_path / "model", {**checkpoints.whole(), "config.json": config})))
    assert shapes == {}
    assert "config.json" in note.text
    assert "what the catalogue knows of it is taken" in note.text


def test_other_formats_are_counted_by_architecture(stack_of: StackOf, tmp_path: Path) -> None:
    files = {"config.json": checkpoints.whole()["config.json"], "pytorch_model.bin": b"p"}
    shapes, (note,) = ask(stack_of(put(tmp_path / "model", files)))
    assert len(shapes) == 1
    assert note.text == "it has no safetensors files; weights are counted by architecture"


def test_a_folder_that_is_half_there_is_not_taken_for_a_model(stack_of: StackOf, tmp_path: Path) -> None:
    files = checkpoints.sharded()
    for name in (INDEX, "consolidated.safetensors", "model-00002-of-00003.safetensors"):
        del files[name]
    shapes, (note,) = ask(stack_of(put(tmp_path / "model", files)))
    assert next(iter(shapes.values())).stored is None
    assert "has not all 3 parts of model" in note.text


def test_a_second_copy_is_not_counted(stack_of: StackOf, tmp_path: Path) -> None:
    files = {name: content for name, content in checkpoints.sharded().items() if name != INDEX}
    shapes, notes = ask(stack_of(put(tmp_path / "model", files)))
    assert notes == ()
    assert stored(next(iter(shapes.values()))) == checkpoints.size(checkpoints.tensors())


def test_nothing_is_asked_for_a_cpu(hub: StandInHub, stack_of: StackOf, tmp_path: Path) -> None:
    found = source(hub, checkpoints.whole())
    assert ask(stack_of(found, put(tmp_path / "model", checkpoints.whole()), gpus=None)) == ({}, ())
    assert hub.asked == []


def test_a_missing_folder_is_a_warning(stack_of: StackOf, tmp_path: Path) -> None:
    shapes, (note,) = ask(stack_of({"path": str(tmp_path / "none")}))
    assert shapes == {}
    assert note.severity is Severity.WARNING
    assert note.where == "models.m0.source"


def test_two_commits_of_one_repository_are_counted_as_the_larger(hub: StandInHub, stack_of: StackOf) -> None:
    small = source(hub, checkpoints.whole(tie_word_embeddings=True))
    large = source(hub, checkpoints.whole())
    shapes, (note,) = ask(stack_of(small, large))
    assert stored(shapes["org/tiny"]) == checkpoints.size(checkpoints.tensors())
    assert (
        f"two commits of org/tiny differ in size; both are counted as org/tiny at {large['revision'][:8]}" in note.text
    )


def test_float32_weights_are_loaded_in_sixteen_bits(stack_of: StackOf, tmp_path: Path) -> None:
    """Where only the total of the index is known, it is that of the files and not of what is loaded."""
    files = sharded_without_parts(torch_dtype="float32")
    shapes, _ = ask(stack_of(put(tmp_path / "model", files)))
    assert next(iter(shapes.values())).stored is None


def sharded_without_parts(**changes: str) -> dict[str, bytes]:
    files = checkpoints.sharded(**changes)
    total = json.loads(files[INDEX])
    return {"config.json": files["config.json"], INDEX: json.dumps(total).encode()}
