"""Learning from frames: labels go where the sound goes, and clips that do not say when count as a whole."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from audiotag.audio.augmentation import Augmentation
from audiotag.audio.variation import TimeMoves, vary_spectrogram, vary_waveform
from audiotag.data.clips import Clip, ClipSet
from audiotag.data.frame_scores_file import FrameScoresFile
from audiotag.data.sound_events import SoundEvent
from audiotag.errors import ManifestError, OptionError
from audiotag.host import get_host
from audiotag.inference.loading import load
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.models.checkpoint import load_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.model import Model
from audiotag.training.data import ClipReader, Intake
from audiotag.training.finetune import finetune, resume_run
from audiotag.training.frame_teaching import FileFrames, ModelFrames
from audiotag.training.losses import BinaryCrossEntropy
from audiotag.training.mixing import Mixture, SetPartners
from audiotag.training.reporting import Reporter
from audiotag.training.settings import Settings, Situation
from audiotag.training.steps import NetworkStep
from audiotag.training.supervision import SupervisedLoss, Supervision
from audiotag.training.timed_labels import Excerpt, FrameLabels

RATE = 8000  # of the tiny network, whose frames are 10 ms
LABELS = LabelSet.from_names(["low", "high"])
QUICK = {"epochs": 2, "batch_size": 4, "workers": 0, "device": "cpu", "learning_rate": 0.03}
PLAIN = {"mixup_alpha": 0.0, "gain_db": 0.0, "time_shift": 0.0, "frequency_mask": 0, "time_mask": 0}


class Messages(Reporter):
    def __init__(self):
        self.texts = []

    def message(self, text):
        self.texts.append(text)


@pytest.fixture(autouse=True)
def _tiny(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOTAG_CACHE", str(tmp_path / "cache"))


def _settings(**given):
    return Settings(**{**PLAIN, **given}).resolve(Situation(single_label=False, pretrained=False, no_frames=""))


@pytest.fixture
def bursts(tmp_path):
    """Makes sets of clips with one or two bursts of tones in silence, every third without events said."""

    def make(count=12, seconds=1.0, weak=3, seed=0):
        generator = np.random.default_rng(seed)
        clips = []
        for number in range(count):
            wave, events = 0.001 * generator.standard_normal(round(seconds * RATE)), []
            for index, pitch in enumerate((200, 3000)):
                if generator.random() < 0.7 or number % 2 == index:
                    begin = round(generator.uniform(0, seconds - 0.3) * 100) / 100
                    span = slice(round(begin * RATE), round((begin + 0.3) * RATE))
                    wave[span] += 0.5 * np.sin(2 * np.pi * pitch * np.arange(span.stop - span.start) / RATE)
                    events.append(SoundEvent(begin, begin + 0.3, index))
            path = tmp_path / f"{seed}_{number}.wav"
            soundfile.write(path, wave, RATE, subtype="FLOAT")
            said = None if weak and number % weak == 2 else tuple(sorted(events))
            labels = tuple(event.index for event in events)
            clips.append(Clip(id=f"{seed}_{number}", path=path, labels=labels, events=said))
        return ClipSet(tuple(clips), LABELS, source="bursts")

    return make


def _loud(waveform, frames):
    """In which frames there is sound, bool (batch, frames)."""
    return waveform.reshape(len(waveform), frames, -1).abs().mean(2) > 0.5


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(time_shift=0.7),
        Augmentation(speed_change=0.5, speed_rate=0.8),
        Augmentation(time_shift=0.5, speed_change=0.3),
    ],
)
def test_labels_of_frames_move_with_the_energy_of_the_waveform(augmentation):
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(32, 20, 1, generator=generator) < 0.3).float().repeat_interleave(5, 1)
    waveform = labels[:, :, 0].repeat_interleave(10, 1)
    moves = TimeMoves()
    varied = vary_waveform(augmentation, waveform, 1000, generator, moves)
    moved = moves.follow(labels)[:, :, 0] > 0.5
    assert not torch.equal(varied, waveform)
    assert (_loud(varied, 100) == moved).float().mean() > 0.995  # one frame in two on an edge may fall either way
    assert (moved == (labels[:, :, 0] > 0.5)).float().mean() < 0.9


@pytest.mark.parametrize("augmentation", [Augmentation(roll_frames=300), Augmentation(roll_deviation=0.3)])
def test_labels_follow_a_rolled_spectrogram_by_the_ratio_of_the_lengths_of_frames(augmentation):
    generator = torch.Generator().manual_seed(1)
    labels = (torch.rand(16, 25, 1, generator=generator) < 0.3).float().repeat_interleave(10, 1)
    spectrogram = labels.repeat_interleave(4, 1).transpose(1, 2).expand(-1, 8, -1)  # four frames for each label
    moves = TimeMoves()
    varied = vary_spectrogram(augmentation, spectrogram, 0.0, generator, moves)
    energy = varied.mean(1).reshape(16, 250, 4).mean(2)
    moved = moves.follow(labels)[:, :, 0]
    assert ((energy - moved).abs() <= 0.5).all()
    assert (moved != labels[:, :, 0]).any()


def test_masks_and_gains_leave_the_labels_where_they_are():
    generator, labels, moves = torch.Generator().manual_seed(1), torch.rand(4, 20, 3), TimeMoves()
    vary_waveform(Augmentation(gain_db=10, noise=0.1), torch.ones(4, 1000), 1000, generator, moves)
    vary_spectrogram(Augmentation(time_mask=20, frequency_mask=4), torch.ones(4, 8, 80), 0.0, generator, moves)
    assert moves.follow(labels) is labels


def test_a_reader_says_what_is_heard_of_a_clip(bursts):
    clips = bursts(seconds=2.0, weak=0)
    labels = FrameLabels.of(clips, 1.0, 100.0)
    reader = ClipReader(clips, Intake(RATE, 1.0, 1.0), seed=3, partners=SetPartners(2.0, 1.0))
    for place in range(40):
        item = reader[place % len(clips), place]
        for of, index in (("", item["index"]), ("partner_", item["partner"])):
            heard = torch.from_numpy(item[f"{of}heard"])[None]
            said = labels.batch(torch.tensor([index]), heard)["frames"][0].amax(1) > 0
            loud = torch.from_numpy(item[f"{of}waveform"]).reshape(100, -1).abs().mean(1) > 0.05
            assert (loud != said).sum() <= 4  # a cut falls within a frame


def test_a_short_clip_is_heard_again_and_again_with_its_events(bursts):
    clips = bursts(seconds=0.4, weak=0)
    labels = FrameLabels.of(clips, 1.0, 100.0)
    for follows in (False, True):
        partners = SetPartners(2.0, 1.0, follows=follows)
        item = ClipReader(clips, Intake(RATE, 1.0, 1.0), seed=3, partners=partners)[1, 0]
        assert Excerpt(*item["heard"].tolist()).period == pytest.approx(0.4)
        for of, index in (("", 1), ("partner_", item["partner"])):
            said = labels.batch(torch.tensor([index]), torch.from_numpy(item[f"{of}heard"])[None])["frames"][0]
            loud = torch.from_numpy(item[f"{of}waveform"]).reshape(100, -1).abs().mean(1) > 0.05
            assert (loud != (said.amax(1) > 0)).sum() <= 2


def test_silence_after_a_shorter_partner_has_no_events():
    excerpt = Excerpt(0.0, 0.5, 1.0)
    assert list(excerpt.events((SoundEvent(0.1, 0.9, 0),), 2.0)) == [SoundEvent(0.1, 0.5, 0), SoundEvent(1.1, 1.5, 0)]
    origins = excerpt.origins(8, 0.25)
    np.testing.assert_allclose(origins, [0.125, 0.375, np.nan, np.nan] * 2)


@pytest.mark.parametrize(
    "way",
    [
        {"mixup_alpha": 0.3, "mixup_on": "spectrogram"},
        {"mixup_alpha": 0.3, "mixup_on": "waveform"},
        {"wavmix_rate": 0.5, "time_shift": 0.3},
        {"wavmix_rate": 0.5, "time_shift": 0.2, "roll_frames": 30, "mixup_alpha": 0.3},
    ],
)
def test_mixing_moves_and_blends_the_labels_of_frames_as_the_sound(bursts, way, monkeypatch):
    """The energy of low and high tones in a frame tells how much of each label is to be there."""
    clips, settings = bursts(weak=0), _settings(**way)
    seen = []
    monkeypatch.setattr(
        SupervisedLoss, "forward", lambda self, logits, labels, frames: seen.append(labels) or frames.mean((1, 2))
    )
    network = create_backbone("tiny", 2, seed=0)
    monkeypatch.setattr(
        type(network), "forward_spectrogram", lambda self, spectrogram, video: seen.append(spectrogram) or spectrogram
    )
    monkeypatch.setattr(type(network), "frame_logits", lambda self, spectrogram: spectrogram.transpose(1, 2))
    model = Model(network, get_host().backbone("tiny"), {}, LABELS, "tiny")
    step = NetworkStep(model, SupervisedLoss(BinaryCrossEntropy(), settings), settings)
    reader = ClipReader(clips, Intake(RATE, 1.0, 1.0), seed=3, partners=SetPartners.of(settings))
    (batch,) = reader.batch([(index, index) for index in range(len(clips))])
    tensors = {name: torch.from_numpy(values) for name, values in batch.items()}
    supervision = Supervision.of(clips)
    supervision = Supervision(supervision.targets, frames=FrameLabels.of(clips, 1.0, 100.0))
    known = {name: tensors.pop(name, None) for name in ("partner", "heard", "partner_heard")}
    labels = supervision.batch(tensors.pop("index"), share=tensors.get("share"), **known)
    step(tensors, labels, (0, 0, 0, 0))
    spectrogram, labels = seen
    heard = spectrogram.amax(1) > np.log(1e-5) / 2 + 1.0
    said = labels["frames"].amax(2)
    assert said.shape == (12, 100)
    assert heard[said > 0.3].float().mean() > 0.95
    assert heard[said == 0].float().mean() < 0.05
    assert set(labels) == {"targets", "frames", "timed"}


def test_clips_are_mixed_with_those_of_their_kind():
    kinds = np.array([True, False, True, True, False, False, True])
    generator = np.random.default_rng(0)
    for _ in range(20):
        partner = Mixture.draw(7, 0.3, 1.0, generator, kinds=kinds).partner.numpy()
        assert (kinds[partner] == kinds).all()
        assert sorted(partner) == list(range(7))
    alike, plain = (Mixture.draw(7, 0.3, 1.0, np.random.default_rng(5), kinds=one) for one in (np.full(7, True), None))
    assert torch.equal(alike.partner, plain.partner)


def test_partners_of_the_whole_set_are_of_the_same_kind(bursts):
    clips = bursts()
    said = clips.columns.events.said
    reader = ClipReader(clips, Intake(RATE, 1.0, 1.0), seed=1, partners=SetPartners(2.0, 1.0), kinds=said)
    drawn = {(place % len(clips), reader[place % len(clips), place]["partner"]) for place in range(60)}
    assert all(said[own] == said[partner] for own, partner in drawn)
    assert len({partner for _, partner in drawn}) > 8


def _labels(timed, known=None):
    generator = torch.Generator().manual_seed(0)
    frames = (torch.rand(2, 5, 3, generator=generator) < 0.5).float()
    labels = {"targets": torch.eye(3)[:2], "frames": frames, "timed": torch.tensor(timed)}
    return labels if known is None else {**labels, "known": torch.tensor(known)}


LOGITS = torch.randn(2, 3, generator=torch.Generator().manual_seed(1))
FRAMES = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(2))


def test_the_loss_of_a_clip_is_the_mean_over_its_frames_or_of_the_whole_where_nobody_says_when():
    labels, bce = _labels([True, False]), BinaryCrossEntropy()
    loss = SupervisedLoss(bce, _settings(weak_weight=0.25))
    losses = loss(LOGITS, labels, FRAMES)
    assert torch.isclose(losses[0], bce(FRAMES[0], labels["frames"][0]).mean())
    assert torch.isclose(losses[1], 0.25 * bce(LOGITS, labels["targets"])[1])
    assert loss.needs_clips(labels)
    timed = _labels([True, True])
    assert not loss.needs_clips(timed)
    assert torch.isclose(loss(None, timed, FRAMES)[0], losses[0])


def test_labels_that_are_not_known_do_not_count_in_frames():
    labels, loss = _labels([True, True], [[True, True, False]] * 2), SupervisedLoss(BinaryCrossEntropy(), _settings())
    losses = loss(None, labels, FRAMES)
    wrong = labels["frames"].clone()
    wrong[..., 2] = 1 - wrong[..., 2]
    assert torch.equal(losses, loss(None, {**labels, "frames": wrong}, FRAMES))
    wrong[..., 1] = 1 - wrong[..., 1]
    assert not torch.isclose(losses, loss(None, {**labels, "frames": wrong}, FRAMES)).any()


def test_networks_may_round_the_number_of_frames():
    loss = SupervisedLoss(BinaryCrossEntropy(), _settings())
    labels = _labels([True, True])
    longer = torch.cat([FRAMES, torch.full((2, 1, 3), 100.0)], 1)
    assert torch.equal(loss(None, labels, longer), loss(None, labels, FRAMES))


def test_a_run_learns_when_classes_are_heard(bursts, tmp_path):
    said = Messages()
    way = {**QUICK, "epochs": 8, "learning_rate": 0.1, "mixup_alpha": 0.0, "time_shift": 0.2, "frequency_mask": 0}
    result = finetune("tiny", bursts(24), val=bursts(9, seed=1), output=tmp_path / "run", reporter=said, **way)
    assert result.settings.supervision == "frames"
    assert result.settings.metric == "psds1"
    assert "Frames of 10 ms are learned from: 16 of 24 training clips say when their classes are heard." in said.texts
    last = result.history.iloc[-1]
    assert {"val_loss", "val_mAP", "val_psds1", "val_event_f1"} <= set(last.index)
    assert result.best["val_psds1"] > 0
    assert result.best["val_event_f1"] > 0.6  # which the network can tell apart no better


def test_one_setting_learns_from_whole_clips_instead(bursts, tmp_path):
    said = Messages()
    result = finetune(
        "tiny", bursts(), val_fraction=0.3, output=tmp_path / "run", reporter=said, supervision="clips", **QUICK
    )
    assert result.settings.metric == "mAP"
    assert not any("event" in name or "psds" in name for name in result.history)
    assert any(text.startswith("Whole clips are learned from, although") for text in said.texts)


def test_a_model_that_scores_no_frames_learns_from_whole_clips(bursts, tmp_path):
    said = Messages()
    asked = {"options": {"head_type": "mlp"}, "val_fraction": 0.0, **QUICK}
    result = finetune("tiny", bursts(), output=tmp_path / "run", reporter=said, **asked)
    assert result.settings.supervision == "clips"
    assert any("the model scores whole clips only" in text for text in said.texts)
    with pytest.raises(OptionError, match="the model scores whole clips only"):
        finetune("tiny", bursts(), output=tmp_path / "other", supervision="frames", **asked)


def test_what_cannot_be_is_refused(bursts, tones, tmp_path):
    for asked, why in (
        ({"supervision": "frames"}, "no clip says when"),
        ({"metric": "psds1"}, "are not learned"),
    ):
        with pytest.raises(OptionError, match=why):
            finetune("tiny", tones, output=tmp_path / "run", single_label=False, **asked, **QUICK)
    with pytest.raises(OptionError, match=r"no clip to validate on has.*validate on clips that say when"):
        finetune("tiny", bursts(), val_fraction=0.0, output=tmp_path / "run", metric="event_f1", **QUICK)
    assert not (tmp_path / "run").exists()


def test_a_head_alone_learns_from_frames(bursts, tmp_path):
    start = finetune("tiny", bursts(), val_fraction=0.0, output=tmp_path / "start", **QUICK)
    result = finetune(
        str(start.folder), bursts(), val_fraction=0.3, output=tmp_path / "head", freeze_backbone=True, **QUICK
    )
    assert result.settings.supervision == "frames"
    before, after = (load_checkpoint(run.folder / "last").backbone.state_dict() for run in (start, result))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"classifier.0.weight", "classifier.0.bias"}


def test_a_run_that_is_resumed_goes_on_as_if_nothing_had_been(bursts, tmp_path, monkeypatch):
    rows = [
        {
            "filename": clip.path.name,
            "onset": event.onset,
            "offset": event.offset,
            "event_label": LABELS[event.index].name,
        }
        for clip in bursts(8, weak=0)
        for event in clip.events
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "events.tsv", sep="\t", index=False)
    way = {**QUICK, "val_fraction": 0.25, "wavmix_rate": 0.5, "time_shift": 0.2, "epochs": 3}
    whole = finetune("tiny", tmp_path / "events.tsv", output=tmp_path / "whole", **way)
    assert whole.settings.supervision == "frames"
    again = finetune("tiny", tmp_path / "events.tsv", output=tmp_path / "again", **way)
    pd.testing.assert_frame_equal(whole.history.drop(columns="seconds"), again.history.drop(columns="seconds"))
    assert resume_run(tmp_path / "again").history["val_psds1"].iloc[-1] == whole.history["val_psds1"].iloc[-1]


def test_a_teacher_of_frames_is_asked_for_what_is_heard():
    class Ramp:
        def scores(self, clip, seconds):
            return None if clip == 1 else np.repeat(np.nan_to_num(seconds)[:, None], 2, 1).astype(np.float32)

        def digest(self):
            return "ramp"

    labels = FrameLabels(None, 2, 4, 0.25, Ramp())
    heard = torch.tensor([[0.5, 1.0, 0.5], [0.0, 1.0, 1.0]])
    batch = labels.batch(torch.tensor([0, 1]), heard)
    np.testing.assert_allclose(batch["frame_teacher"][0, :, 0], [0.625, 0.875, 0.625, 0.875])
    assert batch["taught"].tolist() == [True, False]
    assert not batch["timed"].any()


def test_the_teachers_share_of_the_loss_of_frames_is_the_weight():
    teacher = torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(4))
    labels = {**_labels([True, True]), "frame_teacher": teacher, "taught": torch.tensor([True, False])}
    bce, settings = BinaryCrossEntropy(), Settings(**PLAIN, distill_weight=0.75)
    settings = settings.resolve(Situation(single_label=False, pretrained=False, no_frames="", taught=True))
    losses = SupervisedLoss(bce, settings)(None, labels, FRAMES)
    own = [bce(FRAMES[row], labels["frames"][row]).mean() for row in (0, 1)]
    assert torch.isclose(losses[0], 0.25 * own[0] + 0.75 * bce(FRAMES[0], teacher[0]).mean())
    assert torch.isclose(losses[1], 0.25 * own[1])


def test_a_run_is_taught_frames_by_a_model_and_what_it_says_is_kept(bursts, tmp_path, monkeypatch):
    clips, plain = bursts(6), {**QUICK, "epochs": 1, "val_fraction": 0.0, "mixup_alpha": 0.0}
    finetune("tiny", clips, output=tmp_path / "teacher", **plain)
    first = finetune("tiny", clips, teacher=str(tmp_path / "teacher"), output=tmp_path / "one", **plain)
    assert first.settings.distill_weight == 0.9
    monkeypatch.setattr(Tagger, "score_frames", None)  # not asked again
    again = finetune("tiny", clips, teacher=str(tmp_path / "teacher"), output=tmp_path / "two", **plain)
    assert again.history["train_loss"].tolist() == first.history["train_loss"].tolist()
    alone = finetune("tiny", clips, output=tmp_path / "three", **plain)
    assert alone.history["train_loss"].tolist() != first.history["train_loss"].tolist()


def test_models_that_teach_frames_are_averaged_at_the_times_of_the_pupils_frames(bursts, tmp_path):
    clips = bursts(2, seconds=2.0, weak=0)
    finetune("tiny", bursts(6, seed=9), output=tmp_path / "a", **{**QUICK, "epochs": 1, "val_fraction": 0.0})
    taggers = [load(tmp_path / "a", device="cpu")] * 2
    teacher = ModelFrames(taggers, clips, 1.0, Reporter())
    whole = np.concatenate([part.scores for part in taggers[0].score_frames(clips[1])])
    seconds = Excerpt(0.5, 1.5, 1.0).origins(50, 0.02)
    np.testing.assert_allclose(teacher.scores(1, seconds), whole[51:150:2], atol=1e-3)
    assert not teacher.scores(1, np.array([np.nan])).any()
    soft = ModelFrames(taggers, clips, 2.0, Reporter()).scores(1, seconds)
    np.testing.assert_allclose(soft, 1 / (1 + np.sqrt(1 / whole[51:150:2] - 1)), atol=2e-3)


def test_the_published_scores_of_an_ensemble_teach(bursts, tmp_path):
    h5py = pytest.importorskip("h5py")
    clips, path = bursts(3, weak=0), tmp_path / "ensemble.hdf5"
    logits = np.random.default_rng(0).normal(size=(2, 2, 250)).astype(np.float16)
    with h5py.File(path, "w") as file:
        file["filenames"] = np.array([b"0_2.mp3", b"0_0.mp3"])
        file["strong_logits"] = logits
    said = Messages()
    teacher = FileFrames(FrameScoresFile(path), clips, 1.0, said)
    assert said.texts == ["1 of 3 clips have no teacher scores and are trained on their labels alone."]
    assert teacher.scores(1, np.array([0.5])) is None
    expected = 1 / (1 + np.exp(-logits[1, :, 12].astype(np.float64)))
    np.testing.assert_allclose(teacher.scores(0, np.array([0.5]))[0], expected, rtol=1e-5)
    way = {**QUICK, "epochs": 1, "val_fraction": 0.0}
    result = finetune("tiny", clips, teacher_scores=path, output=tmp_path / "run", **way)
    assert result.settings.distill_weight == 0.9
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["filenames"] = np.array([b"0_2.mp3"])
        file["strong_logits"] = np.zeros((1, 5, 250), dtype=np.float16)
    with pytest.raises(OptionError, match="5 classes"):
        FileFrames(FrameScoresFile(tmp_path / "other.h5"), clips, 1.0, said)
    (tmp_path / "torn.h5").write_bytes(path.read_bytes()[:700])
    with pytest.raises(ManifestError, match=r"torn\.h5"):
        FrameScoresFile(tmp_path / "torn.h5")
