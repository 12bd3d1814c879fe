"""docs/first-steps.md is short, says what is in the example, and marks what no test runs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from dev.paths import REPOSITORY
from tests.support.first_steps import PAGE, Commands, commands

BLOCKS = list(commands())


def test_there_are_seven_steps() -> None:
    headings = re.findall(r"^## (\d)\. ", PAGE.read_text(), flags=re.MULTILINE)
    assert headings == list("1234567")


def test_what_is_not_run_is_said_with_its_reason() -> None:
    assert {block.text: block.not_run for block in BLOCKS if block.not_run} == {
        "export KUBETUNE_REGISTRY=registry.example.com/ml\nmake images\n": (
            "builds images, and needs a registry of your own"
        ),
        "aws s3 cp train.jsonl s3://my-data/intents/train.jsonl\n": "needs a bucket of your own",
    }


def test_no_block_of_the_page_is_overlooked() -> None:
    assert len(BLOCKS) == PAGE.read_text().count("```bash")
    assert PAGE.read_text().count("```") // 2 == sum(1 + (block.output is not None) for block in BLOCKS) + 1


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.section)
def test_commands_are_bash_and_name_files_that_are_there(block: Commands) -> None:
    subprocess.run(["bash", "-n", "-c", block.text], check=True)
    assert [
        name for name in re.findall(r"examples/[\w./-]+", block.text) if not (REPOSITORY / name).exists()
    ] == []


def test_the_job_that_the_page_shows_is_the_example() -> None:
    [shown] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert yaml.safe_load(shown) == yaml.safe_load((REPOSITORY / "examples" / "minimal.yaml").read_text())


def test_what_commands_print_is_compared_but_for_what_differs_each_time(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n## 1. Try\n\n```bash\ntrue\n```\n\n```text\nname   age ...\n```\n")
    [block] = commands(page)
    assert block == Commands(section="1. Try", text="true\n", output="name   age ...\n", not_run=None)
    assert [block.shows(printed) for printed in ("name age 7s\n", "name\n", "")] == [True, False, False]
