"""Our PPO against TRL 1.12's PPOTrainer: same model, prompts, reward and price of KL, equal CPU.

Run it after `shelftalk sft CONFIG` (it runs what is missing), from the repository's root:

    python -m experiments.benchmarks.against_trl CONFIG --out runs/demo --rival ~/trl112

``--rival`` is a folder for the virtual environment of TRL 1.12, which is made there if need be
(about 1 GB, a package index is needed; so this is not among the `bench` subjects and not in CI).

For each seed our PPO trains with the config's settings. TRL's trainer then gets as many CPU
seconds, its rewards included: a first short training says how long its cycle takes, and its
learning rate falls to zero over as many cycles as fit. Learning rate and epochs are tried on the
first seed (`TRIED`), and the setting that earned most there is used for the others, which is to its
advantage. Both writers
then write for the same held-out prompts, and one table judges them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from envs.errors import UserError
from envs.files import read_json, write_json
from experiments.algorithms import cell_stage, compare_algorithms, source_files
from experiments.algorithms_bench import CELL_SECTIONS, TABLE_SECTIONS, open_bench
from experiments.algorithms_names import BASELINE, FOLDER, cell_name
from experiments.algorithms_table import Cell, as_markdown, make_table
from experiments.algorithms_write import by_sampling
from experiments.commands.common import ConfigFile, Overrides, limit_threads, read_config
from experiments.console import Console
from experiments.held_out_lift import worth
from experiments.measure_panel import Said
from experiments.shop_training import training_rows
from experiments.stages import Stage, StageContext, run_stages
from policies.reasoner.generate import load_reasoner
from rewards.mix import RewardMix
from sft.base_model import decode_completions, encode_prompts

#: (learning rate, epochs) of TRL's trainer: ours, DESIGN's steady one, TRL's own four epochs.
TRIED = ((8e-4, 1), (2e-4, 1), (2e-4, 4))
#: Cycles that say how long a cycle takes.
_TIMED = 3
_RIVAL = Path(__file__).with_name("against_trl_rival.py")
#: What the other environment shares with this one, in this one's versions.
_SHARED = ("torch", "transformers", "peft", "datasets", "accelerate")


def against_trl(
    config: ConfigFile,
    out: Annotated[Path, typer.Option(help="The run folder.")],
    rival: Annotated[Path, typer.Option(help="Folder of TRL 1.12's virtual environment.")],
    seeds: Annotated[int, typer.Option(min=1, help="How often each is trained.")] = 3,
    overrides: Overrides = None,
) -> None:
    """Train both, write for the held-out prompts, print the table."""
    settings, console = read_config(config, overrides, None), Console()
    limit_threads()
    python = rival_python(rival, console)
    # Our cells are those of `shelftalk compare`: whatever that has finished is kept.
    compare_algorithms(settings, settings, out, ("ppo",), seeds, console)
    places = [(name, seed) for name in (BASELINE, "ppo") for seed in range(seeds)]
    stages = [cell_stage(out, name, seed) for name, seed in places]
    stages += [_rival_stage(out, python, seed) for seed in range(seeds)]
    stages.append(_table_stage(out, [*places, *(("trl", seed) for seed in range(seeds))]))
    run_stages(stages, settings, out / FOLDER, until="against_trl", console=console)
    print((out / FOLDER / "against_trl" / "table.md").read_text(encoding="utf-8"), end="")


def rival_python(folder: Path, console: Console) -> Path:
    """Return the Python that has TRL 1.12; make its environment first where there is none."""
    python = folder / "bin" / "python"
    if not python.exists():
        console.say(f"making {folder} with TRL 1.12")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pins = [f"{name}=={version(name).partition('+')[0]}" for name in _SHARED]
        install = [str(python), "-m", "pip", "install", "--quiet", "trl==1.12.*", *pins]
        subprocess.run(install, check=True)
    found = subprocess.run(
        [str(python), "-c", "import trl; print(trl.__version__)"], capture_output=True, text=True
    )
    if not found.stdout.startswith("1.12."):
        raise UserError(
            f"--rival {folder}: needs TRL 1.12, but has {found.stdout.strip() or 'none'}; give a "
            "new folder and it is made there."
        )
    return python


def _rival_stage(run: Path, python: Path, seed: int) -> Stage:
    needs = [cell_name("ppo", seed)] + ([cell_name("trl", 0)] if seed else [])
    return Stage(
        cell_name("trl", seed),
        lambda context: _run_rival(context, run, python, seed),
        sections=CELL_SECTIONS,
        needs=tuple(needs),
        files=source_files(run),
    )


def _run_rival(context: StageContext, run: Path, python: Path, seed: int) -> dict[str, Any]:
    """Train TRL's writer for our CPU seconds; let it write for the panel."""
    bench = open_bench(context.config, run)
    ours = context.inputs[cell_name("ppo", seed)]
    seconds = context.metrics_of(cell_name("ppo", seed))["train_cpu_seconds"]
    tried = TRIED if seed == 0 else [context.metrics_of(cell_name("trl", 0))["setting"]]
    rows = training_rows(bench.shop.visitors, bench.corpus, np.random.default_rng(context.seed))
    # Our trainer's base is the SFT writer in one piece, which is what TRL starts from too.
    _, tokenizer = load_reasoner(ours)
    prompts = encode_prompts(tokenizer, [row["prompt"] for row in rows])
    write_json(context.work / "prompts.json", prompts)

    untouched = bench.home.state()

    def trained(setting: Sequence[float], cycles: int, folder: Path) -> dict[str, Any]:
        bench.home.load(untouched)
        told = _told(context, ours / "base", setting, cycles, folder, seed)
        return _train(python, told, tokenizer, rows, bench.home)

    found = []
    for number, setting in enumerate(tried):
        timed = trained(setting, _TIMED, context.work / f"timed{number}")["cpu_seconds"]
        each = (timed[-1] - timed[0]) / (_TIMED - 1)
        cycles = max(1, int(seconds / each))
        context.say(f"TRL 1.12, rate {setting[0]:g}, {setting[1]} epochs: {cycles} cycles")
        folder = context.work / f"tried{number}"
        done = trained(setting, cycles, folder)
        shutil.copytree(ours / "base", folder / "base", dirs_exist_ok=True)
        written = by_sampling(bench, folder, context.config.ppo, context.seed)
        earned = float(worth(bench.home, bench.panel, written.said.texts).mean())
        context.say(f"  earns {earned:.6f} an impression after {done['cpu_seconds'][-1]:.0f} CPU s")
        found.append((earned, setting, cycles, done["cpu_seconds"][-1], written))
    earned, setting, cycles, spent, written = max(found, key=lambda one: one[0])
    said = written.said
    write_json(context.out / "said.json", {"own": said.texts, "other": said.other_texts})
    texts = len(said.texts) + len(said.other_texts)
    return {
        "setting": list(setting), "cycles": cycles, "train_cpu_seconds": spent, "kl": written.kl,
        "cpu_ms_per_text": 1000 * written.cpu_seconds / texts,
        "tried": [{"setting": list(one[1]), "cycles": one[2], "reward": one[0]} for one in found],
    }  # fmt: skip


def _told(
    context: StageContext, base: Path, setting: Sequence[float], cycles: int, out: Path, seed: int
) -> dict[str, Any]:
    ppo = context.config.ppo
    out.mkdir(parents=True, exist_ok=True)
    return {
        "base": str(base), "out": str(out), "prompts": str(context.work / "prompts.json"),
        "threads": torch.get_num_threads(), "cycles": cycles, "completions": ppo.completions,
        "minibatches": ppo.minibatches, "max_new_tokens": ppo.max_new_tokens,
        "temperature": ppo.temperature, "kl": ppo.kl_coefficient, "learning_rate": setting[0],
        "epochs": int(setting[1]), "lora_r": ppo.lora_r, "lora_alpha": ppo.lora_alpha, "seed": seed,
    }  # fmt: skip


def _train(
    python: Path, told: dict[str, Any], tokenizer: Any, rows: Sequence[dict[str, Any]],
    mix: RewardMix,
) -> dict[str, Any]:  # fmt: skip
    """Run the rival to its end, and answer what it asks."""
    its_input, answers = os.pipe()
    questions, its_output = os.pipe()
    log = Path(told["out"]) / "rival.log"
    with log.open("w", encoding="utf-8") as said:
        child = subprocess.Popen(
            [str(python), str(_RIVAL), json.dumps(told | {"read": its_input, "write": its_output})],
            pass_fds=(its_input, its_output), stdout=said, stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(told["threads"]), "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
        os.close(its_input)
        os.close(its_output)
        with os.fdopen(questions) as heard, os.fdopen(answers, "w") as answer:
            for line in heard:
                asked, started = json.loads(line), time.process_time()
                own = [rows[row] for row in asked["rows"]]
                # As in our own training, the wording is learned from what the policy writes.
                scored = mix.learn(
                    [row["item"] for row in own], [row["segment"] for row in own],
                    decode_completions(tokenizer, asked["tokens"]),
                )  # fmt: skip
                spent = time.process_time() - started
                told_back = {"rewards": scored.total.tolist(), "cpu": spent}
                print(json.dumps(told_back), file=answer, flush=True)
    if child.wait():
        last = log.read_text(encoding="utf-8").strip().splitlines()[-1:]
        raise UserError(f"TRL 1.12's trainer failed ({' '.join(last)}); its words are in {log}.")
    return read_json(Path(told["out"]) / "rival.json")


def _table_stage(run: Path, places: Sequence[tuple[str, int]]) -> Stage:
    def table(context: StageContext) -> dict[str, Any]:
        bench, cells = open_bench(context.config, run), []
        for algorithm, seed in places:
            name = cell_name(algorithm, seed)
            said = read_json(context.inputs[name] / "said.json")
            cells.append(
                Cell(algorithm, seed, Said(said["own"], said["other"]), context.metrics_of(name))
            )
        found = make_table(bench, cells, context.progress)
        (context.out / "table.md").write_text(as_markdown(found), encoding="utf-8")
        return found

    return Stage(
        "against_trl",
        table,
        sections=TABLE_SECTIONS,
        needs=tuple(cell_name(*place) for place in places),
        files=source_files(run),
    )


if __name__ == "__main__":
    try:
        typer.run(against_trl)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
