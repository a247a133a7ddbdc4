# ruff: isort: skip_file
# Documented on docs/plugin_parts.md, docs/hooks.md and docs/python.md.

# Descriptors and hooks
from audiotag.specs import AugmentationSpec as AugmentationSpec
from audiotag.specs import BackboneSpec as BackboneSpec
from audiotag.specs import CommandSpec as CommandSpec
from audiotag.specs import DatasetSpec as DatasetSpec
from audiotag.specs import ENTRY_POINT_GROUP as ENTRY_POINT_GROUP
from audiotag.specs import INTERFACE_VERSION as INTERFACE_VERSION
from audiotag.specs import LossSpec as LossSpec
from audiotag.specs import MetricSpec as MetricSpec
from audiotag.specs import OptimiserSpec as OptimiserSpec
from audiotag.specs import OutputSpec as OutputSpec
from audiotag.specs import RecipeSpec as RecipeSpec
from audiotag.specs import Remote as Remote
from audiotag.specs import SamplingPolicySpec as SamplingPolicySpec
from audiotag.specs import ScheduleSpec as ScheduleSpec
from audiotag.specs import SourceSpec as SourceSpec
from audiotag.specs import Weights as Weights
from audiotag.specs import WriterSpec as WriterSpec
from audiotag.specs import hookimpl as hookimpl

# Interfaces to implement
from audiotag.audio.frontends.torch_executor import FrontEnd as FrontEnd
from audiotag.continual.policy import StoragePolicy as StoragePolicy
from audiotag.data.clips import Dataset as Dataset
from audiotag.data.published import PublishedDataset as PublishedDataset
from audiotag.inference.writers.base import FileWriter as FileWriter
from audiotag.inference.writers.base import Writer as Writer
from audiotag.live.messages import Output as Output
from audiotag.live.outputs.delivery import Delivery as Delivery
from audiotag.live.sources.base import LiveSource as LiveSource
from audiotag.live.sources.base import Recorded as Recorded
from audiotag.live.sources.base import RecordingSource as RecordingSource
from audiotag.live.sources.base import SoundBlock as SoundBlock
from audiotag.live.sources.base import SourceSettings as SourceSettings
from audiotag.models.backbone import Backbone as Backbone
from audiotag.training.interfaces import BatchSampler as BatchSampler
from audiotag.training.interfaces import Loss as Loss
from audiotag.training.interfaces import PairLoss as PairLoss

# Errors
from audiotag.errors import AudioError as AudioError
from audiotag.errors import AudiotagError as AudiotagError
from audiotag.errors import AudiotagWarning as AudiotagWarning
from audiotag.errors import CheckpointError as CheckpointError
from audiotag.errors import LabelError as LabelError
from audiotag.errors import ManifestError as ManifestError
from audiotag.errors import MissingExtraError as MissingExtraError
from audiotag.errors import OptionError as OptionError
from audiotag.errors import OutputError as OutputError
from audiotag.errors import PluginError as PluginError
from audiotag.errors import StoreError as StoreError
from audiotag.errors import TrainingError as TrainingError
from audiotag.errors import UnknownNameError as UnknownNameError
from audiotag.errors import WeightsError as WeightsError
from audiotag.errors import needed_for as needed_for
from audiotag.errors import suggest as suggest

# Checks of options and arguments
from audiotag.arguments import as_path as as_path
from audiotag.arguments import real_number as real_number
from audiotag.arguments import whole_number as whole_number
from audiotag.host.options import require_choice as require_choice
from audiotag.host.options import require_option as require_option
from audiotag.host.options import wrongly_typed as wrongly_typed

# Front ends
from audiotag.audio.frontends.families import efficientat_log_mel as efficientat_log_mel
from audiotag.audio.frontends.families import htk_log_mel as htk_log_mel
from audiotag.audio.frontends.families import kaldi_log_mel as kaldi_log_mel
from audiotag.audio.frontends.log_mel import LogMel as LogMel
from audiotag.audio.frontends.families import slaney_log_mel as slaney_log_mel
from audiotag.audio.frontends.torch_executor import LogMelFrontEnd as LogMelFrontEnd

# Networks and their weights
from audiotag.models.acceleration import batch_norm_affine as batch_norm_affine
from audiotag.models.acceleration import fold_batch_norm as fold_batch_norm
from audiotag.models.adapters import linear_layers as linear_layers
from audiotag.models.backbone import ClassRows as ClassRows
from audiotag.models.create import create_backbone as create_backbone
from audiotag.models.heads import change_classes as change_classes
from audiotag.models.loading import load_model as load_model
from audiotag.models.loading import numbered_labels as numbered_labels
from audiotag.models.model import Model as Model
from audiotag.models.parameter_groups import ParameterGroup as ParameterGroup
from audiotag.models.parameter_groups import group_parameters as group_parameters
from audiotag.models.published import LoadReport as LoadReport
from audiotag.models.published import PREFIXES as PREFIXES
from audiotag.models.published import load_published as load_published
from audiotag.models.published import published_classes as published_classes
from audiotag.models.published import read_state as read_state

# Recordings and pictures
from audiotag.audio.decoding import read_audio as read_audio
from audiotag.audio.encoding import write_sound as write_sound
from audiotag.data.recording import clip_seconds as clip_seconds
from audiotag.data.recording import read_clip as read_clip
from audiotag.data.sets.tiny import write_tiny_sound as write_tiny_sound
from audiotag.data.video import IMAGENET_MEAN as IMAGENET_MEAN
from audiotag.data.video import IMAGENET_STD as IMAGENET_STD
from audiotag.data.video import read_picture as read_picture
from audiotag.data.video import require_video as require_video

# Classes and labelled clips
from audiotag.data.clips import Clip as Clip
from audiotag.data.clips import ClipSet as ClipSet
from audiotag.data.formats.events import event_rows as event_rows
from audiotag.data.formats.tables import columns_of as columns_of
from audiotag.data.formats.tables import read_rows as read_rows
from audiotag.data.formats.tables import read_table as read_table
from audiotag.data.heard import Heard as Heard
from audiotag.data.heard import LEARNED as LEARNED
from audiotag.data.published import Progress as Progress
from audiotag.data.published import Validation as Validation
from audiotag.data.reading import read_clips as read_clips
from audiotag.data.source import ClipSource as ClipSource
from audiotag.data.rows import Row as Row
from audiotag.data.rows import Rows as Rows
from audiotag.data.rows import clips_from_rows as clips_from_rows
from audiotag.data.rows import read_number as read_number
from audiotag.data.rows import split_labels as split_labels
from audiotag.data.sets.base import Listing as Listing
from audiotag.data.sets.base import RecordedSet as RecordedSet
from audiotag.data.sniffing import sniff_format as sniff_format
from audiotag.data.sound_events import SoundEvent as SoundEvent
from audiotag.data.targets import Targets as Targets
from audiotag.labels import Label as Label
from audiotag.labels import LabelSet as LabelSet
from audiotag.labels import known_labels as known_labels
from audiotag.labels import read_labels as read_labels

# Training
from audiotag.training.ahead import ReadAhead as ReadAhead
from audiotag.training.interfaces import AugmentationContext as AugmentationContext
from audiotag.training.interfaces import SamplingContext as SamplingContext
from audiotag.training.losses import mean_over_known as mean_over_known
from audiotag.training.optimisation import freeze_all_but_head as freeze_all_but_head
from audiotag.training.optimisation import make_optimiser as make_optimiser
from audiotag.training.reporting import CsvLog as CsvLog
from audiotag.training.run_folder import held as held
from audiotag.training.schedules import warmup_cosine as warmup_cosine
from audiotag.training.stopping import StopRequests as StopRequests
from audiotag.training.stopping import Stopped as Stopped

# Learning on a device
from audiotag.continual.draws import Draws as Draws
from audiotag.continual.home import train_on_audio_only as train_on_audio_only
from audiotag.continual.policies.distribution_matching import store_audio_decision as store_audio_decision
from audiotag.continual.policy import Decision as Decision
from audiotag.continual.policy import Example as Example

# Live outputs
from audiotag.live.messages import Message as Message
from audiotag.live.outputs.delivery import NotDeliveredError as NotDeliveredError
from audiotag.live.outputs.delivery import RefusedError as RefusedError
from audiotag.live.outputs.settings import OutputSettings as OutputSettings

# Output formats
from audiotag.inference.writers.base import WriterSettings as WriterSettings
from audiotag.inference.writers.rows import Place as Place
from audiotag.inference.writers.rows import Result as Result

# Settings, each declared once
from audiotag.settings import FROM_ONE as FROM_ONE
from audiotag.settings import NOT_NEGATIVE as NOT_NEGATIVE
from audiotag.settings import POSITIVE as POSITIVE
from audiotag.settings import Range as Range
from audiotag.settings import SettingsGroup as SettingsGroup
from audiotag.settings import setting as setting
from audiotag.settings import varied as varied
from audiotag.training.settings import AdamW as AdamW
from audiotag.training.settings import Optimiser as Optimiser
from audiotag.training.settings import Processes as Processes
from audiotag.training.settings import RateSchedule as RateSchedule
from audiotag.training.settings import RunLength as RunLength
from audiotag.training.settings import Seeded as Seeded

# Randomness
from audiotag.seeding import numpy_generator as numpy_generator
from audiotag.seeding import scoped_torch_rng as scoped_torch_rng
from audiotag.seeding import torch_generator as torch_generator

# Files
from audiotag.csv_text import csv_text as csv_text
from audiotag.documents import Fields as Fields
from audiotag.documents import json_text as json_text
from audiotag.documents import parse_json as parse_json
from audiotag.files import atomic_path as atomic_path
from audiotag.files import remove_abandoned as remove_abandoned
from audiotag.files import write_text as write_text
from audiotag.folders import check_new_folder as check_new_folder
from audiotag.places import is_file as is_file
from audiotag.places import is_folder as is_folder
from audiotag.exports import exports as exports

# Commands, and what they compute with
from audiotag.cli.clip_source import clip_source as clip_source
from audiotag.cli.command import Command as Command
from audiotag.cli.finetune import stoppable as stoppable
from audiotag.cli.options import device_option as device_option
from audiotag.cli.options import option as option
from audiotag.cli.options import option_option as option_option
from audiotag.cli.options import overwrite_option as overwrite_option
from audiotag.cli.options import given_settings as given_settings
from audiotag.cli.options import settings_options as settings_options
from audiotag.cli.outputs import check_files as check_files
from audiotag.cli.outputs import check_folder as check_folder
from audiotag.cli.printing import print_doubts as print_doubts
from audiotag.engines.torch_engine import choose_device as choose_device
from audiotag.engines.torch_engine import choose_precision as choose_precision
from audiotag.host.host import get_host as get_host
from audiotag.inference.tagger import Tagger as Tagger
