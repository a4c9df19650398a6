"""The vocabulary of the search: what people say, and which trait of an experiment they mean.

A phrase matches where its words stand near each other, in any order and in any form ("plateaued
early", "an early plateau"), or where words of their families do (see `thesaurus`). Longer phrases
go first. A phrase of two traits means either.
"""

from __future__ import annotations

from typing import Final

from structure_net.logging.search.change_words import OF_CHANGES
from structure_net.logging.search.learning_words import OF_LEARNING
from structure_net.logging.search.network_words import OF_NETWORKS

PHRASES: Final[dict[str, tuple[str, ...]]] = {**OF_NETWORKS, **OF_CHANGES, **OF_LEARNING}
"""What people say, by trait."""

TIMES: Final[dict[str, tuple[str, ...]]] = {
    "late_edits": (
        "late in the run", "late changes", "near the end", "towards the end", "in the last epochs",
        "close to the end", "final phase", "late phase", "late", "in the very last epochs",
        "in the last few epochs", "just before the end", "right before the end", "at the very end",
        "in the final epochs", "at the end of training", "eventually", "toward the end",
        "shortly before the end", "in the final stretch", "on the home straight",
    ),
    "early_edits": (
        "early in the run", "right at the start", "at the very beginning", "at the start",
        "in the first epochs", "at the beginning", "first few epochs", "from the outset",
        "early phase", "at the outset", "all early", "at the very start",
        "in the first few epochs", "shortly after the start", "straight away", "right away",
        "immediately", "from the get go", "in no time", "within the first epochs", "at first",
        "right off the bat", "before training", "before any training",
        "at initialisation", "before long", "early on", "in the beginning", "initially",
    ),
    "middle_edits": (
        "halfway", "half way", "in the middle of training", "mid training", "midway",
        "in the middle of the run", "half time", "halfway through", "middle of training",
        "mid run", "midrun", "midtraining", "at half time", "half way through", "around the middle",
        "about halfway", "in the middle", "middle of the run", "at the half way mark",
    ),
    "edits_throughout": (
        "throughout", "all along", "all the way", "the whole time", "over the whole run",
        "continuously", "during the whole run", "constantly", "spread over the run",
        "from start to end", "gradually", "bit by bit", "little by little", "step by step",
    ),
}  # fmt: skip
"""When something happened, by the trait that is meant if nothing else takes the words."""

CONCEPTS: Final = tuple(PHRASES)
"""All traits, in the order of their places in a vector."""

TOGETHER: Final[tuple[frozenset[str], ...]] = tuple(
    frozenset(traits.split())
    for traits in (
        "not_finite diverged failed unfinished cut_short high_rate collapsed",
        "interrupted unfinished cut_short few_epochs",
        "early_stopped unfinished cut_short plateau early_plateau failed",
        "failed unfinished cut_short no_epochs timed_out out_of_memory few_epochs",
        "overfit memorised recovered collapsed",
        "grokked sudden_gain slow_learner memorised overfit never_learned",
        "all_taken_back one_taken_back mostly_taken_back taken_back idle_strategies unchanged",
        "sparse very_sparse rewired added_connections removed_connections regrown cycles",
        "sparsified removed_connections shrank_much shrank pruned sparse",
        "densified added_connections grew grew_much",
        "deepened inserted_layer deep grew grew_much",
        "widened added_neurons grew grew_much wide doubled split",
        "large grew_much long",
        "small narrow efficient short",
        "shrank shrank_much narrowed removed_neurons pruned merged",
        "removed_layer flattened shrank shrank_much",
        "bottleneck autoencoder narrow",
        "skip residual resnet deepened",
        "many_edits edits_throughout regular_edits cycles",
        "unstable small_batch high_rate recovered",
        "early_plateau plateau at_once fast_learner",
        "heads removed_heads transformer",
        "strong_dropout better_held_out underfit",
        "linear shallow small underfit",
        "one_hidden shallow wide",
        "many_epochs long",
    )
)
"""Traits of which one explains the others: who names one need not name the rest."""
