"""The same fine-tuning and the same evaluation over several networks, with what each costs."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiotag.arguments import take, takes
from audiotag.data.clips import ClipSet
from audiotag.data.recording import clip_seconds as seconds_of
from audiotag.data.source import ClipSource
from audiotag.display import brief_repr
from audiotag.engines.torch_engine import choose_device
from audiotag.errors import AudiotagError, OptionError, PluginError, TrainingError
from audiotag.files import write_text
from audiotag.folders import claim_folder
from audiotag.host import get_host
from audiotag.host.options import check_options
from audiotag.labels import LabelSet
from audiotag.places import exists
from audiotag.settings import layered, read_settings
from audiotag.training.asked import require_possible
from audiotag.training.comparison_candidate import Candidate, Plan, Record, carry_out, request_for, time_candidate
from audiotag.training.comparison_table import Comparison, ranked
from audiotag.training.recipes import load_recipe
from audiotag.training.reporting import Reporter
from audiotag.training.request import ARGUMENTS, Request
from audiotag.training.run_clips import read_training_clips, split_clips
from audiotag.training.settings import Settings
from audiotag.training.stopping import Stopped

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.()+-]*")
_CHECKPOINTS = ("best", "best_loss", "last")
_PROBED = 500


@brief_repr
@dataclass(frozen=True, kw_only=True)
class Trial:
    """What candidates are measured on, and what their cost is for.

    Attributes:
        test: Labelled clips to measure on. None for the fold that was held out, or the clips to validate on.
        cross_validate: Train once a fold of the training clips; the score is the mean over folds.
        clip_seconds: Length of the clip that multiply-accumulates, memory and speed are for; None for the median of
            the clips that are measured on.
        threads: CPU threads while speed is measured; None leaves them as they are.

    Raises:
        OptionError: The length is not above 0.
    """

    test: ClipSource | str | Path | ClipSet | None = None
    cross_validate: bool = False
    clip_seconds: float | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.clip_seconds is not None and not self.clip_seconds > 0:
            raise OptionError(f"clip_seconds is {self.clip_seconds}", fix="Give a length above 0.")


@takes(Trial, Request.of, ClipSource, Request, Settings)
def compare(
    backbones: Sequence[str | Path | Candidate],
    train: ClipSource | str | Path | ClipSet | None = None,
    *,
    output: str | Path,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    recipe: str | None = None,
    config: str | Path | None = None,
    reporter: Reporter | None = None,
    **arguments: Any,
) -> Comparison:
    """Fine-tune several networks in the same way, measure them on the same clips, and count what they cost.

    Each is measured on *test* with the checkpoint of its best epoch. Without *test*, on the fold that was held out, or
    on *val*, with the last checkpoint, because the best epoch was chosen on these very clips. Settings that are left
    open take the default that suits the candidate: a fresh network learns for more epochs.

    What is finished is kept in *output*: the same call goes on where it stopped, does not train anything twice, and
    takes further candidates. A candidate that fails has its reason in the table, and the others go on.

    Args:
        backbones: Names of models and families, run or checkpoint folders (``"NAME=…"`` names them), or `Candidate`s,
            of which some may be measured as they are.
        train: Labelled clips to learn from.
        output: Folder for ``comparison.csv``, ``comparison.json``, the runs and the reports.
        options: Name of a candidate → settings of its family.
        recipe: Named settings of a plugin; its options, which suit one family, are left out.
        config: TOML file of settings; keyword arguments win over it, and it over *recipe*.
        reporter: Told of everything.
        arguments: Fields of `Trial` (``test=…, cross_validate=True``), what `Request.of` takes (``val=…, labels=…,
            fold=1``), and fields of `Settings` (``epochs=10, freeze_backbone=True``).

    Returns:
        One row a candidate, also written to *output*. `audiotag.training.comparison_table.plot_comparison` draws it.

    Raises:
        AudiotagError: What concerns every candidate: a misspelt name or option, unreadable data, a folder that holds
            candidates trained with other data or settings.
        Stopped: The process was asked to stop; the same call goes on.
    """
    reporter = reporter or Reporter()
    trial = Trial(**take(arguments, Trial.__dataclass_fields__))
    of_request = take(arguments, ARGUMENTS)
    settings = layered(Settings, _recipe(recipe, reporter), read_settings(config) if config else {}, arguments)
    chosen = Settings.from_dict(settings)
    if chosen.devices != 1:
        raise OptionError("a comparison trains in one process", where="devices", fix="Leave --devices out.")
    candidates = _candidates(backbones, options or {})
    device = str(choose_device(chosen.device))
    plan = _plan(Path(output), candidates, train, trial, of_request, settings)
    _require_possible([candidate for candidate in candidates if candidate.train], plan)
    plan = replace(plan, clip_seconds=trial.clip_seconds or _median_seconds(_clips_to_measure(plan, chosen, reporter)))
    claim_folder(output, "compare")
    records = {candidate.name: Record(candidate, plan) for candidate in candidates}
    _require_same(records, plan)
    rows = _rows(candidates, plan, records, trial.threads, reporter)
    metrics = [row.pop("metric") for row in rows if "metric" in row]
    comparison = Comparison(
        ranked(rows),
        metric=metrics[0] if metrics else settings.get("metric") or "score",
        measured_on=_measured_on(plan),
        clip_seconds=plan.clip_seconds,
        threads=trial.threads or torch.get_num_threads(),
        device=device,
    )
    comparison.save(output)
    return comparison


def _recipe(name: str | None, reporter: Reporter) -> dict[str, Any]:
    if name is None:
        return {}
    recipe = load_recipe(name)
    if recipe.options:
        reporter.message(
            f"The options of the recipe {name} suit one family and are left out: {', '.join(recipe.options)}."
        )
    return recipe.settings


def _candidates(
    backbones: Sequence[str | Path | Candidate], options: Mapping[str, Mapping[str, Any]]
) -> list[Candidate]:
    """Candidates with names and options, all of which are known to exist."""
    found: list[Candidate] = []
    for one in backbones:
        made = one if isinstance(one, Candidate) else candidate_of(str(one))
        found.append(replace(made, options={**made.options, **options.get(made.name, {})}))
    if not found:
        raise OptionError("there is nothing to compare", fix="Give one backbone or more.")
    names = [candidate.name for candidate in found]
    for name in names:
        if not _NAME.fullmatch(name):
            raise OptionError(f"a candidate cannot be called {name!r}", fix="Use letters, digits and _.()+- only.")
        alike = [other for other in names if other.casefold() == name.casefold()]
        if len(alike) > 1:  # where file systems know no case, names that differ in it alone are one folder
            raise OptionError(
                f"{len(alike)} candidates are called {name!r}, in capitals or not",
                fix=f"Name them: {name}1=…, {name}2=…",
            )
    for name in options:
        if name not in names:
            raise OptionError(
                f"options are given for {name!r}, which is not compared", fix=f"The candidates are: {', '.join(names)}."
            )
    host = get_host()
    for candidate in found:
        if candidate.folder is None:
            spec = host.backbone(candidate.backbone)
            check_options(spec, host.resolve(spec), {**spec.options, **candidate.options}, ("num_classes",))
    return found


def candidate_of(text: str, *, train: bool = True, weights: str | Path | None = None) -> Candidate:
    """A candidate from ``"mn04_as"``, ``"runs/home"`` or, with a name for tables, ``"small=mn"``."""
    name, equals, backbone = text.partition("=")
    if not equals or not backbone or not _NAME.fullmatch(name) or exists(text):
        name, backbone = _usual_name(text), text
    return Candidate(backbone=backbone, name=name, weights=weights, train=train)


def _usual_name(backbone: str) -> str:
    if backbone in get_host().backbones or not exists(backbone):
        return backbone
    path = Path(backbone).resolve()
    return path.parent.name if path.name in _CHECKPOINTS else path.name


def _plan(
    output: Path,
    candidates: Sequence[Candidate],
    train: ClipSource | str | Path | ClipSet | None,
    trial: Trial,
    of_request: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Plan:
    """What is the same for every candidate; what leaves nothing to learn from or to measure on is refused.

    A request for clips that nobody learns from says how those to measure on are read.
    """
    learns = any(candidate.train for candidate in candidates)
    if train is None and learns:
        raise OptionError("there are no training clips", fix="Give --train, or measure models as they are.")
    request = Request.of("", "" if train is None else train, **of_request)
    test = request.train.other(trial.test)
    if trial.cross_validate:
        if train is None:
            raise OptionError("a cross-validation needs clips with folds", fix="Give --train.")
        if test is not None or request.fold is not None or request.val is not None:
            raise OptionError("a cross-validation takes no other clips", fix="Leave --test, --val and --fold out.")
        measured: ClipSource | None = request.train
    elif test is None and request.fold is not None and train is not None:
        measured = replace(request.train, fold=request.fold)
    else:
        measured = request.val if test is None else test
    if measured is None:
        raise OptionError(
            "there are no clips to evaluate on",
            fix="Give --test, or --fold, --cross-validate or --val of the training.",
        )
    return Plan(
        output=output,
        measured=measured,
        settings=settings,
        clip_seconds=trial.clip_seconds or 0.0,
        request=request if learns else None,
        checkpoint="last" if test is None else "best",
        cross_validate=trial.cross_validate,
    )


def _require_possible(candidates: Sequence[Candidate], plan: Plan) -> None:
    """Refuse settings that no candidate can be trained with; one that others can be fails in its turn."""
    refusals = []
    for candidate in candidates:
        try:
            request = request_for(candidate, plan)
            require_possible(replace(request, fold=0) if plan.cross_validate else request, plan.settings)
        except AudiotagError as error:
            refusals.append(error)
    if refusals and len(refusals) == len(candidates):
        raise refusals[0]


def _clips_to_measure(plan: Plan, settings: Settings, reporter: Reporter) -> ClipSet:
    """Read all clips once, so that a mistake in a list is known before the first network learns."""
    labels: LabelSet | None = None
    if plan.request is not None:
        train = read_training_clips(plan.request, reporter)
        labels = train.labels
        if plan.cross_validate:
            return train
        held_out = split_clips(plan.request, train, settings.seed, Reporter())[1] if plan.checkpoint == "last" else None
        if held_out is not None:
            return held_out
    # Only lengths are wanted here; each evaluation reads the list with the classes of its own model.
    return replace(plan.measured, unknown_labels="skip").read(labels, check_files=False)


def _median_seconds(clips: ClipSet) -> float:
    """Median length of (a part of) the clips, to a hundredth; those that cannot be read are counted elsewhere."""
    lengths = []
    for clip in clips[:: max(1, len(clips) // _PROBED)]:
        try:
            lengths.append(seconds_of(clip))
        except AudiotagError:  # a failed clip, which the evaluation counts and names
            continue
    if not lengths:
        raise OptionError(
            "none of the clips to measure on could be read", where=clips.source, fix="Check the paths, or --root."
        )
    return round(float(np.median(lengths)), 2)


def _measured_on(plan: Plan) -> str:
    if plan.cross_validate:
        return f"each fold of {plan.measured} by the run not trained on it, last epoch; mean over folds"
    return f"{plan.measured}, {plan.checkpoint} epoch"


def _require_same(records: Mapping[str, Record], plan: Plan) -> None:
    if changed := {name: record.changed for name, record in records.items() if record.changed}:
        listed = "; ".join(f"{name}: {', '.join(what)}" for name, what in changed.items())
        raise TrainingError(
            f"the folder holds candidates of the same name that were trained otherwise ({listed})",
            where=plan.output,
            fix="Choose another --output, give them other names, or use the same data and settings.",
        )


def _rows(
    candidates: Sequence[Candidate],
    plan: Plan,
    records: Mapping[str, Record],
    threads: int | None,
    reporter: Reporter,
) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for number, candidate in enumerate(candidates, start=1):
        reporter.message(f"{candidate.name} ({number} of {len(candidates)})")
        try:
            rows[candidate.name] = carry_out(candidate, plan, records[candidate.name], reporter)
        except Stopped as stopped:
            again = Stopped(stopped.what, where=stopped.where, fix="The same command resumes it.")
            again.signal = stopped.signal
            raise again from stopped
        except Exception as error:  # whatever a plugin's network raises, the others go on
            rows[candidate.name] = _failure(candidate, plan, error, reporter)
    # Speed comes last and for all in a row, so that the figures of a table are from the same minutes.
    reporter.message("Timing them.")
    for candidate in (one for one in candidates if "error" not in rows[one.name]):
        try:
            speed = time_candidate(candidate, plan, records[candidate.name], threads)
            rows[candidate.name] |= {"ms_per_clip": speed.ms_per_clip, "real_time_factor": speed.real_time_factor}
        except Exception as error:
            rows[candidate.name] = _failure(candidate, plan, error, reporter)
    return list(rows.values())


def _failure(candidate: Candidate, plan: Plan, error: Exception, reporter: Reporter) -> dict[str, Any]:
    """The row of a candidate that failed; what was not foreseen leaves its traceback beside the record."""
    reason = str(error) if isinstance(error, AudiotagError) else f"{type(error).__name__}: {error}"
    cause = error.__cause__ if isinstance(error, PluginError) else error
    if cause is not None and not isinstance(cause, AudiotagError):
        path = plan.output / "records" / f"{candidate.name}.traceback.txt"
        write_text(path, "".join(traceback.format_exception(error)))
        reason += f" (see {path})"
    reporter.message(f"{candidate.name} failed; its reason is in the table.")
    return {"name": candidate.name, "backbone": candidate.backbone, "error": reason}
