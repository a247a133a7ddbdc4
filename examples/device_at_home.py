"""A device in a home: it tags what it hears, is told now and then what a sound was, and does not forget.

python examples/device_at_home.py [--folder device]

Everything here is made up on the spot: a small network is taught six sounds "in the factory"; at home it hears two
that it has never heard, one kind after the other, and somebody names every second clip. The device keeps 24 clips as
embeddings. It is switched off in mid-evening and goes on. At the end it is asked about all sounds, beside a twin that
learnt in the same way but kept nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch

from audiotag import ClipStore, LabelSet, OnlineLearner, Tagger, finetune
from audiotag.continual import OnlineSettings, StreamClip, Waveform
from audiotag.data import demo_labels, mix_clip
from audiotag.models import Model, change_classes, load_checkpoint
from audiotag.seeding import numpy_generator

RATE = 32_000
SECONDS = 1.5
FACTORY = 6
"""Classes that the device knows when it is sold; two more come at home."""


def sound(mid: str, number: int, purpose: str) -> np.ndarray:
    """One clip of a class, float32 (samples,)."""
    generator = numpy_generator(0, purpose, mid, number)
    return mix_clip([mid], RATE, SECONDS, 1, generator)[:, 0].astype(np.float32)


def factory_model(folder: Path, labels: LabelSet) -> Path:
    """A network of 0.1 times the usual width, taught the first classes; returns its run folder."""
    for label in labels:
        (folder / "sounds" / label.mid.strip("/").replace("/", "_")).mkdir(parents=True)
        for number in range(16):
            place = folder / "sounds" / label.mid.strip("/").replace("/", "_") / f"{number}.wav"
            soundfile.write(place, sound(label.mid, number, "factory"), RATE)
    run = finetune(
        "mn",
        folder / "sounds",
        output=folder / "factory",
        options={"width_mult": 0.1},
        epochs=16,
        seconds=SECONDS,
        batch_size=8,
        learning_rate=5e-3,
        mixup_alpha=0.0,
        gain_db=3.0,
        frequency_mask=0,
        time_mask=0,
        device="cpu",
    )
    model = load_checkpoint(run.folder)
    print(f"In the factory: {len(labels)} sounds, validation accuracy {run.best['val_accuracy']:.2f}")
    return save_with_names(model, labels, folder / "device as sold")


def save_with_names(model: Model, labels: LabelSet, folder: Path) -> Path:
    """Folders cannot be called after mids: put the classes back under their own."""
    from audiotag.models import save_checkpoint

    by_folder = {label.mid.strip("/").replace("/", "_"): label for label in labels}
    model.labels = LabelSet([by_folder[mid] for mid in model.labels.mids])
    return save_checkpoint(folder, model)


def evening(labels: LabelSet) -> Iterator[StreamClip]:
    """What the device hears: one kind of sound for a while, then another; every second clip is named by somebody."""
    for mid in labels.mids:
        for number in range(16):
            named = (mid,) if number % 2 == 0 else None
            yield StreamClip(f"{mid} {number}", Waveform(sound(mid, number, "evening"), RATE), named)


def device(factory: Path, labels: LabelSet) -> Model:
    """The model as sold, its classes extended: the rows of those it knows stay as they are."""
    model = load_checkpoint(factory)
    change = change_classes(model, labels)
    print(f"At home: {change}")
    return model


def accuracy(model: Model) -> dict[str, float]:
    """Share of fresh clips of each class that the model gets right."""
    tagger = Tagger(model)
    found = {}
    for index, label in enumerate(model.labels):
        clips = np.stack([sound(label.mid, number, "question") for number in range(8)])
        found[label.name] = float((tagger.scores(clips, RATE).argmax(axis=1) == index).mean())
    return found


def main() -> None:
    """Live through the evening twice, once with a memory and once without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="Where to keep everything; a temporary folder otherwise.")
    chosen = parser.parse_args().folder
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if chosen is None else chosen
        known = list(demo_labels())
        labels = LabelSet(known, "sounds of this home")
        sold = factory_model(folder, LabelSet(known[:FACTORY], "sounds of the factory"))
        clips = list(evening(labels))
        results = {}
        for name, policy in (("with a store of 24 clips", "class_balanced"), ("without a store", "none")):
            model = device(sold, labels)
            with ClipStore.create(folder / f"store {policy}", labels, policy=policy, capacity=24) as store:
                learner = OnlineLearner(model, store, OnlineSettings(), folder=folder / policy)
                for event in learner.run(clips[:50]):
                    if policy == "class_balanced" and event.addition is not None and event.position % 10 == 1:
                        print(f"  {event.id}: {event.tags}; {event.labels[0]}, {event.addition.reason}")
            # Somebody pulls the plug here. The device starts again, and goes on as if nothing had been.
            with ClipStore(folder / f"store {policy}") as store:
                learner = OnlineLearner.resume(folder / policy, store)
                for _ in learner.run(clips[learner.position :]):
                    pass
                results[name] = accuracy(learner.model)
        width = max(len(label.name) for label in labels)
        for name, found in results.items():
            print(f"\n{name}: {np.mean(list(found.values())):.2f} on average")
            for what, share in found.items():
                print(f"  {what:<{width}} {share:.2f}")


if __name__ == "__main__":
    main()
