"""What people say of a network and its settings, by trait."""

from __future__ import annotations

from typing import Final

OF_NETWORKS: Final[dict[str, tuple[str, ...]]] = {
    "convolutional": (
        "convolutional", "cnn", "convnet", "convolution", "conv", "conv net", "conv network",
        "filters", "convolutions", "vision model", "kernels",
    ),
    "transformer": (
        "transformer", "attention network", "vit", "self attention", "attention model",
        "encoder model", "language model", "attention based",
    ),
    "recurrent": (
        "recurrent", "rnn", "lstm", "gru", "recurrence", "sequence model", "recurrent network",
    ),
    "perceptron": (
        "mlp", "perceptron", "multilayer perceptron", "feed forward", "feedforward",
        "feedforward net", "plain network", "dense layers", "fully connected network",
        "multi layer perceptron",
    ),
    "autoencoder": (
        "autoencoder", "auto encoder", "vae", "reconstruction", "encoder decoder", "reconstruct",
        "reconstructing", "latent", "latent code", "code layer", "compresses its input",
        "embedding bottleneck",
    ),
    "regression": (
        "regression", "regressor", "mean squared error", "mse", "continuous target",
        "predict number", "predict value", "predict price", "real valued", "not class",
        "not classification", "curve fitting", "numeric target", "prices", "price", "target values",
        "squared error",
    ),
    "on_images": (
        "images", "pictures", "vision", "image classification", "image", "picture", "photos",
        "photo", "visual", "computer vision",
    ),
    "on_text": (
        "text", "language", "nlp", "sentences", "documents", "articles", "writing", "texts",
    ),
    "on_tables": ("tabular", "tables", "tabular data", "small data", "medical data"),
    "sparse": (
        "sparse", "sparsely connected", "low density", "few connections", "sparsity",
        "thinly connected", "few weights", "few links", "mostly zeros", "mostly zero",
        "few nonzeros", "missing most connections", "few synapses",
    ),
    "very_sparse": (
        "very sparse", "extremely sparse", "ultra sparse", "highly sparse", "tiny density",
        "hardly any connections", "very low density", "almost no connections", "almost no weights",
        "hardly any weights", "barely any connections", "nearly empty", "almost empty",
        "tiny fraction of connections", "tiny fraction of weights", "below percent density",
        "below percent connections", "one percent density", "hardly connected",
        "handful of connections", "barely connected", "super sparse", "mega sparse",
        "minimal connectivity", "almost no links", "barely any weights", "under percent weights",
        "under percent density",
    ),
    "dense": (
        "dense", "fully connected", "high density", "densely connected", "many connections",
        "full connectivity", "all connections",
    ),
    "large": (
        "large", "big", "huge", "many parameters", "large number parameters", "heavy", "giant",
        "massive", "lots of parameters", "big model", "huge model", "millions of parameters",
        "monster", "heavyweight", "beefy", "gigantic", "many weights", "oversized", "large model",
    ),
    "small": (
        "small", "tiny", "little", "few parameters", "compact", "lightweight",
        "handful of parameters", "miniature", "light", "tiny model", "tiny net", "toy",
        "little net", "mini", "micro", "petite", "small model", "small net", "few weights model",
    ),
    "deep": (
        "deep", "many layers", "lots of layers", "tall", "many hidden layers", "depth",
        "stack of layers", "lots of hidden layers", "very deep", "tower", "dozen layers",
        "twenty layers", "long stack", "many stages",
    ),
    "shallow": (
        "shallow", "few layers", "single hidden layer", "one hidden layer", "few hidden layers",
        "two layers", "not deep", "flat network",
    ),
    "wide": (
        "wide", "broad", "many neurons", "many units", "wide layers", "large layers", "fat",
        "large hidden layer", "huge hidden layer", "thousands of neurons", "thousands of units",
        "giant layer", "very wide", "many hidden units", "giant hidden layer", "big hidden layer",
        "huge layer", "enormous layer",
    ),
    "narrow": (
        "narrow", "thin", "few neurons", "few units", "slim", "skinny", "small layers",
        "few hidden units", "handful of neurons", "handful of units", "small hidden layer",
        "tiny hidden layer", "tiny layers", "thin layers", "very narrow", "few hidden neurons",
    ),
    "tapering": (
        "tapering", "funnel", "pyramid", "shrinking widths", "decreasing widths", "tapered",
        "tapers", "cone", "narrowing layers", "layers get smaller", "shrinking layers",
        "each layer smaller", "halving layers", "layers halve", "widths halve", "triangle",
        "triangular", "funnel shaped", "pyramidal", "decreasing layer sizes", "layers shrink",
        "narrower with depth", "gets narrower", "every layer half as wide", "layer sizes decrease",
        "layer sizes halve", "each layer half as wide", "each layer narrower",
    ),
    "bottleneck": (
        "bottleneck", "hourglass", "narrow middle", "squeezed middle", "hour glass",
        "pinched middle", "waist", "tight middle", "choke point", "choke", "squeeze", "squeezed",
        "narrow waist", "thin middle", "small middle layer", "pinch", "narrow center",
        "tiny middle", "tight bottleneck", "compressed middle", "narrow code", "tiny code",
        "small code", "wide narrow wide", "wasp waist", "squeezes through",
    ),
    "high_rate": (
        "high learning rate", "large learning rate", "big learning rate",
        "aggressive learning rate", "huge learning rate", "large steps", "large rate", "high rate",
        "too high learning rate", "rate too high", "too high rate", "rate high",
        "hot learning rate", "fast learning rate", "excessive rate", "cranked up rate",
        "rate too large", "rate too big", "large step",
    ),
    "low_rate": (
        "low learning rate", "small learning rate", "tiny learning rate", "careful learning rate",
        "small steps", "low rate", "small rate", "rate too low", "rate too small", "cautious rate",
        "timid rate", "gentle rate", "slow learning rate", "minuscule rate",
    ),
    "large_batch": (
        "large batch", "big batch", "huge batch", "large batch size", "big batch size",
        "large batches", "huge batches", "big batches", "giant batches", "massive batch",
        "full batch", "enormous batch",
    ),
    "small_batch": (
        "small batch", "tiny batch", "small batch size", "little batch", "small batches",
        "tiny batches", "few samples per step", "few examples per step", "mini batch tiny",
        "single sample", "very small batches", "minuscule batch", "few examples at a time",
    ),
    "on_audio": (
        "audio", "sound", "sounds", "speech", "spoken", "spoken words", "voice", "voices",
        "keyword spotting", "keywords", "recordings", "acoustic",
    ),
    "resnet": ("resnet", "residual network", "residual net"),
    "linear": (
        "linear model", "no hidden layer", "no hidden", "without hidden layer", "not hidden layer",
        "logistic regression", "softmax regression", "single layer network", "linear classifier",
        "purely linear", "only one layer", "just linear",
    ),
    "one_hidden": (
        "single hidden layer", "one hidden layer", "just one hidden layer", "single hidden",
        "one layer", "one hidden",
    ),
    "broadening": (
        "inverted pyramid", "widening layers", "layers get wider", "layers get larger",
        "increasing widths", "growing widths", "inverse funnel", "wider with depth",
        "funnel in reverse", "reversed funnel", "pyramid upside down", "upside down pyramid",
        "every layer twice as wide", "every layer wider", "flipped pyramid", "each layer wider",
        "layers widen", "reverse pyramid", "layers double width", "each layer twice as wide",
        "twice as wide as the one before", "growing layer sizes", "layer sizes increase",
        "layer sizes double", "each layer bigger",
    ),
    "equal_widths": (
        "equal widths", "same width", "constant width", "uniform width", "all layers same size",
        "equal layers", "rectangular", "same size layers", "identical layers",
        "layers of equal size",
    ),
    "bulge": (
        "bulge", "diamond", "diamond shaped", "wide middle", "fat middle", "barrel",
        "bulging middle", "swollen middle", "belly", "big middle", "broad middle", "rhombus",
    ),
    "strong_decay": (
        "strong weight decay", "high weight decay", "heavy weight decay", "large weight decay",
        "big weight decay", "strong decay", "heavy regularisation", "heavy regularization",
        "strong regularisation", "strong regularization", "heavily regularised",
        "heavily regularized", "strongly regularised", "huge weight decay", "strong l2", "high l2",
        "strong penalty",
    ),
    "strong_dropout": (
        "strong dropout", "high dropout", "heavy dropout", "large dropout", "lots of dropout",
        "much dropout", "aggressive dropout", "too much dropout", "extreme dropout", "dropout high",
        "heavy regularisation dropout",
    ),
    "unregularised": (
        "no regularisation", "no regularization", "unregularised", "unregularized",
        "without regularisation", "not regularised", "no regulariser",
    ),
    "no_dropout": ("no dropout", "without dropout", "dropout off", "dropout zero", "dropout free"),
    "no_decay": ("no weight decay", "without weight decay", "no decay", "weight decay off"),
}  # fmt: skip
