"""Reads the flags and architectures of engine releases from their packages into data files of the catalogue."""
