"""Arguments that a shell on the way would change."""

from __future__ import annotations

HOSTILE = [
    *("", " ", "a b", "'", '"', "\\", "\\\\", "a\\'b\"c", "$HOME", "$(id)", "`id`", "!!", "~", "*", "a;b|c&d>e<f"),
    *("-n", "--", "new\nline", "tab\t", "\r", "두 번째 🚀", "%s", "{a,b}", "#", "\x07"),
]
