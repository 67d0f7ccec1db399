"""Takes frames from games to Kafka, and from Kafka to the store."""
