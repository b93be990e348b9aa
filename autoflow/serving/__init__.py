"""Predicting with an exported model; TensorFlow and the manifest are all it needs."""
