"""The array libraries that atled computes with; `protocol` says what one must bring."""
