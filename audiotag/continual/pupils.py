"""What an on-line learner teaches: a network of torch, or an exported one; neither is imported before it is wanted."""

from __future__ import annotations

from pathlib import Path

from audiotag.continual.online_settings import OnlineSettings
from audiotag.continual.pupil import Pupil, Taught, Teachable
from audiotag.engines.exported import Exported
from audiotag.models.analytic import AnalyticLearner
from audiotag.models.facts import EXPORT_FORMAT, folder_format


def make_pupil(
    model: Teachable, settings: OnlineSettings, device: str, *, embeds: bool, known: AnalyticLearner | None = None
) -> Pupil:
    """The pupil of a model.

    Args:
        model: What learns; a `Model` in place.
        settings: Resolved settings.
        device: Where to compute.
        embeds: Whether clip embeddings are wanted too.
        known: What the analytic learner knows already.

    Raises:
        OptionError: The settings do not suit the model.
    """
    if isinstance(model, Exported):
        from audiotag.continual.exported_pupil import AnalyticExportedPupil, ExportedPupil

        if settings.learner == "analytic":
            return AnalyticExportedPupil(model, settings, device, embeds=embeds, known=known)
        return ExportedPupil(model, settings, device, embeds=embeds)
    from audiotag.continual.network_pupil import AnalyticNetworkPupil, NetworkPupil

    if settings.learner == "analytic":
        return AnalyticNetworkPupil(model, settings, device, embeds=embeds, known=known)
    return NetworkPupil(model, settings, device, embeds=embeds)


def load_taught(folder: Path) -> Taught:
    """What `Pupil.save` has written.

    Raises:
        CheckpointError: There is none, or it is damaged.
    """
    if folder_format(folder) == EXPORT_FORMAT:
        from audiotag.continual.exported_pupil import load_exported

        return load_exported(folder)
    from audiotag.continual.network_pupil import load_network

    return load_network(folder)
