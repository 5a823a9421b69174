"""Programs for developers: measuring, scoring, preparing data."""
