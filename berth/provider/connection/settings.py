"""How a host is reached, as the provider's configuration says it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, SecretStr


class SshSettings(BaseModel):
    """A machine reached over SSH. What is left out comes from the ssh configuration of whoever runs Pulumi."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    user: str | None = None
    port: int = 22
    host_key: str | None = None
    key_file: str | None = None
    sudo_password: SecretStr | None = None
    proxy_jump: str | None = None


class OverSsh(BaseModel):
    """The way over SSH, in the same words as a stack file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ssh: SshSettings
