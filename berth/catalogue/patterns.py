"""Forms of names on a machine, shared by the stack file and the operations: what the one takes, the other must too."""

from __future__ import annotations

ACCOUNT = r"^[0-9]*[A-Za-z_][A-Za-z0-9_.@+\\-]{0,63}\$?$"
"""A login or a group: what useradd takes on RHEL (`j.doe`), and what directories make of it (`doe@example.org`)."""

SETTING = r"^[a-z0-9_]+\.[A-Za-z0-9_:-]+([./][A-Za-z0-9_:-]+)*$"
"""A kernel setting with dots; as for sysctl, a slash stands for a dot within a part (`net.ipv4.conf.eth0/100.mtu`)."""

SETTING_VALUE = r"^[A-Za-z0-9_.,:/|%+-]+( [A-Za-z0-9_.,:/|%+-]+)*$"
"""A kernel setting's value: words with one blank between them."""

WORD = r"^[^\s#\[\]]+$"
"""One word of a repository's entry, such as a suite or a component."""

ADDRESS = r"^(https?|file)://[^\s\"'\\/@]*(/[^\s\"'\\]*)?$"
"""A repository's address, without a login."""
