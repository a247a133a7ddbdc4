"""Questions that users of audio taggers ask, in their words: the search of the site leads to the page with the answer.

The questions are those of issue trackers (EfficientAT, PANNs, AST, PSLA, PaSST, BirdNET-Analyzer, Frigate, Avalanche).
The search is BM25 over the site's own index, with the weights that the index states for titles, texts and pages.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from html import unescape
from pathlib import Path
from typing import Any

import pytest

FIRST = 3
"""The page must be among so many."""

QUESTIONS = [
    # question, the page that answers it, words of the answer
    ("timestamps of sounds in a long recording", "howto_tagging", "--window 10"),
    ("15 hour recording runs out of memory", "howto_tagging", "memory does not grow"),
    ("one corrupt file stops the whole batch", "howto_tagging", "the others are tagged"),
    ("model fails on clips of one second", "howto_tagging", "are repeated"),
    ("skip files already analyzed", "howto_tagging", "--resume"),
    ("threshold per class", "howto_tagging", "--tune-thresholds"),
    ("open the results in audacity", "howto_tagging", "--format audacity"),
    ("raven selection table", "howto_tagging", "--format raven"),
    ("extract embeddings from audio", "howto_tagging", "--embeddings"),
    ("find similar sounds, query by example", "howto_tagging", "index search"),
    ("numpy array in memory instead of file", "howto_tagging", "tagger.scores(waveform"),
    ("why do the scores not add up to 1, softmax or sigmoid", "tutorial_tag_a_folder", "its own sigmoid"),
    ("columns of the csv output, onset offset event_label", "formats", "event_label"),
    ("jsonl output format fields", "formats", "jsonl"),
    ("which model is small and accurate enough", "howto_models", "mn04_as"),
    ("weights download link is dead, work offline", "howto_models", "models path"),
    ("is loading downloaded weights with pickle safe", "howto_models", "never unpickled"),
    ("what does /m/09x0r mean, mid to class name", "howto_models", "known_labels"),
    ("change the number of classes, replace the head", "howto_models", "labels extend"),
    ("image network from timm as backbone", "howto_models", "--backbone timm"),
    ("fine-tune on my own dataset", "tutorial_teach_your_sounds", "audiotag finetune"),
    ("add a new class later without retraining", "tutorial_teach_your_sounds", "labels extend"),
    ("custom dataset csv format for training", "data", "csv"),
    ("training interrupted, resume from checkpoint", "howto_training", "finetune --resume"),
    ("imbalanced classes, balanced sampling", "howto_training", "--sampler balanced"),
    ("train on multiple gpus", "howto_training", "--strategy ddp"),
    ("gpu out of memory, batch size", "howto_training", "--batch-size"),
    ("get the same results again, random seed", "howto_training", "--seed"),
    ("knowledge distillation from a teacher", "training", "--teacher"),
    ("weight averaging EMA SWA of checkpoints", "averaging", "ema"),
    ("ensemble of two models", "averaging", "ensemble"),
    ("d prime and mAP differ between papers", "metrics", "d_prime_of_mean_auc"),
    ("calibration, are scores probabilities", "metrics", "reliability curve"),
    ("html report, listen to the worst mistakes", "metrics", "the most confident mistakes"),
    ("shell completion for zsh", "commands", "audiotag completion"),
    ("multiprocessing, spawn or fork several processes", "python", "spawn"),
    ("how fast is it on cpu, real time factor", "performance", "real time"),
    ("prepare AudioSet, FSD50K download", "datasets", "data prepare"),
    ("missing labels in AudioSet", "labels", "labels enhance"),
    ("audio-visual video tagging", "equiav", "video"),
    ("tag without pytorch", "export", "audiotag export"),
    ("run on raspberry pi with onnx", "export", "onnx"),
    ("int8 quantization accuracy", "export", "int8"),
    ("reproduce EfficientAT ESC-50 fold", "coming_from", "efficientat-esc50"),
    ("BirdNET min_conf overlap options", "coming_from", "--min_conf"),
    ("write my own loss function", "writing_plugins", "loss"),
    ("catastrophic forgetting of old classes", "continual", "class_balanced"),
    ("power cut loses data on sd card", "store", "no data is lost"),
    ("listen to a stream and learn from corrections", "online", "the standard input"),
    ("does it send my audio to the internet", "safety", "nothing sends your audio"),
]

STOP_WORDS = re.compile(r"\w+").findall("""
a about all am an and any are as at be been but by can do does for from get had has have how i if in into is it its just
like may me my no not of off on only or our out so some than that the their them then there these they this to too up
use used was we what when where which who why will with would you your
""")
ENDINGS = (("ies", "y"), ("sses", "ss"), ("ings", ""), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""), ("e", ""))


def stem(word: str) -> str:
    for ending, instead in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending) + instead
    return word


def plain(text: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", text))


def terms(text: str) -> Counter[str]:
    words = re.findall(r"[^\W_]+", plain(text).lower())
    return Counter(stem(word) for word in words if word not in STOP_WORDS)


class Search:
    """BM25 over the sections of the pages; a page counts as its best section does."""

    def __init__(self, index: dict[str, Any]) -> None:
        self.boosts = {name: field["boost"] for name, field in index["config"]["fields"].items()}
        self.sections = []
        self.texts: defaultdict[str, str] = defaultdict(str)
        for section in index["docs"]:
            page = section["location"].partition("#")[0].removesuffix(".html")
            fields = {name: terms(section[name]) for name in ("title", "text")}
            self.sections.append((page, section.get("boost", 1.0), fields))
            self.texts[page] += f"{plain(section['title'])} {plain(section['text'])} "
        count = len(self.sections)
        self.mean = {
            name: sum(fields[name].total() for *_, fields in self.sections) / count for name in ("title", "text")
        }
        having = Counter(term for *_, fields in self.sections for term in {*fields["title"], *fields["text"]})
        self.weights = {term: math.log(1 + (count - number + 0.5) / (number + 0.5)) for term, number in having.items()}

    def __call__(self, question: str) -> list[str]:
        """The pages, best first."""
        found: defaultdict[str, float] = defaultdict(float)
        asked = [term for term in terms(question) if term in self.weights]
        for page, boost, fields in self.sections:
            score = boost * sum(
                self.boosts[name] * self.weights[term] * self._frequency(term, name, fields[name])
                for term in asked
                for name in fields
            )
            found[page] = max(found[page], score)
        return sorted(found, key=lambda page: -found[page])

    def _frequency(self, term: str, name: str, field: Counter[str]) -> float:
        times = field[term]
        return times * 2.2 / (times + 1.2 * (0.25 + 0.75 * field.total() / self.mean[name]))


@pytest.fixture(scope="module")
def search(site: Path) -> Search:
    return Search(json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8")))


@pytest.mark.slow
@pytest.mark.parametrize(("question", "page", "answer"), QUESTIONS, ids=[question for question, *_ in QUESTIONS])
def test_a_question_leads_to_the_page_that_answers_it(question, page, answer, search):
    found = search(question)[:FIRST]
    assert page in found, f"{question}: {found}"
    assert answer.lower() in " ".join(search.texts[page].split()).lower(), f"{page} does not say {answer!r}"


@pytest.mark.slow
def test_the_search_tells_pages_apart(search):
    """Were it to find every page for every question, the test above would show nothing."""
    for question, page, _ in QUESTIONS:
        assert page not in search(question)[-len(search.texts) // 2 :]
    assert "howto_tagging" not in search("write my own loss function")[:FIRST]
    assert "equiav" not in search("raven selection table")[:FIRST]
