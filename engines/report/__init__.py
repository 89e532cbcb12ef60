"""Tables, charts and pages; knows no network."""
