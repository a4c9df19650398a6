"""A lab for architectural hypotheses: predictions first, paired trials, statistics that hold."""
