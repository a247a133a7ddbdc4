"""How the built-in model ``home10`` was made: small networks that learn ten sounds, with a teacher and without.

python examples/train_home10.py --data ESC-10 [--weights mn04_as_mAP_432.pt] [--folder runs/home10]

Each step is a command of audiotag, printed as it is run; the page docs/recipe_esc10.md goes through them. A step that
is complete is not run again, and one that was interrupted goes on. On one core it takes two to three hours.

1. `prepare`: ESC-10 at the networks' sample rate.
2. `teachers`: for each fold, a head on the frozen mn04_as that has not seen that fold.
3. `students`: two widths, each with and without its teacher, cross-validated.
4. `final`: the student that did best, on all clips.
5. `export`: weights, classes, results and credits, as the plugin ships them.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path

import pandas as pd

TEACHER = "mn04_as"
WIDTHS: Mapping[str, float] = {"mn01": 0.1, "mn02": 0.2}

# A quarter of mn's usual spectrogram (half the bands, half the frames), and one stride less to make up for it.
STUDENT = ("--backbone", "mn", "--option", "n_mels=64", "--option", "hop_size=640", "--option", "strides=1,2,2,2")
TRAINING = (
    *("--option", "norm_momentum=0.1", "--learning-rate", "2e-3", "--batch-size", "16"),
    *("--frequency-mask", "8", "--time-mask", "40", "--workers", "0"),
)
TEMPERATURE = "4"

CREDIT = re.compile(
    r"\*\*\[(?P<clip>[^]]+)\.ogg\]\S*:\s+clip derived from \[(?P<title>.*)\]\((?P<address>http\S*)\) "
    r"by \*(?P<author>.*)\* \(\[(?P<licence>[^]]+)\]"
)
"""A line of ESC-10's own list of credits."""


def audiotag(*arguments: str | Path) -> None:
    """Run a command of audiotag, and print it first."""
    words = [str(argument) for argument in arguments]
    print("$", shlex.join(["audiotag", *words]), flush=True)
    subprocess.run([str(Path(sys.executable).with_name("audiotag")), *words], check=True)


def student(name: str, data: Path, epochs: int, teacher: Path | None = None) -> Sequence[str | Path]:
    """What `finetune` is told to make a student of the width called *name*."""
    taught = () if teacher is None else ("--teacher", teacher, "--temperature", TEMPERATURE)
    width = ("--option", f"width_mult={WIDTHS[name]}")
    return (*STUDENT, *width, *TRAINING, "--epochs", str(epochs), "--train", data, *taught)


def cross_validate(folder: Path, data: Path, epochs: int, weights: Sequence[str | Path]) -> pd.DataFrame:
    """Teachers and students, fold by fold; one row an arm with its accuracies after the last epoch."""
    teachers = folder / "teachers"
    if not (teachers / "folds.csv").exists():
        frozen = ("--backbone", TEACHER, *weights, "--freeze-backbone", "--workers", "0")
        audiotag("finetune", *frozen, "--train", data, "--cross-validate", "--output", teachers)
    arms = {f"{TEACHER}, head alone": teachers}
    for name in WIDTHS:
        for word, teacher in (("alone", None), ("taught", teachers)):
            run = folder / f"{name}_{word}"
            if not (run / "folds.csv").exists():
                audiotag("finetune", *student(name, data, epochs, teacher), "--cross-validate", "--output", run)
            arms[f"{name}, {word}"] = run
    rows = []
    for arm, run in arms.items():
        table = pd.read_csv(run / "folds.csv")
        accuracies = {f"fold {row.fold}": row.val_accuracy for row in table.itertuples() if row.fold != "mean"}
        means = table[table.fold == "mean"].iloc[0]
        rows.append({"model": arm, **accuracies, "accuracy": means.val_accuracy, "mAP": means.val_mAP})
    return pd.DataFrame(rows)


def train_on_all(folder: Path, data: Path, epochs: int, classes: Path) -> Path:
    """The student that did best (cross-validated: mn02 without a teacher), on all clips; none is left to measure it."""
    final = folder / "final"
    if (final / "run.json").exists():
        audiotag("finetune", "--resume", final)
    else:
        everything = ("--val-fraction", "0", "--labels", classes)
        audiotag("finetune", *student("mn02", data, epochs), *everything, "--output", final)
    return final


def credits_of(attribution: Path, clips: Sequence[str]) -> str:
    """Title, author and licence of the recording that each of *clips* was cut from, as CSV."""
    known = {
        found["clip"]: found for line in attribution.read_text("utf-8").splitlines() if (found := CREDIT.search(line))
    }
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    columns = ("title", "author", "licence", "address")
    table.writerow(("clip", *columns))
    for clip in sorted(clips):
        table.writerow((clip, *(known[clip.rpartition("-")[0]][column] for column in columns)))
    return buffer.getvalue()


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="ESC-10: its CSV, ATTRIBUTION.md and the folder audio")
    parser.add_argument("--weights", type=Path, help=f"file of {TEACHER}; without it, it is downloaded")
    parser.add_argument("--folder", type=Path, default=Path("runs/home10"), help="everything that is made")
    parser.add_argument("--epochs", type=int, default=120, help="of every student")
    options = parser.parse_args()

    folder: Path = options.folder
    data = folder / "esc10"
    if not (data / "clips.json").exists():
        audiotag("data", "prepare", "esc10", options.data, "--output", data, "--sample-rate", "32000")
    weights = () if options.weights is None else ("--weights", options.weights)
    results = cross_validate(folder, data, options.epochs, weights)
    print(results.to_string(index=False, float_format="{:.4f}".format))
    with as_file(files("audiotag_mobilenet_baseline") / "home10" / "classes.csv") as classes:
        final = train_on_all(folder, data, options.epochs, classes)

    shipped = folder / "home10"
    shipped.mkdir(exist_ok=True)
    shutil.copyfile(final / "last" / "model.safetensors", shipped / "home10.safetensors")
    results.to_csv(shipped / "cross_validation.csv", index=False, float_format="%.4f")
    clips = [Path(name).stem for name in pd.read_csv(next(options.data.glob("*.csv"))).filename]
    (shipped / "credits.csv").write_text(credits_of(options.data / "ATTRIBUTION.md", clips), encoding="utf-8")
    print(f"To ship: {shipped}")


if __name__ == "__main__":
    main()
