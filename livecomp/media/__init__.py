"""Reading pictures and videos: used by the sources and by backgrounds."""
