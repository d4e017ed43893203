"""Training of AiOS: synthetic people, losses, matching, the training loop."""
