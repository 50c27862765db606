"""Berth places language models on GPUs as declared in one YAML file."""
