"""How a model hub's refusals show in an engine's log; every engine loads through huggingface_hub."""

from __future__ import annotations

from berth.engines.contract import Failure

HUB_FAILURES: tuple[Failure, ...] = (
    Failure(
        name="gated",
        pattern=r"Cannot access gated repo|GatedRepoError|Access to model (?P<model>\S+) is restricted",
        cause="the model is gated: its authors want to know who downloads it",
        cure="accept its conditions on the hub and give a token of that account (`token: SECRET_NAME`)",
    ),
    Failure(
        name="unauthorized",
        pattern=r"401 Client Error|Invalid username or password|Invalid credentials in Authorization|401 Unauthorized",
        cause="the hub refused the token, or the model is gated or private and no token was given",
        cure="give a valid token (`token: SECRET_NAME`) of an account that may read the model",
    ),
    Failure(
        name="too-many-requests",
        pattern=r"429 Client Error|Too Many Requests",
        cause="the hub limits how often this address may ask",
        cure="wait some minutes and run again, or give a token",
    ),
    Failure(
        name="offline",
        pattern=r"outgoing traffic has been disabled|LocalEntryNotFoundError|OfflineModeIsEnabled"
        r"|couldn't connect to '(?P<endpoint>[^']+)'|Failed to resolve '(?P<host>[^']+)'|Network is unreachable"
        r"|Temporary failure in name resolution",
        cause="the model is not on the host and its hub is not in reach",
        cure="check the host's network, set the hub's `endpoint`, or give a `path` that holds the model",
    ),
    Failure(
        name="model-missing",
        pattern=r"Repo id must be in the form|RepositoryNotFoundError|RevisionNotFoundError|404 Client Error"
        r"|Invalid repository ID or local directory specified|is not a local folder and is not a valid model identifier"
        r"|does not appear to have a file named (?P<file>\S+)|Can't load the configuration of"
        r"|Can't load (?:tokenizer|image processor) for",
        cause="there is no model at the given folder, repository or revision, or it lacks files such as config.json",
        cure="check the path, or the repository's name and revision",
    ),
)
