"""Front ends: waveform to spectrogram, one module per family of log-mel features."""
