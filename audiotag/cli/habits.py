"""Names that people bring from other tools, and ours for the same thing: a command offers those of them that it has."""

from __future__ import annotations

from collections.abc import Mapping

_MODEL = ("--model", "--backbone")
_RATE = ("--learning-rate",)
_CLIPS = ("--data", "--train", "--stream", "PATH...", "SOURCE")
_RESULTS = ("--output",)

OPTION_HABITS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("-m", "--arch", "--architecture", "--backbone", "--base-model", "--model", "--model-name"), _MODEL
    ),
    **dict.fromkeys(("--checkpoint-path", "--ckpt", "--init", "--pretrained"), ("--weights", *_MODEL)),
    **dict.fromkeys(("--learning_rate", "--lr", "--base-lr"), _RATE),
    **dict.fromkeys(("-b", "--batch", "--batch_size", "--bs", "--batchsize"), ("--batch-size",)),
    **dict.fromkeys(("-e", "--epoch", "--max-epochs", "--n-epochs", "--num-epochs"), ("--epochs",)),
    **dict.fromkeys(("-i", "--input", "--data-train", "--dataset", "--train-data", "--audio"), _CLIPS),
    **dict.fromkeys(("--data-val", "--valid", "--validation", "--val-data"), ("--val",)),
    **dict.fromkeys(("-o", "--out", "--outdir", "--output-dir", "--output-file", "--save-dir", "--exp-dir"), _RESULTS),
    **dict.fromkeys(("-j", "--num-workers", "--jobs"), ("--workers",)),
    **dict.fromkeys(("--gpu", "--gpus", "--cuda", "--accelerator"), ("--device",)),
    **dict.fromkeys(("--classes", "--class-list", "--label-csv", "--class-labels"), ("--labels",)),
    **dict.fromkeys(
        ("--threshold", "--thresholds", "--min-conf", "--min_conf", "--confidence", "-t"),
        ("--threshold", "--thresholds"),
    ),
    **dict.fromkeys(("-k", "--topk", "--top-k", "--top_n", "--top-n"), ("--top", "--top-k")),
    **dict.fromkeys(("--rtype", "--output-format"), ("--format",)),
    **dict.fromkeys(("--overlap", "--stride", "--step"), ("--hop",)),
    **dict.fromkeys(("--amp", "--fp16", "--bf16", "--half"), ("--precision",)),
    **dict.fromkeys(("--freeze", "--frozen", "--linear-probe"), ("--freeze-backbone",)),
    **dict.fromkeys(("--lora", "--lora-rank", "--lora-r", "--peft", "--adapters"), ("--adapter",)),
    **dict.fromkeys(("--mixup",), ("--mixup-alpha",)),
    **dict.fromkeys(("--freqm", "--freq-mask"), ("--frequency-mask",)),
    **dict.fromkeys(("--timem",), ("--time-mask",)),
    **dict.fromkeys(("--optim", "--optimizer"), ("--optimiser",)),
    **dict.fromkeys(("--scheduler", "--lr-schedule", "--lr-scheduler"), ("--schedule",)),
    **dict.fromkeys(("--wd",), ("--weight-decay",)),
    **dict.fromkeys(("--patience",), ("--early-stopping",)),
    **dict.fromkeys(("--cv", "--cross-validate", "--kfold", "--k-fold", "--folds"), ("--cross-validate", "--folds")),
    **dict.fromkeys(("--plot", "--plots", "--figure"), ("--figures",)),
    **dict.fromkeys(("--force", "-f", "--replace"), ("--overwrite",)),
    **dict.fromkeys(("--continue", "--restart"), ("--resume",)),
    **dict.fromkeys(("-q", "--silent"), ("--quiet",)),
    **dict.fromkeys(("--eval", "--test-data", "--data-eval"), ("--test",)),
    **dict.fromkeys(("--size", "--max-size", "--buffer-size"), ("--capacity",)),
    **dict.fromkeys(("-V", "-v"), ("--version", "--verbose")),
}
"""Option elsewhere → ours, or our argument that needs no option."""

VERB_HABITS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("train", "learn", "fit", "fine-tune", "tune"), ("finetune",)),
    **dict.fromkeys(("tag", "predict", "analyze", "analyse", "classify", "detect", "run", "listen"), ("infer",)),
    **dict.fromkeys(("eval", "test", "score", "measure", "validate", "val"), ("evaluate", "verify")),
    **dict.fromkeys(("benchmark", "sweep"), ("compare", "online benchmark")),
    **dict.fromkeys(("stream", "live", "continual"), ("online",)),
    **dict.fromkeys(("download", "fetch", "get"), ("download", "models download", "data download")),
    **dict.fromkeys(("ls", "show", "all"), ("list",)),
    **dict.fromkeys(("list", "model", "zoo"), ("models list",)),
    **dict.fromkeys(("dataset", "datasets"), ("data",)),
    **dict.fromkeys(("convert", "onnx"), ("export",)),
    **dict.fromkeys(("rm", "remove", "delete", "clean", "purge"), ("clear", "cache clear")),
    **dict.fromkeys(("create", "make", "new"), ("init", "new")),
    **dict.fromkeys(("embed", "embeddings"), ("infer --embeddings",)),
    **dict.fromkeys(("distill", "distil"), ("finetune --teacher",)),
    **dict.fromkeys(("crossval", "cross-validate", "cv"), ("finetune --cross-validate",)),
    "help": ("--help",),
    "version": ("--version",),
}
"""Command elsewhere → ours, with what follows it."""
