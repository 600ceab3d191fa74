"""What `thenodes plugin …` does."""
