"""Random inputs: networks whose properties are known, and files that are nearly right."""
