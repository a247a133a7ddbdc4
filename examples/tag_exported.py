"""Tag a WAV file with an exported folder, in NumPy and ONNX Runtime alone: what others need to write theirs.

    audiotag export home10 --output home10
    python examples/tag_exported.py home10 clip.wav

The file has 16 bits and the model's sample rate, and is neither shorter nor longer than the model takes at once.
"""

import json
import sys
import wave
from pathlib import Path

import numpy as np
import onnxruntime


def read_arrays(path):
    """The arrays of a safetensors file: the length of a JSON header, the header, the numbers."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    arrays = {}
    for name, entry in json.loads(content[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            arrays[name] = np.frombuffer(content[begin:end], "<f4").reshape(entry["shape"])
    return arrays


def log_mel(front_end, window, filters, sound):
    """The spectrogram (bands, frames) that the network takes."""
    if front_end["remove_mean"]:
        sound = sound - sound.mean()
    sound = np.pad(sound, (0, max(0, front_end["pad_samples"] - len(sound))))
    emphasis, n_fft = front_end["pre_emphasis"], front_end["n_fft"]
    if front_end["centred"]:
        if emphasis:
            sound = sound[1:] - emphasis * sound[:-1]
        left = (n_fft - len(window)) // 2
        window = np.pad(window, (left, n_fft - len(window) - left))
        sound = np.pad(sound, n_fft // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(sound, len(window))[:: front_end["hop"]]
    if not front_end["centred"]:
        frames = frames - frames.mean(axis=1, keepdims=True)
        frames = frames - emphasis * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    power = np.abs(np.fft.rfft(frames * window, n_fft)) ** 2
    energies = np.maximum(power @ filters.T + front_end["offset"], front_end["floor"])
    features = ((front_end["log_scale"] * np.log(energies) + front_end["shift"]) / front_end["scale"]).T
    count = front_end["frames"] or features.shape[1]
    features = np.pad(
        features, ((0, 0), (0, max(0, count - features.shape[1]))), constant_values=front_end["padding_value"]
    )
    return features[:, :count].astype(np.float32)


def main(folder, recording):
    """Print the five highest classes."""
    facts = json.loads((folder / "audiotag.json").read_text(encoding="utf-8"))
    with wave.open(recording) as file:
        assert file.getframerate() == facts["lengths"]["sample_rate"] and file.getsampwidth() == 2
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
    sound = samples.mean(axis=1).astype(np.float32) / 32768
    features = log_mel(facts["front_end"], **read_arrays(folder / "front_end.safetensors"), sound=sound)
    session = onnxruntime.InferenceSession(str(folder / facts["network"]["file"]))
    given = {"spectrogram": features[None]}
    if facts["head"] is None:
        (logits,) = session.run(["logits"], given)[0]
    else:  # learned on a device since
        head = read_arrays(folder / "head.safetensors")
        (logits,) = session.run(["head_input"], given)[0] @ head["weight"].T + head["bias"]
    shifted = np.exp(logits - logits.max())
    scores = shifted / shifted.sum() if facts["single_label"] else 1 / (1 + np.exp(-logits))
    for index in np.argsort(-scores)[:5]:
        print(f"{scores[index]:.3f} {facts['labels'][index]['name']}")


main(Path(sys.argv[1]), sys.argv[2])
