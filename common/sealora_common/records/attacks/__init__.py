"""What attacks on a trained model found, as the site package tells it."""
