"""What plugins vary in training, beside the variation that is settings of the toolkit's own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audiotag.audio.frontends.torch_executor import FrontEnd
from audiotag.errors import PluginError
from audiotag.host import get_host
from audiotag.host.options import check_options
from audiotag.seeding import torch_generator
from audiotag.specs import AugmentationSpec
from audiotag.training.interfaces import Augment, AugmentationContext
from audiotag.training.settings import Settings


@dataclass(frozen=True)
class Augmentations:
    """The augmentations of a run, in the order in which they are done.

    Each draws from a generator of its own, so that none changes what another draws.
    """

    made: tuple[tuple[AugmentationSpec, Augment], ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Augmentations:
        """Those that *settings* name.

        Raises:
            OptionError: One has no such options.
            PluginError: One cannot be made.
        """
        host, made = get_host(), []
        for name in settings.augmentations:
            spec, options = host.augmentation(name), settings.augmentation_options.get(name, {})
            check_options(spec, host.resolve(spec), options)
            augment = host.make(spec, **options)
            if not callable(augment):
                raise PluginError(
                    f"the factory {spec.factory!r} returned {type(augment).__name__}, not a callable",
                    where=host.owner(spec).place,
                )
            made.append((spec, augment))
        return cls(tuple(made))

    def of_waveform(self, waveform: Tensor, sample_rate: int, *place: int | str) -> Tensor:
        """Vary waveforms (batch, samples); the same *place* in the run draws the same.

        Raises:
            PluginError: An augmentation fails, or gives something else than such a batch.
        """
        return self._vary("waveform", waveform, AugmentationContext(sample_rate=sample_rate), place)

    def of_spectrogram(self, spectrogram: Tensor, front_end: FrontEnd, *place: int | str) -> Tensor:
        """Vary spectrograms (batch, bands, frames) as `of_waveform` does waveforms."""
        context = AugmentationContext(
            sample_rate=front_end.sample_rate,
            frame_rate=front_end.frame_rate,
            padding_value=front_end.padding_value,
        )
        return self._vary("spectrogram", spectrogram, context, place)

    def _vary(self, on: str, batch: Tensor, context: AugmentationContext, place: tuple[int | str, ...]) -> Tensor:
        host = get_host()
        for number, (spec, augment) in enumerate(self.made):
            if spec.on != on:
                continue
            generator = torch_generator("augmentation", number, spec.name, *place)
            # Mixed precision is for the network.
            with host.computing(spec, f"varying {on}s"), torch.autocast(batch.device.type, enabled=False):
                varied = augment(batch.float(), generator, context)
            if not isinstance(varied, Tensor) or (varied.shape, varied.dtype) != (batch.shape, torch.float32):
                what = f"{varied.dtype} {tuple(varied.shape)}" if isinstance(varied, Tensor) else type(varied).__name__
                raise PluginError(
                    f"the augmentation {spec.name!r} gives {what} for a batch of {on}s float32 {tuple(batch.shape)}",
                    where=host.owner(spec).place,
                    fix="Leave it out, or report it to its authors.",
                )
            batch = varied
        return batch
