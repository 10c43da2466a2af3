"""What the five documents say, measured again: claims, figures of ours, verdicts."""
