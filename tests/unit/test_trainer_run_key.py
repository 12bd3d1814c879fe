"""The run key: what trains another model changes it, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest

from kubetune_trainer.contract.config import TrainerConfig
from tests.support.trainer_configs import trainer_config


def config(**changes: Any) -> TrainerConfig:
    fields: dict[str, Any] = {"model": "hf://acme/m", "train": "pvc://data/train.jsonl", **changes}
    return trainer_config(**fields)


def adapter(**fields: Any) -> dict[str, Any]:
    return {"adapter": {"rank": 4, "alpha": 8, **fields}}


SAME: dict[str, dict[str, Any]] = {
    "more nodes": {"training": {"nodes": 4}},
    "GPUs": {"training": {"gpus_per_node": 2}},
    "another ZeRO stage": {"training": {"zero_stage": 3}},
    "checkpoints at other steps": {"training": {"checkpoint_every_steps": 7, "checkpoint_keep": 5}},
    "another collective timeout": {"training": {"collective_timeout_seconds": 60}},
    "the same learning rate written otherwise": {"training": {"learning_rate": "0.001"}},
    "the same warm-up written otherwise": {"training": {"schedule": {"warmup_ratio": "3e-2"}}},
    "the same dropout written otherwise": {"training": adapter(dropout="0.0")},
    "the default of a later field": {
        "training": {"weight_decay": "0.0", "max_grad_norm": "1.0", "select": {"strategy": "Last"}}
    },
    "what follows on leaks": {"dataset": {"on_leak": "Fail"}},
    "what follows on divergence": {"training": {"on_divergence": "Stop"}},
    "adapters of earlier epochs": {"training": {"keep_epochs": 2}},
    "another image": {"images": {"trainer": "trainer:2", "serving": "vllm:3"}},
    "other GPUs": {"gpu_type": "H200"},
    "larger GPUs": {"gpu_memory_bytes": 80_000_000_000},
    "another mirror": {"platform": {"hf_endpoint": "https://mirror.example", "ca_bundle": "/ca.pem"}},
    "web servers that are allowed": {"platform": {"https_data_hosts": ("a",), "https_data_max_bytes": 1}},
    "settings of the operator": {"operator": {"serving": {"replicas": 2}}},
    "another use case": {"use_case": "Answer customers."},
    "another namespace": {"namespace": "team-b"},
}

OTHER: dict[str, dict[str, Any]] = {
    "another model": {"model": "hf://acme/other"},
    "another revision": {"revision": "v2"},
    "other data": {"train": "pvc://data/other.jsonl"},
    "validation data": {"validation": "pvc://data/validation.jsonl"},
    "a validation fraction": {"dataset": {"validation_fraction": "0.1"}},
    "another format": {"dataset": {"format": "Chat"}},
    "other columns": {"dataset": {"columns": {"prompt": "text"}}},
    "a system prompt": {"dataset": {"system_prompt": "Be brief."}},
    "another longest row": {"dataset": {"max_length": 128}},
    "other treatment of long rows": {"dataset": {"on_too_long": "Truncate"}},
    "a chat template": {"dataset": {"chat_template": "{{ messages }}"}},
    "an argument of the chat template": {"dataset": {"chat_template_kwargs": {"enable_thinking": False}}},
    "another argument of it": {"dataset": {"chat_template_kwargs": {"enable_thinking": True}}},
    "a full fine-tune": {"training": {"adapter": {"type": "Full"}}},
    "another rank": {"training": adapter(rank=8)},
    "another alpha": {"training": adapter(alpha=16)},
    "dropout": {"training": adapter(dropout="0.1")},
    "4-bit weights": {"training": adapter(type="QLoRA")},
    "another scaling": {"training": adapter(use_rslora=True)},
    "other targets": {"training": adapter(target_modules=("q_proj",))},
    "more epochs": {"training": {"epochs": 2}},
    "weight decay": {"training": {"weight_decay": "0.01"}},
    "no clipping of gradients": {"training": {"max_grad_norm": "0"}},
    "the best weights": {"training": {"select": {"strategy": "Best"}}},
    "an end by patience": {"training": {"select": {"strategy": "Best", "patience": 2}}},
    "an end at a step": {"training": {"max_steps": 10}},
    "another batch": {"training": {"batch_size": 8}},
    "another learning rate": {"training": {"learning_rate": "2e-3"}},
    "another schedule": {"training": {"schedule": {"type": "Linear"}}},
    "another warm-up": {"training": {"schedule": {"warmup_ratio": "0.1"}}},
    "another seed": {"training": {"seed": 43}},
}


def test_when_rows_are_scored_decides_which_weights_are_the_best() -> None:
    often, seldom = (
        config(training={"select": {"strategy": "Best"}, "checkpoint_every_steps": every})
        for every in (10, 20)
    )
    assert often.run_key != seldom.run_key


@pytest.mark.parametrize("change", SAME)
def test_what_changes_only_how_a_run_goes_leaves_the_key(change: str) -> None:
    assert config(**SAME[change]).run_key == config().run_key


@pytest.mark.parametrize("change", OTHER)
def test_what_changes_the_result_changes_the_key(change: str) -> None:
    assert config(**OTHER[change]).run_key != config().run_key


def test_every_change_of_the_result_has_a_key_of_its_own() -> None:
    assert len({config(**change).run_key for change in OTHER.values()}) == len(OTHER)


def test_jobs_of_before_keep_their_key() -> None:
    assert config(dataset={"on_too_long": "Truncate"}).run_key == "e551c063c334e247"


def test_a_full_fine_tune_has_one_key_whatever_the_adapter_says() -> None:
    keys = {config(training={"adapter": {"type": "Full", "rank": rank}}).run_key for rank in (4, 16)}
    assert len(keys) == 1


ADOPTED: dict[str, dict[str, Any]] = {
    "an artifact": {"uri": "hf://acme/adapter"},
    "another artifact": {"uri": "hf://acme/other"},
    "a digest": {"uri": "hf://acme/adapter", "digest": f"sha256:{'0' * 64}"},
}


def test_every_artifact_that_is_adopted_has_a_key_of_its_own() -> None:
    keys = {config(adopt=adopt).run_key for adopt in ADOPTED.values()}
    assert len(keys | {config().run_key}) == len(ADOPTED) + 1


def test_an_adopted_artifact_has_one_key_wherever_it_is_mounted_and_whatever_training_says() -> None:
    adopt = ADOPTED["an artifact"]
    other = config(adopt={**adopt, "mount": "/inputs/artifact/a"}, training={"seed": 43})
    assert other.run_key == config(adopt=adopt).run_key


def test_rows_belong_to_the_key_of_an_adopted_artifact() -> None:
    adopt = ADOPTED["an artifact"]
    assert config(adopt=adopt, dataset={"max_length": 8}).run_key != config(adopt=adopt).run_key
