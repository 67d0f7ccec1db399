"""Values of the analysis: plain, without a database, a file or a network."""
