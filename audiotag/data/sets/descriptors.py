"""Facts about the published data sets: licence, citation, addresses, checksums as their publishers state them.

Cheap to import: what reads the sets is named, not imported.
"""

from __future__ import annotations

from collections.abc import Mapping

from audiotag.specs import DatasetSpec, Remote

_AUDIOSET = ("balanced_train", "unbalanced_train", "eval")
_ZENODO = "https://zenodo.org/records"

_FSD50K = {
    "FSD50K.dev_audio.zip": "c480d119b8f7a7e32fdb58f3ea4d6c5a",
    "FSD50K.dev_audio.z01": "faa7cf4cc076fc34a44a479a5ed862a3",
    "FSD50K.dev_audio.z02": "8f9b66153e68571164fb1315d00bc7bc",
    "FSD50K.dev_audio.z03": "1196ef47d267a993d30fa98af54b7159",
    "FSD50K.dev_audio.z04": "d088ac4e11ba53daf9f7574c11cccac9",
    "FSD50K.dev_audio.z05": "81356521aa159accd3c35de22da28c7f",
    "FSD50K.eval_audio.zip": "6fa47636c3a3ad5c7dfeba99f2637982",
    "FSD50K.eval_audio.z01": "3090670eaeecc013ca1ff84fe4442aeb",
    "FSD50K.ground_truth.zip": "ca27382c195e37d2269c4c866dd73485",
    "FSD50K.metadata.zip": "b9ea0c829a411c1d42adb9da539ed237",
    "FSD50K.doc.zip": "3516162b82dc2945d3e7feba0904e800",
}

_TAU_2020 = "TAU-urban-acoustic-scenes-2020-mobile-development.{}.zip"
_DCASE20 = {
    "audio.1": "b1e85b8a908d3d6a6ab73268f385d5c8",
    "audio.2": "4310a13cc2943d6ce3f70eba7ba4c784",
    "audio.3": "ed38956c4246abb56190c1e9b602b7b8",
    "audio.4": "97ab8560056b6816808dedc044dcc023",
    "audio.5": "b50f5e0bfed33cd8e52cb3e7f815c6cb",
    "audio.6": "fbf856a3a86fff7520549c899dc94372",
    "audio.7": "0dbffe7b6e45564da649378723284062",
    "audio.8": "bb6f77832bf0bd9f786f965beb251b2e",
    "audio.9": "a65596a5372eab10c78e08a0de797c9e",
    "audio.10": "2ad595819ffa1d56d2de4c7ed43205a6",
    "audio.11": "0ad29f7040a4e6a22cfd639b3a6738e5",
    "audio.12": "e5f4400c6b9697295fab4cf507155a2f",
    "audio.13": "8855ab9f9896422746ab4c5d89d8da2f",
    "audio.14": "092ad744452cd3e7de78f988a3d13020",
    "audio.15": "4b5eb85f6592aebf846088d9df76b420",
    "audio.16": "2e0a89723e58a3836be019e6996ae460",
    "doc": "175f40dc3fec144347abad4d2962b7ae",
    "meta": "6eae9db553ce48e4ea246e34e50a3cf5",
}

_ESC_PAPER = (
    "Piczak, ESC: dataset for environmental sound classification, ACM Multimedia 2015 (doi:10.1145/2733373.2806390)"
)
_ESC_HOME = "https://github.com/karolpiczak/ESC-50"
_ESC50_ARCHIVE = Remote(
    url=f"{_ESC_HOME}/archive/master.zip",
    filename="ESC-50-master.zip",
    note="An archive of the repository as it stands, for which no checksum is stated",
)


def _zenodo(record: int, checksums: Mapping[str, str], name: str = "{}") -> tuple[Remote, ...]:
    return tuple(
        Remote(
            url=f"{_ZENODO}/{record}/files/{name.format(part)}?download=1",
            filename=name.format(part),
            checksum=f"md5:{digest}",
        )
        for part, digest in checksums.items()
    )


PUBLISHED = (
    DatasetSpec(
        name="audioset",
        factory="audiotag.data.sets.audioset:AudioSet",
        summary="AudioSet: segment lists with a folder of clips, or HDF5 files of MP3s",
        extensions=(".csv", "/"),
        licence="CC BY 4.0 (lists and labels; each video has the licence of its uploader)",
        citation="Gemmeke et al., Audio Set: an ontology and human-labeled dataset for audio events, ICASSP 2017",
        homepage="https://research.google.com/audioset/",
        remotes=tuple(
            Remote(
                url=f"http://storage.googleapis.com/us_audioset/youtube_corpus/v1/csv/{name}.csv",
                filename=f"{name}.csv",
                note="The list only: the recordings are on YouTube",
            )
            for name in (*(f"{split}_segments" for split in _AUDIOSET), "class_labels_indices")
        ),
        splits=_AUDIOSET,
    ),
    DatasetSpec(
        name="audioset_strong",
        factory="audiotag.data.sets.audioset_strong:AudioSetStrong",
        summary="AudioSet with strong labels: when 447 classes are heard in 120 000 segments",
        extensions=("/", ".tsv"),
        licence="labels CC BY 4.0; each video has the licence of its uploader",
        citation="Hershey et al., The benefit of temporally-strong labels in audio event classification, ICASSP 2021 "
        "(arXiv 2105.07031)",
        homepage="https://research.google.com/audioset/download_strong.html",
        remotes=tuple(
            Remote(
                url=f"http://storage.googleapis.com/us_audioset/youtube_corpus/strong/audioset_{split}_strong.tsv",
                filename=f"audioset_{split}_strong.tsv",
                note="The list only: the videos are on YouTube",
            )
            for split in ("train", "eval")
        ),
        splits=("train", "eval"),
    ),
    DatasetSpec(
        name="fsd50k",
        factory="audiotag.data.sets.fsd50k:Fsd50k",
        summary="FSD50K: 51 197 Freesound clips, 200 classes",
        extensions=(".csv", "/"),
        licence="CC BY 4.0 (as a whole; each clip is CC0, CC BY, CC BY-NC or CC Sampling+)",
        citation="Fonseca et al., FSD50K: an open dataset of human-labeled sound events, TASLP 2022 (arXiv 2010.00475)",
        homepage=f"{_ZENODO}/4060432",
        remotes=_zenodo(4060432, _FSD50K),
        splits=("train", "val", "eval"),
    ),
    DatasetSpec(
        name="esc50",
        factory="audiotag.data.sets.esc50:Esc50",
        summary="ESC-50 and sets like it: CSV (filename, fold, target, category) with a folder of audio",
        extensions=(".csv", "/"),
        licence="CC BY-NC 3.0",
        citation=_ESC_PAPER,
        homepage=_ESC_HOME,
        remotes=(_ESC50_ARCHIVE,),
    ),
    DatasetSpec(
        name="esc10",
        factory="audiotag.data.sets.esc50:Esc10",
        summary="ESC-10: the ten classes of ESC-50 under a freer licence (--format esc10 on ESC-50)",
        extensions=("/",),
        licence="CC BY 3.0",
        citation=_ESC_PAPER,
        homepage=_ESC_HOME,
        remotes=(_ESC50_ARCHIVE,),
    ),
    DatasetSpec(
        name="dcase20",
        factory="audiotag.data.sets.dcase20:Dcase20",
        summary="DCASE 2020 task 1A: ten urban scenes, nine devices (TAU Urban Acoustic Scenes 2020 Mobile)",
        extensions=(".csv", "/"),
        licence="Tampere University's own: academic, non-commercial use",
        citation="Heittola, Mesaros, Virtanen, Acoustic scene classification in DCASE 2020 challenge, DCASE workshop "
        "2020 (arXiv 2005.14623)",
        homepage=f"{_ZENODO}/3819968",
        remotes=_zenodo(3819968, _DCASE20, _TAU_2020),
        splits=("train", "test", "unused"),
    ),
    DatasetSpec(
        name="openmic",
        factory="audiotag.data.sets.openmic:OpenMic",
        summary="OpenMIC-2018: 20 000 excerpts of music, twenty instruments, most labels unknown",
        extensions=(".csv", "/"),
        licence="CC BY 4.0 (as a whole; each excerpt has the Creative Commons licence of its recording)",
        citation="Humphrey, Durand, McFee, OpenMIC-2018: an open dataset for multiple instrument recognition, "
        "ISMIR 2018",
        homepage=f"{_ZENODO}/1432913",
        remotes=(
            Remote(
                url=f"{_ZENODO}/1432913/files/openmic-2018-v1.0.0.tgz?download=1",
                filename="openmic-2018-v1.0.0.tgz",
                checksum="md5:e4ccf187e2bb5ab2e115416e8aafe7f4",
                bytes=2_623_376_754,
            ),
        ),
        splits=("train", "test"),
    ),
    DatasetSpec(
        name="vggsound",
        factory="audiotag.data.sets.vggsound:VggSound",
        summary="VGGSound: segments of videos, 309 classes, one each",
        extensions=(".csv", "/"),
        licence="CC BY 4.0 (list and labels; each video has the licence of its uploader)",
        citation="Chen et al., VGGSound: a large-scale audio-visual dataset, ICASSP 2020 (arXiv 2004.14368)",
        homepage="https://www.robots.ox.ac.uk/~vgg/data/vggsound/",
        remotes=(
            Remote(
                url="https://raw.githubusercontent.com/hche11/VGGSound/master/data/vggsound.csv",
                filename="vggsound.csv",
                note="The list only: the videos are on YouTube",
            ),
        ),
        splits=("train", "test"),
    ),
    DatasetSpec(
        name="desed",
        factory="audiotag.data.sets.desed:Desed",
        summary="DESED: domestic sounds with weak and strong labels (DCASE task 4), ten classes",
        extensions=("/",),
        licence="each recording has the licence of its uploader (YouTube, Vimeo, Freesound)",
        citation="Turpault et al., Sound event detection in domestic environments with weakly labeled data and "
        "soundscape synthesis, DCASE workshop 2019",
        homepage="https://project.inria.fr/desed/",
        remotes=(
            Remote(
                url=f"{_ZENODO}/3588172/files/DESEDpublic_eval.tar.gz?download=1",
                filename="DESEDpublic_eval.tar.gz",
                note="The public evaluation part; the others are made by the authors' own programs",
            ),
        ),
        splits=("weak", "synthetic", "validation", "public_eval"),
    ),
)
"""Every published data set that the core reads."""
