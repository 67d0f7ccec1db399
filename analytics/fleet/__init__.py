"""Times many sessions at once and sums them up."""
