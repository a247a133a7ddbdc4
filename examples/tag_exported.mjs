// Tag a WAV file with an exported folder, in Node: `npm install onnxruntime-node` is all it needs.
//
//     audiotag export home10 --output home10
//     node examples/tag_exported.mjs home10 clip.wav
//
// The file has 16 bits and the model's sample rate, and is neither shorter nor longer than the model takes at once.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import ort from "onnxruntime-node";

// The arrays of a safetensors file: the length of a JSON header, the header, the numbers.
function readArrays(path) {
  const content = readFileSync(path);
  const size = Number(content.readBigUInt64LE(0));
  const arrays = {};
  for (const [name, entry] of Object.entries(JSON.parse(content.toString("utf8", 8, 8 + size)))) {
    if (name === "__metadata__") continue;
    const [begin, end] = entry.data_offsets.map((offset) => content.byteOffset + 8 + size + offset);
    arrays[name] = { data: new Float32Array(content.buffer.slice(begin, end)), shape: entry.shape };
  }
  return arrays;
}

// Sample rate and samples in [-1, 1], channels averaged.
function readWav(path) {
  const content = readFileSync(path);
  let format, sound;
  for (let at = 12; at + 8 <= content.length; ) {
    const chunk = content.toString("latin1", at, at + 4);
    const length = content.readUInt32LE(at + 4);
    if (chunk === "fmt ") {
      format = { channels: content.readUInt16LE(at + 10), rate: content.readUInt32LE(at + 12), bits: content.readUInt16LE(at + 22) };
    } else if (chunk === "data") {
      if (format.bits !== 16) throw new Error(`${path} has ${format.bits} bits; 16 are read`);
      const { channels } = format;
      sound = new Float64Array(Math.floor(Math.min(length, content.length - at - 8) / 2 / channels));
      for (let i = 0; i < sound.length * channels; i++) {
        sound[Math.floor(i / channels)] += content.readInt16LE(at + 8 + 2 * i) / 32768 / channels;
      }
    }
    at += 8 + length + (length % 2);
  }
  return { rate: format.rate, sound };
}

// |FFT|² of real samples, for sizes that are powers of two: bins 0 … n / 2.
function powerSpectrum(real) {
  const n = real.length;
  const imaginary = new Float64Array(n);
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [real[i], real[j]] = [real[j], real[i]];
  }
  for (let size = 2; size <= n; size *= 2) {
    for (let k = 0; k < size / 2; k++) {
      const cos = Math.cos((2 * Math.PI * k) / size);
      const sin = -Math.sin((2 * Math.PI * k) / size);
      for (let a = k; a < n; a += size) {
        const b = a + size / 2;
        const re = real[b] * cos - imaginary[b] * sin;
        const im = real[b] * sin + imaginary[b] * cos;
        real[b] = real[a] - re;
        imaginary[b] = imaginary[a] - im;
        real[a] += re;
        imaginary[a] += im;
      }
    }
  }
  return Float64Array.from({ length: n / 2 + 1 }, (_, k) => real[k] ** 2 + imaginary[k] ** 2);
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// The spectrogram that the network takes, bands after one another.
function logMel(frontEnd, { window, filters }, sound) {
  const { pre_emphasis: emphasis, n_fft: size, hop, centred } = frontEnd;
  if (frontEnd.remove_mean) {
    const middle = mean(sound);
    sound = sound.map((value) => value - middle);
  }
  if (sound.length < frontEnd.pad_samples) {
    const padded = new Float64Array(frontEnd.pad_samples);
    padded.set(sound);
    sound = padded;
  }
  let taps = window.data;
  if (centred) {
    if (emphasis) sound = sound.subarray(1).map((value, i) => value - emphasis * sound[i]);
    const last = sound.length - 1;
    const source = sound;
    sound = Float64Array.from({ length: source.length + size }, (_, i) => {
      const at = Math.abs(i - size / 2);
      return source[at > last ? 2 * last - at : at];
    });
    taps = new Float64Array(size);
    taps.set(window.data, Math.floor((size - window.data.length) / 2));
  }
  const [bands, bins] = filters.shape;
  const found = Math.floor((sound.length - taps.length) / hop) + 1;
  const count = frontEnd.frames ?? found;
  const features = new Float32Array(bands * count).fill(frontEnd.padding_value);
  for (let t = 0; t < Math.min(found, count); t++) {
    let frame = sound.slice(t * hop, t * hop + taps.length);
    if (!centred) {
      const middle = mean(frame);
      frame = frame.map((value) => value - middle);
      frame = frame.map((value, i) => value - emphasis * frame[Math.max(0, i - 1)]);
    }
    const windowed = new Float64Array(size);
    for (let i = 0; i < taps.length; i++) windowed[i] = frame[i] * taps[i];
    const power = powerSpectrum(windowed);
    for (let band = 0; band < bands; band++) {
      let energy = 0;
      for (let k = 0; k < bins; k++) energy += filters.data[band * bins + k] * power[k];
      energy = Math.max(energy + frontEnd.offset, frontEnd.floor);
      features[band * count + t] = (frontEnd.log_scale * Math.log(energy) + frontEnd.shift) / frontEnd.scale;
    }
  }
  return new ort.Tensor("float32", features, [1, bands, count]);
}

const [folder, recording] = process.argv.slice(2);
const facts = JSON.parse(readFileSync(join(folder, "audiotag.json"), "utf8"));
const { rate, sound } = readWav(recording);
if (rate !== facts.lengths.sample_rate) throw new Error(`${recording} has ${rate} Hz; the model takes ${facts.lengths.sample_rate}`);
const spectrogram = logMel(facts.front_end, readArrays(join(folder, "front_end.safetensors")), sound);
const session = await ort.InferenceSession.create(join(folder, facts.network.file));
let logits;
if (facts.head === null) {
  logits = Array.from((await session.run({ spectrogram }, ["logits"])).logits.data);
} else {
  // Learned on a device since.
  const { weight, bias } = readArrays(join(folder, "head.safetensors"));
  const input = (await session.run({ spectrogram }, ["head_input"])).head_input.data;
  logits = Array.from(bias.data, (sum, row) => input.reduce((total, value, i) => total + value * weight.data[row * input.length + i], sum));
}
const highest = logits.reduce((most, value) => Math.max(most, value), -Infinity);
const shifted = logits.map((value) => Math.exp(value - highest));
const sum = shifted.reduce((total, value) => total + value, 0);
const scores = facts.single_label ? shifted.map((value) => value / sum) : logits.map((value) => 1 / (1 + Math.exp(-value)));
const order = scores.map((_, index) => index).sort((a, b) => scores[b] - scores[a]);
for (const index of order.slice(0, 5)) console.log(`${scores[index].toFixed(3)} ${facts.labels[index].name}`);
