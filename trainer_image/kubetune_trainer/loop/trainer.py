"""The training loop: HF Trainer with our batches, loss, evaluation, checkpoints and stop.

HF Trainer keeps the loop, the optimizer, the schedule and the resume. Its private methods that are
overridden or called here are those of the pinned minor version."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from typing_extensions import override

from ..artifact.epochs import EpochAdapters
from ..contract.config import ScheduleConfig
from ..contract.errors import DataInvalid, NumericalFailure
from ..data.sampler import Batching, TrainSteps
from ..gang.peers import Peers
from ..gang.stop import StopFlag
from ..methods.method import Batch, Loss, Method, Row
from .best import Best, BestWeights
from .checkpoint_files import HashedFiles
from .evaluation import Evaluation, Score
from .guards import Guards
from .journal import Journal
from .peak_memory import peak_bytes
from .prepared_rows import Passes, Rows
from .saving import Saver
from .schedule import factor


@dataclass(slots=True, frozen=True, kw_only=True)
class Attempt:
    """What one attempt needs beside the model."""

    peers: Peers
    batching: Batching
    schedule: ScheduleConfig
    stop: StopFlag
    method: Method
    train: Rows
    evaluation: Evaluation | None
    """None without validation rows."""
    best: BestWeights | None
    """Where the best weights are chosen."""
    epochs: EpochAdapters | None
    """Of an adapter."""
    guards: Guards
    stops_on_divergence: bool
    from_base: bool
    """Whether training begins with the base model, and not at a checkpoint: then the base is scored."""
    saver: Saver
    tokens: int
    """Tokens of the steps before this attempt."""
    journal: Journal | None
    """On rank 0 only."""
    stepped: Callable[[int], None]
    """Told of every step that is done."""


class FineTuner(Trainer):
    """HF Trainer on prepared rows; the loss is the mean over the weight of the global batch."""

    def __init__(self, model: Any, args: TrainingArguments, attempt: Attempt) -> None:
        super().__init__(model=model, args=args, callbacks=[_Steps(self, attempt)])
        self.control: Any
        self.lr_scheduler: Any
        self.remove_callback(PrinterCallback)
        self.loss_is_scaled_for_ga = True
        self.tokens = attempt.tokens
        self._base_is_due = attempt.from_base
        self._attempt = attempt
        self._metrics = {
            name: torch.zeros((), dtype=torch.float64, device=attempt.peers.device)
            for name in attempt.method.metrics
        }
        self._weight = self._step_tokens = self._peak = 0
        self._started = time.perf_counter()
        self.train_steps = TrainSteps(
            attempt.train.lengths, attempt.batching, rank=attempt.peers.rank, seed=args.seed
        )

    @override
    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        schedule = self._attempt.schedule
        if self.lr_scheduler is None:
            given: Any = optimizer or self.optimizer
            self.lr_scheduler = LambdaLR(given, lambda step: factor(schedule, step, num_training_steps))
        return self.lr_scheduler

    @override
    def get_train_dataloader(self) -> Any:
        # Not through accelerate: it would cut the batches for the ranks once more, and repeat rows to
        # even them.
        passes: Any = Passes(self._attempt.train)
        steps: Any = self.train_steps
        return DataLoader(passes, batch_sampler=steps, collate_fn=self._collate)

    def _collate(self, passes: list[list[Row]]) -> list[Batch]:
        return [self._attempt.method.collate(rows) for rows in passes]

    @override
    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> int:
        """Weight of the global batch: called with a step's passes before it."""
        self._started = time.perf_counter()
        size = self._attempt.method.size(list(itertools.chain(*batch_samples)))
        self._weight, self._step_tokens = self._attempt.peers.sum([size.weight, size.tokens])
        if not self._weight:
            raise DataInvalid(
                f"Nothing is learned in step {self.state.global_step + 1}: none of its rows has a token to "
                "learn. Prepare makes no such rows; delete prepared/ of this run, and it is made again."
            )
        return self._weight

    @override
    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Run a step's forward passes; only after the last one weights change."""
        passes: list[Batch] = inputs
        losses = []
        for index, batch in enumerate(passes):
            self.accelerator.gradient_state._set_sync_gradients(index == len(passes) - 1)
            losses.append(super().training_step(model, batch, num_items_in_batch))
        return torch.stack(losses).sum()

    @override
    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        found = self._attempt.method.loss(model, inputs)
        for name, value in found.metrics.items():
            self._metrics[name] += value
        # Gradients are averaged over the ranks, and the loss must be the mean over all of their rows.
        return found.total * (self._attempt.peers.world_size / num_items_in_batch)

    @override
    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # it walks all parameters at every micro-batch, for a number that nobody reads

    @override
    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" not in logs:
            return  # the summary at the end
        step, loss = self.state.global_step, logs["loss"]
        # At ZeRO stage 0 in float32 DeepSpeed does not tell the gradient's norm; a NaN is -1 for it.
        norm = {"grad_norm": logs["grad_norm"]} if logs.get("grad_norm") is not None else {}
        if not all(map(math.isfinite, (loss, *norm.values()))) or any(value < 0 for value in norm.values()):
            told = f" and the gradient's norm {norm['grad_norm']}" if norm else ""
            raise NumericalFailure(
                f"Step {step}: the loss is {loss}{told}. Lower learningRate "
                f"(now {self.args.learning_rate}), or look for odd rows; earlier checkpoints are intact."
            )
        metrics = self._step_metrics()
        # The kernel's own peak of a process may fall by some pages: it adds up what each core has counted.
        self._peak = max(self._peak, peak_bytes(self._attempt.peers.device) or 0)
        peak = self._attempt.peers.largest(self._peak)
        self.tokens += self._step_tokens
        self._attempt.stepped(step)
        diverges = self._attempt.guards.observe(step, loss, norm.get("grad_norm"))
        if self._attempt.journal is not None:
            self._attempt.journal.stepped(
                tokens=self._step_tokens,
                seconds=time.perf_counter() - self._started,
                values={
                    "step": step,
                    "epoch": round(self.state.epoch or 0.0, 4),
                    "loss": loss,
                    **metrics,
                    "learning_rate": logs["learning_rate"],
                    **norm,
                    **({"memory_peak_bytes": peak} if peak else {}),
                },
                diverges=diverges,
            )
        if diverges is not None and self._attempt.stops_on_divergence:
            raise NumericalFailure(
                f"{diverges} Learning diverges, and training.onDivergence is Stop. Lower learningRate (now "
                f"{self.args.learning_rate}), or look for odd rows; earlier checkpoints are kept."
            )

    def _step_metrics(self) -> dict[str, float]:
        """Means over the global batch of the step that is done."""
        sums = self._attempt.peers.sum([float(total) for total in self._metrics.values()])
        for total in self._metrics.values():
            total.zero_()
        return {name: total / self._weight for name, total in zip(self._metrics, sums, strict=True)}

    @override
    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the validation rows of all looks that are due."""
        metrics: dict[str, float] = {}
        for step in self.due_looks():
            assert self._attempt.evaluation is not None
            sample = self._look(step, whole=self._attempt.evaluation.plan.scores_all(step))
            if sample is None:  # the ranks have agreed to stop
                self.control.should_training_stop = True
                self.control.should_evaluate = self.control.should_save = False
                return {}
            metrics = {"eval_loss": sample.mean_loss}
            self._offer(step, sample)
        self._base_is_due = False
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _offer(self, step: int, sample: Score) -> None:
        """Keep the weights if they are the best so far, or end training if better ones are not to be had."""
        best = self._attempt.best
        if best is None or step == 0:
            return
        kept = best.offer(self.model, Best(step=step, validation_loss=sample.mean_loss))
        if kept and self._attempt.journal is not None:
            self._attempt.journal.reports.found_best(step=step)
        if best.is_final(step):
            self.control.should_training_stop = self.control.should_save = True

    def score_again(self, step: int) -> None:
        """Score all rows with the weights of an earlier step, of which only the sample was scored then."""
        evaluation = self._attempt.evaluation
        if evaluation is not None and not evaluation.plan.scores_all(step):
            self._look(step, whole=True)

    def keep_epoch(self) -> None:
        """Keep the adapter where an epoch ends; the next attempt does it where this one has to stop."""
        epochs = self._attempt.epochs
        if epochs is not None and not self._attempt.stop.agreed:
            epochs.keep(self.model, self.state.global_step)

    def due_looks(self) -> list[int]:
        """Steps after which rows are to be scored now: 0, the base model, if nobody has, and the last."""
        evaluation, step = self._attempt.evaluation, self.state.global_step
        if evaluation is None:
            return []
        base = [0] if self._base_is_due else []
        return base + ([step] if step > 0 and evaluation.plan.due(step) else [])

    def _look(self, step: int, *, whole: bool) -> Score | None:
        """Score rows with the weights of a step, which for step 0 are the base's; return the sample's."""
        assert self._attempt.evaluation is not None
        started = time.perf_counter()
        self.model_wrapped.eval()
        is_lora = isinstance(self.model, PeftModel)
        with self.model.disable_adapter() if step == 0 and is_lora else nullcontext():
            scores = self._attempt.evaluation.score(self._score, whole=whole)
        if scores is None:
            return None
        sample, full = scores
        if self._attempt.journal is not None:
            seconds = time.perf_counter() - started
            self._attempt.journal.evaluated(step=step, sample=sample, full=full, seconds=seconds)
        return sample

    def _score(self, batch: Batch) -> Loss:
        return self._attempt.method.loss(self.model_wrapped, self._prepare_inputs(batch))

    @override
    def _run_epoch(self, **arguments: Any) -> None:
        step, best = self.state.global_step, self._attempt.best
        over = step >= self.state.max_steps or (best is not None and best.is_final(step))
        if self._attempt.stop.agreed or over:
            # Stopped while scoring before the first step; or resumed from the last step, in the middle of an
            # epoch. HF would do one step more.
            self.control.should_training_stop = True
            return
        super()._run_epoch(**arguments)

    @override
    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self._attempt.saver.save(self.state.global_step, tokens=self.tokens, write=self._write)

    def _write(self, directory: Path) -> dict[Path, str]:
        """Write this rank's files of a checkpoint; the SHA-256 of those that are large."""
        files = self.model_wrapped.checkpoint_engine = HashedFiles()
        self._save_optimizer_and_scheduler(str(directory))  # the weights too: DeepSpeed writes them together
        self._save_rng_state(str(directory))
        if self._attempt.peers.rank == 0:
            self.state.save_to_json(str(directory / "trainer_state.json"))
        return files.written


class _Steps(TrainerCallback):
    """What happens between steps: the order of rows, evaluation, checkpoints and the agreed stop."""

    def __init__(self, trainer: FineTuner, attempt: Attempt) -> None:
        self._trainer = trainer
        self._attempt = attempt

    @override
    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        torch.manual_seed(args.seed + self._attempt.peers.rank)  # every rank draws a dropout of its own
        self._attempt.stop.stepping()
        self._trainer.keep_epoch()  # of the checkpoint that the run goes on from, if it is not there

    @override
    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.train_steps.set_epoch(int(state.epoch or 0))

    @override
    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.keep_epoch()

    @override
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        stop, saver = self._attempt.stop, self._attempt.saver
        saves = state.global_step >= state.max_steps or saver.due(state.global_step)
        control.should_evaluate = bool(self._trainer.due_looks())
        # Nothing is saved where training stops with a look due, which the next attempt would leave out.
        seconds = None if control.should_evaluate else saver.interval.cost
        if stop.agree(self._attempt.peers, save=saves, save_seconds=seconds):
            control.should_training_stop = True
            control.should_evaluate = False
        control.should_save = stop.saves
