"""Training: losses, sampling, augmentation, and the loop that puts them together; knows no attack and no data set."""
