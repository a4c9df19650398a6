"""What ``nal COMMAND --help`` says: what a command does, when to use it, and an example or two."""

from __future__ import annotations

from typing import Final

NAL: Final = """Test hypotheses about architectures: predictions first, then trials, then a verdict.

In this order, for example:

    nal list

    nal plan sparsity_level

    nal run sparsity_level -j 2

    nal report --html
"""

RUN: Final = """Runs hypotheses and judges them together.

Prediction and design are frozen and hashed before the first trial. Trials are stored as they end:
what was stopped goes on with the same words, or with `nal resume`.

Examples:

    nal run extrema_growth

    nal run my_hypotheses.py -j 2 --results results

    nal run my_hypotheses.py:DEEPER --seeds 20 --seconds 60

    nal run deep_against_wide --dataset mnist --data-dir DATA --log wandb --wandb-project lab
"""

SEARCH: Final = """Searches for settings that do well; Optuna chooses them.

Takes files that hold a search, NAME = Search(...). Every trial is stored as it ends: a search that
was stopped goes on with the same words, or with `nal resume`. What was found is the best of many,
and looks better than it is: test it as a hypothesis, on fresh seeds.

Examples:

    nal search my_search.py -j 2 --results results

    nal search my_search.py:RATES --tries 100
"""

RESUME: Final = """Goes on with what was left in a folder.

No trial that ended is lost, and none is run twice, whatever stopped the lab.

Example:

    nal resume --results results -j 2
"""

LIST: Final = """Prints the hypotheses that are ready to run, or what a folder of results holds.

The names in the first column are what `nal run` and `nal plan` take.

Examples:

    nal list

    nal list --results results
"""

STATUS: Final = """Prints how far each hypothesis and each search is; also while a lab runs.

Example:

    nal status --results results
"""

REPORT: Final = """Prints the report as Markdown, or writes it as one page; also while a lab runs.

Examples:

    nal report

    nal report --results results --html

    nal report sparsity_level --out sparsity.html
"""

COMPARE: Final = """Prints the effects of several hypotheses side by side, metric by metric.

They are judged together: the more there are, the more each has to show.

Examples:

    nal compare

    nal compare --results digits_results --results mnist_results
"""

PLAN: Final = """Says how many seeds give which power, and how long it takes; tests nothing.

A pilot runs first, with seeds that no test uses; nothing of it is stored. From so few seeds the
spread is bounded rather than estimated, so that the numbers err on the side of too many.

Examples:

    nal plan sparsity_level

    nal plan my_hypotheses.py:DEEPER --pilot 4 -j 2
"""
