"""What a base model must be before anything is trained on it, beyond that it loads."""
