"""Trains the puzzle policy on the trajectories of make_data.

The learning rate is constant after the warm-up until 60 % of the steps and then falls linearly to
zero. With --minutes the number of steps is fixed when 60 % of the time is over; the run prints it,
and --steps with that number makes the same run again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import LlamaForCausalLM

from training.puzzles.eval_policy import evaluate_suites
from training.puzzles.export_policy import new_model, save_policy, write_card
from training.puzzles.make_data import PROMPT_LENGTH, STEP_STARTS

CONSTANT_SHARE = 0.6
WARM_UP_STEPS = 300
AVERAGE_DECAY = 0.998
# Where the three choices of each step stand among the solution tokens.
CHOICE_PLACES = [start + word - PROMPT_LENGTH for start in STEP_STARTS for word in range(3)]

Rows = dict[str, np.ndarray]


def batches(count: int, size: int, seed: int, skip: int) -> Iterator[np.ndarray]:
    """Row indices of batch after batch, every pass over the rows in a new order."""
    per_pass = count // size
    position = skip
    while True:
        order = np.random.default_rng([seed, position // per_pass]).permutation(count)
        for i in range(position % per_pass, per_pass):
            yield order[i * size : (i + 1) * size]
            position += 1


def batch_loss(model: LlamaForCausalLM, rows: Rows, index: np.ndarray) -> torch.Tensor:
    """Mean cross-entropy of the solution tokens of a batch, in nats.

    Where a word is a choice, the target is the exact distribution over the valid steps.
    """
    tokens = torch.from_numpy(rows["tokens"][index].astype(np.int64))
    choice_ids = torch.from_numpy(rows["choice_ids"][index].astype(np.int64))
    counts = torch.from_numpy(rows["choice_counts"][index].astype(np.float32))
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(tokens[:, :-1], use_cache=False).last_hidden_state
        # The prompt's last token, its line end, is the one that predicts the first operand.
        logits = model.lm_head(hidden[:, PROMPT_LENGTH - 1 :])
    log_probabilities = logits.float().log_softmax(-1)
    plain = log_probabilities.gather(-1, tokens[:, PROMPT_LENGTH:, None])[..., 0]
    places = torch.tensor(CHOICE_PLACES)
    chosen = log_probabilities[:, places].gather(-1, choice_ids)
    expected = (chosen * counts).sum(-1) / counts.sum(-1)
    keep = torch.ones(plain.shape[1])
    keep[places] = 0.0
    return -((plain * keep).sum() + expected.sum()) / plain.numel()


def rate_factor(step: int, steps: int | None) -> float:
    """The share of the peak learning rate at a step; `steps` is None while not yet fixed."""
    warm_up = min(1.0, (step + 1) / WARM_UP_STEPS)
    if steps is None or step < CONSTANT_SHARE * steps:
        return warm_up
    return warm_up * max(0.0, (steps - step) / ((1 - CONSTANT_SHARE) * steps))


def make_optimizers(model: torch.nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the embeddings and the norms.

    At equal steps the loss falls clearly faster than with AdamW alone, and steps are what an hour
    on a small machine is short of.
    """
    layers, others = [], []
    for name, parameter in model.named_parameters():
        matrix = parameter.dim() == 2 and "layers." in name
        (layers if matrix else others).append(parameter)
    return [
        torch.optim.Muon(layers, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


class ThreadChooser:
    """Keeps the number of threads that is fastest at the time.

    Where other work shares the cores, two threads that wait for each other can be slower than one.
    """

    _PERIOD = 400
    _TRIAL = 10

    def __init__(self, most: int) -> None:
        self._most = most
        self._times = [0.0] * most
        self._last = time.monotonic()

    def before_step(self, step: int) -> None:
        """Sets the number of threads: now and then a few steps with each, then the fastest."""
        now = time.monotonic()
        trial, place = divmod(step % self._PERIOD, self._TRIAL)
        if 0 < trial <= self._most and place == 0:
            self._times[trial - 1] = now - self._last
        if trial < self._most:
            torch.set_num_threads(trial + 1)
        elif trial == self._most and place == 0:
            torch.set_num_threads(self._times.index(min(self._times)) + 1)
        if place == 0:
            self._last = now


def averaged_state(average: AveragedModel) -> dict[str, torch.Tensor]:
    """The moving average of the weights as the state of a plain model."""
    return {name: value.clone() for name, value in average.module.state_dict().items()}


def train(arguments: argparse.Namespace, rows: Rows) -> tuple[dict[str, torch.Tensor], int, float]:
    """Runs the training; returns the averaged weights, the number of steps and the minutes."""
    model = new_model(arguments.seed).train()
    optimizers = make_optimizers(model, arguments.rate)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE_DECAY))
    step, steps, spent = 0, arguments.steps, 0.0
    if arguments.resume and arguments.checkpoint.exists():
        saved = torch.load(arguments.checkpoint)
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        step, steps, spent = saved["step"], saved["steps"], saved["spent"]
    start = last_log = last_save = time.monotonic()
    threads = ThreadChooser(arguments.threads)
    first_step, logged_step, losses = step, step, []
    early_saved = False
    for index in batches(len(rows["tokens"]), arguments.batch, arguments.seed, step):
        now = time.monotonic()
        minutes = (spent + now - start) / 60
        if steps is None and minutes >= CONSTANT_SHARE * arguments.minutes:
            steps = round(step / CONSTANT_SHARE)
            print(f"number of steps fixed: {steps}", flush=True)
        if steps is not None and step >= steps:
            break
        threads.before_step(step)
        rate = arguments.rate * rate_factor(step, steps)
        loss = batch_loss(model, rows, index)
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        average.update_parameters(model)
        step += 1
        losses.append(loss.item())
        if step % 100 == 0:
            speed = (step - logged_step) * arguments.batch / (now - last_log + 1e-9)
            print(
                f"step {step} minutes {minutes:.1f} loss {np.mean(losses):.4f} "
                f"rate {rate:.2e} rows/s {speed:.0f} "
                f"tokens/s {speed * rows['tokens'].shape[1]:.0f} threads {torch.get_num_threads()}",
                flush=True,
            )
            logged_step, last_log, losses = step, now, []
        if not early_saved and minutes >= arguments.early_minutes:
            save_policy(averaged_state(average), arguments.early)
            early_saved = True
        if now - last_save > 180 and step > first_step:
            save_policy(averaged_state(average), arguments.latest)
            state = {
                "model": model.state_dict(),
                "average": average.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "step": step,
                "steps": steps,
                "spent": spent + now - start,
            }
            partial = arguments.checkpoint.with_suffix(".partial")
            torch.save(state, partial)
            partial.replace(arguments.checkpoint)
            last_save = now
    return averaged_state(average), step, (spent + time.monotonic() - start) / 60


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    build = Path("build/puzzles")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("search/bundled/countdown-policy"))
    parser.add_argument("--data", type=Path, default=build / "trajectories.npz")
    parser.add_argument("--rows-asked", type=int, default=1_200_000, help="for the card")
    parser.add_argument("--data-seed", type=int, default=0, help="for the card")
    parser.add_argument("--minutes", type=float, default=60.0, help="the time without --steps")
    parser.add_argument("--steps", type=int, help="the number of steps")
    parser.add_argument("--batch", type=int, default=64, help="rows in a step")
    parser.add_argument("--rate", type=float, default=2e-3, help="the peak learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="at most so many")
    parser.add_argument("--checkpoint", type=Path, default=build / "checkpoint.pt")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--early", type=Path, default=build / "policy-early")
    parser.add_argument("--early-minutes", type=float, default=10.0)
    parser.add_argument("--latest", type=Path, default=build / "policy-latest")
    parser.add_argument("--game24", type=Path, help="the Game of 24 CSV file to score with")
    parser.add_argument("--held-out", type=int, default=500, help="held-out puzzles to score with")
    parser.add_argument("--license", default="apache-2.0", help="for the card")
    return parser.parse_args()


def main() -> None:
    """Command line: trains, writes the model folder, scores it and writes its card."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    with np.load(arguments.data) as file:
        rows = {name: file[name] for name in file.files}
    state, steps, minutes = train(arguments, rows)
    save_policy(state, arguments.out)
    scores = evaluate_suites(arguments.out, arguments.held_out, arguments.game24)
    print(json.dumps(scores, indent=2), flush=True)
    facts = {
        "license": arguments.license,
        "parameters": sum(p.numel() for p in new_model(0).parameters()),
        "rows": len(rows["tokens"]),
        "minutes": minutes,
        "threads": arguments.threads,
        "steps": steps,
        "batch": arguments.batch,
        "tokens": steps * arguments.batch * rows["tokens"].shape[1] / 1e6,
        "rate": arguments.rate,
        "seed": arguments.seed,
        "warm_up": WARM_UP_STEPS,
        "rows_asked": arguments.rows_asked,
        "data_seed": arguments.data_seed,
        "out": arguments.out,
    }
    write_card(arguments.out, scores, facts)


if __name__ == "__main__":
    main()
