"""Tables and reports of measured rows."""
