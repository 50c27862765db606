"""Tools that make data of the catalogue; not needed to use Berth."""
