"""What one clip costs an on-line learner: tagging it, offering it to the store, learning from it.

python benchmarks/online.py [--model mn04_as|mn10_as] [--clips 60] [--seconds 10] [--threads 1] [--capacity 200]

A device keeps embeddings: the network runs once, for the tags, and a step of learning is on the head alone. Tagging is
measured as the learner tags: reading the file, front end, network. The weights are made up; they cost the same.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from audiotag.continual.hearing import Hearing
from audiotag.continual.memory import multi_hot
from audiotag.continual.online_settings import OnlineSettings
from audiotag.continual.stepping import OnlineTraining
from audiotag.continual.store import ClipStore, Payload
from audiotag.data.clips import Clip
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.create import create_backbone
from audiotag.models.model import Model
from audiotag.training.settings import Situation


def write_clips(folder: Path, count: int, seconds: float) -> list[Clip]:
    generator = np.random.default_rng(0)
    clips = []
    for number in range(count):
        path = folder / f"{number}.wav"
        soundfile.write(path, 0.1 * generator.standard_normal(round(32_000 * seconds)), 32_000)
        clips.append(Clip(str(number), path))
    return clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mn10_as")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--capacity", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    labels = LabelSet.from_names([f"class {number}" for number in range(arguments.classes)])
    spec = get_host().backbone(arguments.model)
    model = Model(create_backbone(arguments.model, len(labels)).eval(), spec, dict(spec.options), labels, "benchmark")
    settings = OnlineSettings().resolve(Situation(single_label=False, pretrained=True))
    hearing, training = Hearing.of_model(model, "cpu", frozen=True), OnlineTraining(model, settings)
    times: dict[str, list[float]] = {"tag": [], "offer": [], "step": [], "steps of a clip": []}
    generator = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = write_clips(folder, arguments.clips, arguments.seconds)
        with ClipStore.create(folder / "store", labels, capacity=arguments.capacity) as store:
            memory = []
            for number, clip in enumerate(clips):
                begin = time.perf_counter()
                heard = hearing.hear(clip)
                tagged = time.perf_counter()
                payload = Payload.from_embedding(heard.sample)
                store.add(clip.id, payload, [labels.mids[number % len(labels)]])
                offered = time.perf_counter()
                target = multi_hot([number % len(labels)], len(labels))
                memory.append((heard.sample, target))
                for step in range(settings.steps):
                    one = time.perf_counter()
                    drawn = generator.permutation(len(memory))[: settings.replay].tolist()
                    chosen = [(heard.sample, target), *(memory[place] for place in drawn)]
                    training.learn([sample for sample, _ in chosen], np.stack([target for _, target in chosen]), step)
                    times["step"].append(time.perf_counter() - one)
                training.learned += 1
                times["tag"].append(tagged - begin)
                times["offer"].append(offered - tagged)
                times["steps of a clip"].append(time.perf_counter() - offered)
    tag = statistics.median(times["tag"][5:])
    print(f"{arguments.model}, {arguments.seconds:g} s clips, {arguments.threads} thread(s), medians")
    for what, values in times.items():
        median = statistics.median(values[5:])
        print(f"{what:>16}: {1000 * median:8.3f} ms  {median / tag:6.3f} × tagging")


if __name__ == "__main__":
    main()
