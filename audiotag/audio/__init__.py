"""Sound: decoding, resampling, windows, front ends and augmentation."""
