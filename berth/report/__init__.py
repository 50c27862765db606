"""A plan as people and programs read it: terminal, Markdown, JSON, SVG, and plain lines for Pulumi's log.

One module per format with one public function; `view` holds what they share. Nothing here decides anything.
"""
