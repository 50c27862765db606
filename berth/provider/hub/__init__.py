"""Models of the Hugging Face hub, and of buckets, on a host.

`program` makes a command of this package's other modules, which run on the host: they need nothing but the standard
library of Python 3.10 or later, so they behave alike beside every engine, whatever `huggingface_hub` (or none) its
environment holds. The cache folder's layout is huggingface_hub's own, so that both find each other's files.
"""
