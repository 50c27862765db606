"""Gets what Berth needs onto a machine: its Python environment, and Pulumi, also where there is no open internet.

Only the standard library is used: all of this runs before anything is installed.
"""
