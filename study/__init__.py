"""The study of the paper: its models, measures and claims. It imports musiclib, not the reverse."""
