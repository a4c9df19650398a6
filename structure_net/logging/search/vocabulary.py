"""The small vocabulary of the search: what people say, and which trait of an experiment they mean.

A phrase matches where its words stand near each other, in any order and in any form ("plateaued
early", "an early plateau"), or where words of their families do (see `thesaurus`). Longer phrases
go first; a word that no phrase needs is looked for by itself: names of data sets and strategies,
tags, notes.
"""

from __future__ import annotations

from typing import Final

PHRASES: Final[dict[str, tuple[str, ...]]] = {
    "convolutional": ("convolutional", "cnn", "convnet", "convolution", "conv"),
    "transformer": ("transformer", "attention network", "vit", "self attention"),
    "recurrent": ("recurrent", "rnn", "lstm", "gru"),
    "perceptron": ("mlp", "perceptron", "multilayer perceptron", "feed forward", "feedforward"),
    "autoencoder": ("autoencoder", "auto encoder", "vae", "reconstruction"),
    "regression": ("regression", "regressor", "mean squared error", "mse", "continuous target"),
    "on_images": ("images", "pictures", "vision", "image classification"),
    "on_text": ("text", "language"),
    "on_tables": ("tabular", "tables"),
    "sparse": ("sparse", "sparsely connected", "low density", "few connections", "sparsity"),
    "very_sparse": (
        "very sparse", "extremely sparse", "ultra sparse", "highly sparse", "sparsest",
        "tiny density", "hardly any connections", "very low density", "most sparse",
    ),
    "dense": ("dense", "fully connected", "high density", "densely connected", "many connections"),
    "large": (
        "large", "big", "huge", "largest", "biggest", "many parameters", "large number parameters",
        "heavy", "giant", "massive", "most parameters", "lots of parameters",
    ),
    "small": (
        "small", "tiny", "little", "smallest", "few parameters", "compact", "lightweight",
        "fewest parameters", "handful of parameters", "miniature", "light",
    ),
    "deep": ("deep", "many layers", "deepest", "lots of layers", "tall", "most layers"),
    "shallow": ("shallow", "few layers", "single hidden layer", "one hidden layer", "shallowest"),
    "wide": (
        "wide", "broad", "many neurons", "many units", "wide layers", "widest", "large layers",
        "fat",
    ),
    "narrow": (
        "narrow", "thin", "few neurons", "few units", "slim", "narrowest", "skinny", "small layers",
    ),
    "tapering": ("tapering", "funnel", "pyramid", "shrinking widths", "decreasing widths"),
    "bottleneck": ("bottleneck", "hourglass", "narrow middle", "squeezed middle"),
    "grew": (
        "grow", "growth", "grew", "grown", "expanded", "enlarged", "became larger", "got bigger",
        "gained parameters", "evolved",
    ),
    "grew_much": (
        "grew a lot", "grew strongly", "grew much", "grew massively", "grew hugely",
        "exploded size", "grew many times", "ballooned", "grew most", "heavy growth",
        "rapid growth", "times larger", "times the parameters", "doubled parameters",
        "grew considerably", "multiplied size", "grew fast", "grew enormously",
    ),
    "shrank": (
        "shrink", "shrank", "shrunk", "became smaller", "got smaller", "compressed", "slimmed",
        "lost parameters", "ended smaller", "reduced size", "cut down", "halved", "to half",
        "to a third", "to a quarter", "to a tenth", "to a fraction", "fraction of the parameters",
        "times smaller", "times fewer", "times fewer parameters", "fraction of the weights",
        "fraction of the size",
    ),
    "widened": (
        "grew wide", "grew wider", "widened", "became wider", "got wider", "width growth",
        "grew in width", "grew sideways", "grew broader", "broadened",
    ),
    "deepened": (
        "grew deep", "grew deeper", "deepened", "became deeper", "got deeper", "added depth",
        "depth growth", "grew in depth", "gained layers", "more layers", "doubled depth",
    ),
    "narrowed": ("narrowed", "became narrower", "got narrower", "lost width", "thinned layers"),
    "flattened": ("lost layers", "became shallower", "got shallower", "fewer layers"),
    "unchanged": (
        "never grew", "did not grow", "no growth", "without growth", "unchanged", "static",
        "fixed architecture", "never changed", "not change", "no edits", "without edits",
        "not grow", "kept architecture", "same architecture", "never edited",
        "constant architecture", "stayed the same", "without growing", "kept size", "not growing",
        "stayed size",
    ),
    "densified": (
        "became denser", "got denser", "grew denser", "density rose", "density increased",
        "densified", "gained connections", "filled in", "more connections", "denser",
    ),
    "sparsified": (
        "became sparser", "got sparser", "grew sparser", "density fell", "density dropped",
        "density decreased", "sparsified", "lost connections", "fewer connections", "sparser",
        "thinned out",
    ),
    "baseline": (
        "baseline", "reference", "control", "plain training", "without strategies", "no strategies",
        "vanilla", "no strategy",
    ),
    "many_edits": (
        "many edits", "often edited", "lots of edits", "constantly edited", "many changes",
        "edited often", "many surgeries", "most edits", "heavily edited", "many growth steps",
    ),
    "few_edits": ("few edits", "rarely edited", "hardly edited", "few changes", "single edit"),
    "added_neurons": (
        "added neurons", "adding neurons", "new neurons", "added units", "adding units",
        "added channels", "inserted neurons", "extra neurons",
    ),
    "pruned": (
        "pruned", "pruning", "removed neurons", "removing neurons", "removed units", "trimmed",
        "deleted neurons", "cut neurons", "dropped neurons", "dead neurons removed",
    ),
    "split": (
        "split", "splitting", "split neurons", "divided neurons", "duplicated neurons",
        "cloned neurons", "neuron division", "copied neurons",
    ),
    "merged": ("merged", "merging", "fused neurons", "joined neurons", "combined neurons"),
    "reset": (
        "reset", "recycled", "recycling", "reinitialised", "reinitialized", "revived",
        "dead neurons reset", "replaced neurons", "reset neurons", "reborn",
    ),
    "doubled": ("doubled", "doubled width", "doubling", "twice as wide"),
    "inserted_layer": (
        "inserted layer", "inserting layers", "added layer", "adding layers", "new layer",
        "extra layer", "stacked layers", "layer insertion",
    ),
    "removed_layer": ("removed layer", "removing layers", "deleted layer", "dropped layer"),
    "residual": (
        "residual", "residual block", "resnet", "residual connection", "skip connection block",
        "skip block",
    ),
    "skip": ("skip connection", "skip", "shortcut", "bypass", "skip link"),
    "heads": ("heads", "attention heads", "attention"),
    "removed_heads": (
        "removed heads", "pruned heads", "fewer heads", "masked heads", "removed attention heads",
        "lost heads", "dropped heads", "cut heads",
    ),
    "rewired": (
        "rewired", "rewiring", "dynamic sparse training", "dynamic sparsity", "moved connections",
        "swapped connections", "drop and grow", "reconnected",
    ),
    "regrown": (
        "grown back", "regrown", "connections grown back", "regrew", "grow back",
        "connections came back", "restored connections", "added again", "connections restored",
        "refilled",
    ),
    "added_connections": ("added connections", "adding connections", "new connections"),
    "removed_connections": (
        "removed connections", "removing connections", "pruned connections", "cut connections",
        "pruned weights", "magnitude pruning", "weight pruning",
    ),
    "taken_back": (
        "rolled back", "taken back", "rejected edits", "refused edits", "undone", "reverted",
        "rejected growth", "edits rejected", "growth rejected", "rejected", "rollback", "undo",
        "refused",
    ),
    "mostly_taken_back": (
        "most edits rejected", "mostly rejected", "most edits refused", "mostly rolled back",
        "most edits undone", "most edits taken back", "nearly all edits rejected", "mostly refused",
        "most proposals rejected", "most growth rejected", "hardly any edit accepted",
        "most changes rejected", "most edits rolled back", "rarely accepted",
    ),
    "late_edits": (
        "added late", "grew late", "edited late", "late growth", "late edits", "grew at the end",
        "late in the run", "grew towards the end", "inserted late", "pruned late", "late changes",
    ),
    "early_edits": (
        "added early", "grew early", "edited early", "early growth", "early edits", "pruned early",
        "grew at the beginning", "grew at first", "early in the run", "inserted early",
    ),
    "plateau": (
        "plateau", "plateaued", "stalled", "stagnated", "stuck", "levelled off", "leveled off",
        "flat curve", "stopped improving", "no longer improving", "converged", "saturated",
        "flattened out", "no more progress", "no progress", "flat loss", "settled",
        "accuracy stopped rising", "loss stopped falling",
    ),
    "early_plateau": (
        "plateaued early", "early plateau", "stalled early", "stuck early", "stagnated early",
        "stopped improving early", "levelled off early", "leveled off early", "converged early",
        "flat early", "early saturation", "plateaued quickly", "plateaued soon", "saturated early",
        "plateaued after few epochs", "stalled after few epochs", "stopped improving soon",
        "stopped improving after few epochs", "plateau few epochs", "settled early", "stalled soon",
        "stalled quickly", "stuck soon", "stuck quickly", "plateaued fast",
        "stopped learning early", "stopped learning soon", "stopped improving quickly",
        "early stagnation", "premature plateau", "plateaued right away", "plateaued beginning",
        "stopped rising early", "stopped falling early", "stopped rising after few epochs",
        "stopped falling after few epochs",
    ),
    "late_plateau": ("plateaued late", "late plateau", "stalled late", "converged late"),
    "improving": (
        "still improving", "kept improving", "keeps improving", "improving until the end",
        "still learning", "not converged", "still falling", "improving at the end", "kept learning",
        "undertrained", "improved steadily", "steady progress", "never plateaued", "no plateau",
        "not plateau", "without plateau", "steadily improving", "improving to the last",
        "never stopped improving", "improved throughout", "improved all along", "underfit",
        "kept getting better", "still getting better", "falling until the end",
        "rising until the end", "still rising", "needed more epochs", "trained longer",
    ),
    "diverged": (
        "diverged", "divergence", "diverging", "blew up", "exploded", "exploding", "loss went up",
        "loss rose", "numerically unstable", "exploding gradients", "loss exploded",
        "broke down", "got worse",
    ),
    "not_finite": (
        "nan", "nans", "not finite", "infinite", "infinity", "infinite loss", "inf", "overflowed",
        "not a number", "loss became infinite", "not numbers",
    ),
    "recovered": (
        "recovered", "recovery", "dropped and recovered", "collapsed and recovered", "dip",
        "dipped", "fell and came back", "collapsed", "collapse", "accuracy dropped", "loss spike",
        "temporary drop", "setback", "came back up", "bounced back", "fell and rose",
        "accuracy fell", "sudden drop", "healed",
    ),
    "unstable": (
        "unstable", "noisy", "jumpy", "oscillating", "erratic", "fluctuating", "bumpy", "spiky",
        "wobbly", "jittery", "instability", "spikes", "swinging", "zigzag", "bouncing", "shaky",
        "up and down", "jagged", "volatile",
    ),
    "smooth": (
        "smooth", "stable", "steady", "monotone", "steadily", "calm", "smooth curve",
        "well behaved",
    ),
    "overfit": (
        "overfit", "overfitted", "overfitting", "memorised", "memorized", "generalised badly",
        "generalised poorly", "generalized poorly", "poor generalization", "generalization gap",
        "validation loss rose", "validation got worse", "train test gap", "memorising",
        "validation rose while training fell", "generalisation gap", "validation loss increased",
        "validation loss went up", "bad generalisation",
    ),
    "fast_learner": (
        "learned fast", "learned quickly", "fast learner", "quick learner", "converged fast",
        "converged quickly", "rapid learning", "learned rapidly", "fast convergence",
        "quick convergence", "learned early", "good after one epoch", "after one epoch",
        "quick win", "good from the start", "good after the first epoch", "after the first epoch",
        "quickly accurate", "improved quickly",
    ),
    "slow_learner": (
        "learned slowly", "slow learner", "slow convergence", "converged slowly", "slow start",
        "late bloomer", "took long to learn", "slow to learn", "slow progress", "slow learning",
        "improved late", "improved slowly", "warmed up slowly", "sluggish",
    ),
    "never_learned": (
        "never learned", "did not learn", "failed to learn", "not learn", "chance level",
        "at chance", "learned nothing", "no learning", "random guessing", "not train",
        "untrainable", "no better", "hardly learned", "barely learned", "never improved",
        "hardly improved", "flat from start", "did not improve", "not improve", "barely improved",
    ),
    "accurate": (
        "accurate", "high accuracy", "best accuracy", "highest accuracy", "good accuracy", "best",
        "accuracy", "good", "strong", "successful", "top", "great", "excellent", "high score",
        "low error", "most accurate", "well performing", "performed well", "winning",
        "good results", "lowest error", "best performing", "worked well",
    ),
    "inaccurate": (
        "inaccurate", "low accuracy", "worst accuracy", "lowest accuracy", "bad accuracy", "worst",
        "poor accuracy", "bad", "poor", "weak", "high error", "performed badly", "disappointing",
        "performed poorly", "poorly performing", "bad results", "least accurate", "highest error",
    ),
    "efficient": (
        "efficient", "accurate for its size", "small but accurate", "parameter efficient",
        "good despite few parameters", "accurate with few parameters", "economical",
        "tiny but accurate", "few parameters high accuracy",
    ),
    "high_rate": (
        "high learning rate", "large learning rate", "big learning rate",
        "aggressive learning rate", "huge learning rate", "large steps", "large rate", "high rate",
        "too high learning rate",
    ),
    "low_rate": (
        "low learning rate", "small learning rate", "tiny learning rate", "careful learning rate",
        "small steps", "low rate", "small rate",
    ),
    "large_batch": ("large batch", "big batch", "huge batch", "large batch size", "big batch size"),
    "small_batch": ("small batch", "tiny batch", "small batch size", "little batch"),
    "long": (
        "long", "took hours", "long running", "expensive", "longest", "took long", "slow run",
        "slow", "costly", "time consuming", "took forever", "slowest",
    ),
    "short": (
        "short", "took seconds", "cheap", "shortest", "brief", "quick run", "fast run", "quick",
        "fast", "fastest", "in a hurry",
    ),
    "many_epochs": ("many epochs", "long training", "trained long", "hundreds of epochs"),
    "few_epochs": ("few epochs", "short training", "trained briefly", "handful of epochs"),
    "finished": ("finished", "completed", "successful end", "done", "ran to the end"),
    "interrupted": ("interrupted", "aborted", "cancelled", "canceled", "ctrl c", "killed"),
    "failed": ("failed", "crashed", "error", "broken", "stopped by an error", "crash", "failure"),
}  # fmt: skip
"""What people say, by trait."""

CONCEPTS: Final = tuple(PHRASES)

IRREGULAR: Final = {
    "slimmed": "slimmed",
    "narrowed": "narrowed",
    "grew": "grow", "grown": "grow", "shrank": "shrink", "shrunk": "shrink", "learnt": "learn",
    "going": "go", "goes": "go", "gone": "go", "became": "become", "got": "get",
    "lost": "lose", "fell": "fall", "rose": "rise",
    "kept": "keep", "stuck": "stuck", "blew": "blow", "went": "go", "took": "take",
    "broke": "break", "cut": "cut", "wider": "wide", "widest": "wide", "deeper": "deep",
    "smaller": "small", "larger": "large", "bigger": "big", "didn": "not", "doesn": "not",
    "isn": "not", "wasn": "not", "won": "win", "never": "not", "no": "not", "without": "not",
    "non": "not", "don": "not", "hadn": "not", "stabilised": "stable", "stabilized": "stable",
    "lacking": "not", "neither": "not", "divergence": "diverge", "stagnation": "stagnate",
    "convergence": "converge", "regrew": "regrow", "insertion": "insert", "couldn": "not",
    "instability": "unstable", "saturation": "saturate", "lots": "many", "several": "many",
    "numerous": "many", "lot": "much", "nets": "net", "units": "neuron", "unit": "neuron",
    "params": "parameter", "nodes": "neuron", "weights": "weight", "begun": "begin",
    "quickly": "quick", "rapidly": "quick", "rapid": "quick", "multiple": "many", "tons": "many",
    "lr": "rate", "hardly": "hardly", "early": "early",
}  # fmt: skip
"""Forms that no rule finds, and words that mean the same everywhere."""

NOT: Final = "not"
"""What all words of denial become."""

GENERIC: Final = frozenset((
    "a", "about", "accuracy", "after", "again", "all", "almost", "also", "although", "an", "and",
    "any", "architecture", "architectures", "are", "around", "as", "at", "be", "because", "been",
    "before", "being", "between", "but", "by", "connection", "connections", "d", "data", "did",
    "do", "does", "during", "edit", "edits", "end", "ended", "epoch", "epochs", "even",
    "experiment", "experiments", "far", "find", "for", "from", "get", "gets", "getting", "give",
    "got", "had", "has", "have", "having", "however", "i", "image", "images", "in", "into", "is",
    "it", "its", "itself", "just", "kind", "layer", "layers", "list", "ll", "looking", "loss", "me",
    "model", "models", "more", "most", "much", "my", "nearly", "net", "nets", "network", "networks",
    "neuron", "neurons", "now", "of", "on", "one", "ones", "only", "or", "our", "out", "parameter",
    "parameters", "percent", "quite", "rather", "re", "reached", "really", "roughly", "run", "runs",
    "s", "search", "set", "sets", "show", "size", "sized", "so", "some", "something", "still",
    "stopped", "t", "than", "that", "the", "their", "them", "then", "there", "these", "they",
    "this", "those", "though", "time", "times", "to", "too", "train", "trained", "training",
    "trial", "trials", "unit", "units", "until", "up", "us", "use", "used", "using", "ve", "very",
    "want", "was", "we", "weight", "weights", "well", "were", "what", "when", "where", "which",
    "while", "who", "whose", "width", "widths", "will", "with", "yet", "you", "your",
))  # fmt: skip
"""Words that say nothing about one experiment rather than another."""
