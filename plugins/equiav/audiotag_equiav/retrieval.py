"""Zero-shot retrieval between sounds and pictures (Kim et al., ICML 2024, section 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open

from audiotag.plugin import (
    CheckpointError,
    ClipSet,
    Fields,
    Heard,
    OptionError,
    csv_text,
    is_file,
    is_folder,
    json_text,
    parse_json,
    write_text,
)
from audiotag_equiav.branches import PICTURE, SOUND
from audiotag_equiav.pairs import PairBatches, PairReader, normalised, spectrograms
from audiotag_equiav.pretraining import WEIGHTS_FILE
from audiotag_equiav.pretraining_network import PretrainingNetwork, PretrainingOptions
from audiotag_equiav.warmstart import warm_start


@dataclass(frozen=True)
class Direction:
    """How well partners are found in one direction.

    Attributes:
        recall_at_1: Share of queries whose partner comes first.
        recall_at_5: Share of queries whose partner is among the first five.
        recall_at_10: Share of queries whose partner is among the first ten.
        median_rank: Median of the partners' ranks, counted from 1.
        ranks: The rank of each query's partner, int64 (clips,).
    """

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float
    ranks: NDArray[np.int64]

    def figures(self) -> dict[str, float]:
        """The figures under their usual names: ``R@1``, ``R@5``, ``R@10``, ``median_rank``."""
        recalls = {f"R@{k}": getattr(self, f"recall_at_{k}") for k in (1, 5, 10)}
        return {**recalls, "median_rank": self.median_rank}


@dataclass(frozen=True)
class Retrieval:
    """Figures of both directions.

    Attributes:
        ids: The clips, in order.
        audio_to_video: Sounds ask for pictures.
        video_to_audio: Pictures ask for sounds.
    """

    ids: tuple[str, ...]
    audio_to_video: Direction
    video_to_audio: Direction

    def directions(self) -> dict[str, Direction]:
        """Name → direction."""
        return {"audio_to_video": self.audio_to_video, "video_to_audio": self.video_to_audio}

    def write(self, folder: str | Path, **settings: Any) -> None:
        """Write ``retrieval.json`` (figures and *settings*), ``retrieval.csv`` (figures) and ``ranks.csv`` (clips)."""
        folder = Path(folder)
        figures = {name: direction.figures() for name, direction in self.directions().items()}
        content = {**figures, "clips": len(self.ids), **settings}
        write_text(folder / "retrieval.json", json_text(content, indent=2) + "\n")
        names = list(self.audio_to_video.figures())
        rows = [[name, *values.values(), len(self.ids)] for name, values in figures.items()]
        write_text(folder / "retrieval.csv", csv_text([["direction", *names, "clips"], *rows]))
        pairs = zip(self.ids, self.audio_to_video.ranks, self.video_to_audio.ranks, strict=True)
        write_text(folder / "ranks.csv", csv_text([["id", *figures], *pairs]))


def partner_ranks(queries: ArrayLike, candidates: ArrayLike, chunk: int = 1024) -> NDArray[np.int64]:
    """The rank, from 1, that candidate i has for query i by cosine similarity.

    A candidate exactly as similar as the partner counts as before it, so that embeddings that are all alike do not
    score. Similarities are computed *chunk* × *chunk* at a time.

    Args:
        queries: (clips, dim).
        candidates: (clips, dim).
        chunk: Rows and columns of a block, at least 1.

    Raises:
        OptionError: The shapes differ, there is no clip, *chunk* is below 1, or a value is not finite.
    """
    first, second = _unit(queries), _unit(candidates)
    if first.shape != second.shape or len(first) == 0 or chunk < 1:
        raise OptionError(
            f"embeddings of {first.shape} and {second.shape} cannot be ranked in chunks of {chunk}",
            where="retrieval",
            fix="Give as many sounds as pictures, at least one, and chunks of at least 1.",
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        # Nothing compares with NaN, so that every partner would come first.
        raise OptionError(
            "embeddings hold values that are not finite", where="retrieval", fix="Check the weights, or use float32."
        )
    ranks = np.empty(len(first), dtype=np.int64)
    for begin in range(0, len(first), chunk):
        block = first[begin : begin + chunk]
        own = np.einsum("ij,ij->i", block, second[begin : begin + chunk])[:, None]
        ahead = np.zeros(len(block), dtype=np.int64)
        for start in range(0, len(second), chunk):
            # Doubles differ in the last place between ways of summing; that is a tie, too.
            closer = block @ second[start : start + chunk].T >= own - 1e-12
            if start == begin:
                np.fill_diagonal(closer, True)
            ahead += closer.sum(axis=1)
        ranks[begin : begin + chunk] = ahead
    return ranks


def _unit(embeddings: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(embeddings, dtype=np.float64)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    unit: NDArray[np.float64] = values / np.maximum(norms, np.finfo(np.float64).tiny)
    return unit


def score_retrieval(
    sounds: ArrayLike, pictures: ArrayLike, ids: Sequence[str] | None = None, chunk: int = 1024
) -> Retrieval:
    """Figures of both directions from embeddings (clips, dim), row i of both belonging together."""
    there = _direction(partner_ranks(sounds, pictures, chunk))
    back = _direction(partner_ranks(pictures, sounds, chunk))
    names = tuple(ids) if ids is not None else tuple(map(str, range(len(there.ranks))))
    return Retrieval(names, there, back)


def _direction(ranks: NDArray[np.int64]) -> Direction:
    first, fifth, tenth = (float((ranks <= k).mean()) for k in (1, 5, 10))
    return Direction(first, fifth, tenth, float(np.median(ranks)), ranks)


def load_pretrained(source: str | Path, options: dict[str, Any] | None = None) -> PretrainingNetwork:
    """A pre-trained network in evaluation mode.

    Args:
        source: A run's folder, its ``pretrained.safetensors``, or a published file.
        options: Options of a published file, where they are not the defaults; those that a run states win.

    Raises:
        CheckpointError: The file cannot be read or does not fit.
    """
    path = _weights(source)
    chosen = PretrainingOptions.from_dict({**(options or {}), **_stated_options(path)})
    network = PretrainingNetwork(chosen)
    fresh = warm_start(network, path).fresh
    if fresh:
        raise CheckpointError(
            f"the file holds no pre-trained EquiAV: it lacks {len(fresh)} entries ({', '.join(fresh[:5])}, …)",
            where=path,
            fix="Give a run of pretrain, or the published pre-trained file.",
        )
    return network.eval()


def learned_from(source: str | Path) -> Heard:
    """The sounds that a run of pre-training has learned from; nothing where the file does not say.

    Raises:
        CheckpointError: What it says is damaged.
    """
    return Heard.of_models([_metadata(_weights(source))])


def _weights(source: str | Path) -> Path:
    return Path(source) / WEIGHTS_FILE if is_folder(source) else Path(source)


def _metadata(path: Path) -> dict[str, str]:
    """What a run has written beside its weights; nothing for files of others."""
    if path.suffix != ".safetensors" or not is_file(path):
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except SafetensorError:
        return {}  # reading the weights says what is wrong with the file


def _stated_options(path: Path) -> dict[str, Any]:
    stated = _metadata(path).get("options")
    if stated is None:
        return {}
    content = parse_json(stated, where=path, error=CheckpointError, fix="Copy the file again.")
    return dict(Fields(content, where=path, error=CheckpointError, name="options", fix="Copy the file again."))


@torch.no_grad()
def embed_pairs(
    network: PretrainingNetwork,
    clips: ClipSet,
    *,
    seed: int = 0,
    centroid_count: int = 16,
    batch_size: int = 16,
    workers: int = 1,
    precision: torch.dtype | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """z_inv of the sound and of the middle picture of each clip.

    The transformations of a centroid are drawn from *seed* and the clip's id: a clip's embedding does not depend on
    the others.

    Args:
        network: In evaluation mode, on its device.
        clips: Clips with sound and pictures.
        seed: Seed of the centroids.
        centroid_count: Transformations of a centroid.
        batch_size: Clips computed at a time.
        workers: Processes that read.
        precision: Type that a mixed-precision pass computes in, None for float32.

    Returns:
        Sounds and pictures, each float32 (clips, dim).

    Raises:
        ManifestError: Clips lack pictures.
        OptionError: *centroid_count* or *batch_size* is below 1, or *workers* below 0.
        TrainingError: A clip cannot be read.
    """
    for name, value, least in (
        ("centroid_count", centroid_count, 1),
        ("batch_size", batch_size, 1),
        ("workers", workers, 0),
    ):
        if value < least:
            raise OptionError(f"{name} is {value}", where="retrieval", fix=f"Give at least {least}.")
    device = next(network.parameters()).device
    reader = PairReader(clips, network.options, centroid_count=centroid_count, seed=seed, training=False)
    places = [(index, index) for index in range(len(clips))]
    plan = [places[start : start + batch_size] for start in range(0, len(places), batch_size)]
    parts: dict[str, list[NDArray[np.float32]]] = {SOUND: [], PICTURE: []}
    with closing(PairBatches(reader, workers)) as batches:
        for read in batches.read(plan):
            batch = read.to(device)
            sound = spectrograms(network.front_end, batch.waveforms)
            picture = normalised(batch.pictures)
            given = ((SOUND, sound, batch.sound_centroids), (PICTURE, picture, batch.picture_centroids))
            with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
                for modality, one, centroid in given:
                    parts[modality].append(network.embed(modality, one, centroid).float().cpu().numpy())
    return np.concatenate(parts[SOUND]), np.concatenate(parts[PICTURE])


def retrieve(network: PretrainingNetwork, clips: ClipSet, *, chunk: int = 1024, **embedding: Any) -> Retrieval:
    """Figures of both directions for *clips*; further arguments and errors as for `embed_pairs` and `partner_ranks`."""
    if chunk < 1:  # before the work
        raise OptionError(f"chunk is {chunk}", where="retrieval", fix="Give at least 1.")
    sounds, pictures = embed_pairs(network, clips, **embedding)
    return score_retrieval(sounds, pictures, list(clips.columns.ids), chunk)
