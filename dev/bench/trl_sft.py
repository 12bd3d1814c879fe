"""One process of TRL's SFTTrainer for ``dev.bench.training``, set up as close to ours as it goes.

It gets tokenised rows, plain distributed data parallel over gloo, the same dtype, LoRA of the same rank, and
no gradient checkpointing (TRL's default, which would make it slower still). With ``pack_tokens`` in the job,
its own packing fills sequences of so many tokens, best fit first, and as many rows are trained as by ours."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Train as the job file says, and write what was measured."""
    import datasets
    from peft import LoraConfig
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    job = json.loads(Path(sys.argv[1]).read_text())
    seconds: list[float] = []
    cpu_seconds: list[float] = []
    losses: list[float] = []
    tokens: list[int] = []
    first_step: list[float] = []

    class Measure(TrainerCallback):  # type: ignore[misc]
        started = cpu_started = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started, self.cpu_started = time.perf_counter(), time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter() - self.started)
            cpu_seconds.append(time.process_time() - self.cpu_started)
            if not first_step:
                first_step.append(time.time() - _process_start())

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                losses.append(logs["loss"])
                tokens.append(int(logs["num_tokens"]))  # since the beginning, over all processes

    if pack := job["pack_tokens"]:
        batches = {
            "packing": True,
            "packing_strategy": "bfd",
            "eval_packing": False,
            "max_length": pack,
            "per_device_train_batch_size": 1,
            "num_train_epochs": job["epochs"],
        }
    else:
        batches = {
            "dataset_kwargs": {"skip_prepare_dataset": True},
            "max_length": None,
            "per_device_train_batch_size": job["rows_per_pass"],
            "gradient_accumulation_steps": job["rows_per_process"] // job["rows_per_pass"],
        }
    trainer = SFTTrainer(
        model=job["model"],
        args=SFTConfig(
            output_dir=str(Path(job["result"]).with_name(f"trl-{os.environ['RANK']}")),
            max_steps=job["steps"] or -1,
            per_device_eval_batch_size=job["rows_per_process"],
            learning_rate=job["learning_rate"],
            lr_scheduler_type="cosine",
            warmup_steps=0.03,
            seed=job["seed"],
            bf16=job["dtype"] == "bfloat16",
            use_cpu=True,
            gradient_checkpointing=False,
            model_init_kwargs={"dtype": job["dtype"]},
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            **batches,
        ),
        train_dataset=datasets.Dataset.from_list(job["rows"]),
        eval_dataset=datasets.Dataset.from_list(job["held_out"]),
        processing_class=AutoTokenizer.from_pretrained(job["model"]),
        peft_config=LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear"),
        callbacks=[Measure()],
    )
    trainer.train()
    validation_loss = trainer.evaluate()["eval_loss"]
    if os.environ["RANK"] == "0":
        steps = [after - before for before, after in zip([0, *tokens], tokens, strict=False)]
        Path(job["result"]).write_text(
            json.dumps(
                {
                    "tokens": steps,
                    "seconds": seconds,
                    "cpu_seconds": cpu_seconds,
                    "losses": losses,
                    "validation_loss": validation_loss,
                    "first_step_seconds": first_step[0],
                }
            )
        )


def _process_start() -> float:
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - (uptime - ticks / os.sysconf("SC_CLK_TCK"))


if __name__ == "__main__":
    main()
