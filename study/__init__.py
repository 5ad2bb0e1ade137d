"""The study of the paper: its models, its measures, its claims. It imports musiclib, never back."""
