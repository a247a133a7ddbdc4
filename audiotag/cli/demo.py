"""``audiotag demo``: the whole job on made-up sounds."""

from __future__ import annotations

from pathlib import Path

import click

from audiotag.cli.command import Command
from audiotag.cli.options import device_option, option


@click.command(cls=Command, short_help="The whole job on made-up sounds: learn them, measure and tag.")
@option(
    "--output",
    type=Path,
    folder=True,
    default=Path("demo-output"),
    metavar="FOLDER",
    help="Where everything is written: a new folder, or an empty one.",
)
@option("--clips", type=click.IntRange(min=64), default=320, help="Number of made-up clips.")
@option("--epochs", least=1, default=30, help="Passes over the clips.")
@option("--seed", type=int, default=0, help="Random seed.")
@device_option
def demo(output: Path, clips: int, epochs: int, seed: int, device: str) -> None:
    """Synthesise household-like sounds, teach a small network to tag them, measure it, and tag a recording.

    It takes about two minutes, needs no download, and leaves its files for a look around.
    """
    import time

    import torch

    from audiotag.cli.training_display import RichReporter
    from audiotag.csv_text import frame_csv
    from audiotag.data.synthesis import write_set
    from audiotag.evaluation.evaluate import evaluate
    from audiotag.folders import check_new_folder
    from audiotag.inference.loading import load
    from audiotag.training.finetune import finetune

    check_new_folder(output)
    # So small a network learns faster on one thread than on two that wait for each other, above all on a busy machine.
    torch.set_num_threads(1)
    started = time.monotonic()
    click.echo(f"1. Making {clips} clips of eight sounds, alone and overlapping, in {output / 'data'}")
    data = write_set(output / "data", clips=clips, seed=seed)
    click.echo("2. Teaching a small MobileNet (mn, width 0.1) from scratch")
    result = finetune(
        "mn",
        data.train,
        val=data.val,
        labels=data.labels,
        output=output / "run",
        options={"width_mult": 0.1, "head_type": "fully_convolutional"},  # whose map of scores says when
        epochs=epochs,
        batch_size=8,
        seconds=3.0,
        learning_rate=5e-3,
        mixup_alpha=0.0,
        gain_db=3.0,
        frequency_mask=0,
        time_mask=0,
        seed=seed,
        device=device,
        reporter=RichReporter(),
    )
    click.echo("3. Measuring it on clips it has never heard")
    evaluation = evaluate(str(result.folder), data.test, device=device, output=output / "report")
    tagger = load(str(result.folder), device=device)
    click.echo(f"4. Finding when sounds are heard in a recording, from scores of frames of {tagger.frame_seconds:g} s")
    events = tagger.events(data.recording)
    events_file = output / "events.csv"
    events_file.write_text(frame_csv(events.to_frame()), encoding="utf-8", newline="")
    click.echo(events[:8])
    click.echo(
        f"\nHeld-out mAP {evaluation.summary['mAP']:.3f} after {time.monotonic() - started:.0f} s. What was written:"
    )
    for what, path in (
        ("labelled clips", data.train.parent),
        ("the model", result.folder),
        ("how it learned", result.folder / "log.csv"),
        ("how well it does", output / "report" / "report.html"),
        ("events of the recording", events_file),
        ("what is really in it", data.events),
    ):
        click.echo(f"  {what + ':':<25}{path}")
    click.echo(f"\nTry: audiotag infer {data.recording} --model {result.folder} --events")
