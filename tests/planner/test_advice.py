"""What original descriptions of the stacks have wrong or old is said in the plan of the stack that replaces them."""

from pathlib import Path

import pytest

from berth.planner.planning import plan
from berth.spec import load

STACKS = Path(__file__).parents[2] / "stacks"


@pytest.mark.parametrize(
    ("stack", "where", "words"),
    [
        ("rtx5090", "hosts.box.gpus", "545, which cannot drive it"),
        ("rtx5090", "hosts.box.gpus", "with open kernel modules"),
        ("rtx5090", "hosts.box.prerequisites.container_toolkit", "apt-key and the nvidia-docker repository"),
        ("rtx5090", "models.tinyllama.share", "of the card's total memory for each engine, not of what is left"),
        ("rtx5090", "models.tinyllama", "formulas with hidden_size give 8 times too much"),
        ("rtx5090", "models.yi.args.use_v2_block_manager", "is left out"),
        ("rtx5090", "models.yi.args.swap_space", "is left out"),
        ("rtx5090", "models.yi.args.disable_log_requests", "is left out"),
        ("rtx5090", "models.yi.measured", "16.8 GiB were measured, 14.6 GiB are planned"),
        ("rtx5090", "models.yi.measured", "what more was measured is not explained by either"),
        ("rtx5090", "models.qwen.measured", "8.2 GiB were measured, 8.3 GiB are planned"),
        ("rtx5090", "hosts.box gpu 0", "disturb each other, and a fixed pause between starts is a guess"),
        (
            "a40x2-tp2",
            "models.llama.share",
            "a fraction of the card's total memory for each engine, not of what is left",
        ),
        ("transformers", "models.qwen.task", "--task is deprecated"),
        ("tgi", "models.gpt2.engine", "maintenance mode since December 2025"),
        ("sglang", "models.qwen.engine.version", "images from 0.5.2 (September 2025) on have kernels"),
        ("openshift-ai", "clusters.ocp.display_name", "by the ServingRuntime's resource name"),
        ("openshift-ai", "clusters.ocp.display_name", "model.name stays empty"),
        ("openshift-ai", "clusters.ocp.mode", "annotations of Knative and Istio"),
    ],
)
def test_what_was_wrong_or_old_is_said(stack: str, where: str, words: str):
    notes = plan(load(STACKS / f"{stack}.yaml"), stack).notes
    assert any(note.where == where and words in note.text for note in notes), [str(note) for note in notes]


def test_what_is_not_built_yet_is_said_too(tmp_path: Path):
    file = tmp_path / "dev.yaml"
    file.write_text((STACKS / "dev.yaml").read_text() + "monitoring: {gpu: true}\n")
    decided = plan(load(file), "dev")
    where = "monitoring.gpu"
    assert [line.partition(":")[0] for line in decided.unbuilt] == [where]
    assert any(note.where == where for note in decided.notes)
